"""What can go wrong with sealed text. No message, argument or context of these holds a key or a plaintext."""

from .errors import IntegrationError


class UnsealableValueError(IntegrationError):
    """The value cannot be sealed."""

    code = "unsealable_value"


class DecryptionError(IntegrationError):
    """The ciphertext does not open: it was changed, or it belongs to another row, owner, tenant, version or purpose."""

    code = "decryption_failed"


class MalformedEnvelopeError(DecryptionError):
    """The text is not a sealed envelope."""

    code = "malformed_envelope"


class NonCanonicalEnvelopeError(MalformedEnvelopeError):
    """The envelope is not canonical base64url: it has padding, whitespace, foreign letters or lost its end."""

    code = "non_canonical_envelope"


class TruncatedEnvelopeError(MalformedEnvelopeError):
    """The envelope is incomplete: what is left cannot hold a nonce and a tag, or ends within a byte."""

    code = "truncated_envelope"


class EnvelopeTooLongError(MalformedEnvelopeError):
    """The text is longer than any envelope."""

    code = "envelope_too_long"


class UnsupportedEnvelopeVersionError(MalformedEnvelopeError):
    """The envelope has a format version that this release does not read: upgrade it."""

    code = "unsupported_envelope_version"


class UnknownKeyError(DecryptionError):
    """The ciphertext was sealed under a key that is not in the keyring."""

    code = "unknown_encryption_key"

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"Sealed under key {key_id}, which is not in the keyring: add that key to ENCRYPTION_KEYS_RETIRED."
        )
        self.key_id = key_id


class WrongKeyError(DecryptionError):
    """The ciphertext is genuine, but the key id in its text was replaced by that of another key."""

    code = "wrong_encryption_key"


class TamperedCiphertextError(DecryptionError):
    """The ciphertext was changed or cut short after it was sealed, so it opens nowhere: connect this account again."""

    code = "tampered_ciphertext"


class MisplacedCiphertextError(DecryptionError):
    """Never raised itself: the ciphertext is genuine, but was sealed for another place. `fields` names what differs."""

    code = "misplaced_ciphertext"

    def __init__(self, fields: tuple[str, ...]) -> None:
        super().__init__(f"{(type(self).__doc__ or '').strip()} Its associated data differs in: {', '.join(fields)}.")
        self.fields = fields


class WrongPurposeError(MisplacedCiphertextError):
    """The ciphertext is genuine, but was sealed for another purpose."""

    code = "wrong_purpose"


class WrongOwnerError(MisplacedCiphertextError):
    """The ciphertext is genuine, but was sealed for another user."""

    code = "wrong_owner"


class WrongRowError(MisplacedCiphertextError):
    """The ciphertext is genuine, but was sealed for another row or column."""

    code = "wrong_row"


class WrongServiceError(MisplacedCiphertextError):
    """The ciphertext is genuine, but was sealed for another service."""

    code = "wrong_service"


class WrongTenantError(MisplacedCiphertextError):
    """The ciphertext is genuine, but was sealed for another tenant."""

    code = "wrong_tenant"


class WrongCredentialVersionError(MisplacedCiphertextError):
    """The ciphertext is genuine, but is not of this version: an older one was put back."""

    code = "wrong_credential_version"


class UnexpectedContentError(DecryptionError):
    """The ciphertext opens, but holds something else than was asked for."""

    code = "unexpected_content"
