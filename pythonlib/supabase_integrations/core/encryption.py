"""AES-256-GCM (NIST SP 800-38D) for all that is stored or handed out sealed.

What is sealed opens under the keyring and in the place it was sealed for, nowhere else. There is no plaintext path:
every failure raises, and no message, context or frame of ours then holds a key or what was to be sealed or opened.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from . import base64url
from .associated_data import AssociatedData, differing_fields
from .encryption_errors import (
    DecryptionError,
    EnvelopeTooLongError,
    MisplacedCiphertextError,
    TamperedCiphertextError,
    TruncatedEnvelopeError,
    UnknownKeyError,
    WrongCredentialVersionError,
    WrongKeyError,
    WrongOwnerError,
    WrongPurposeError,
    WrongRowError,
    WrongServiceError,
    WrongTenantError,
)
from .envelope import NONCE_LENGTH, PREFIX_LENGTH, TAG_LENGTH, key_id_of, prefix_of, sealed_bytes_of
from .json_types import JsonObject, JsonValue
from .keyring import EncryptionKey, Keyring
from .plaintext import MAX_LENGTH, bounded, from_object, from_text, to_object, to_text

_BINARY_ID_LENGTH: Final = 4
_MIN_BINARY_LENGTH: Final = _BINARY_ID_LENGTH + NONCE_LENGTH + TAG_LENGTH
_MAX_BINARY_LENGTH: Final = _MIN_BINARY_LENGTH + MAX_LENGTH
_PLACE_ERRORS: Final[Mapping[str, type[MisplacedCiphertextError]]] = {  # the gravest first
    "purpose": WrongPurposeError,
    "user_id": WrongOwnerError,
    "table": WrongRowError,
    "column": WrongRowError,
    "id": WrongRowError,
    "service_name": WrongServiceError,
    "tenant": WrongTenantError,
    "credential_version": WrongCredentialVersionError,
}


@dataclass(frozen=True, slots=True)
class _Aead:
    """One key, ready to use. The labels keep the text form and the binary form from opening as each other."""

    prefix: str
    binary_id: bytes
    text_label: bytes
    binary_label: bytes
    cipher: AESGCM = field(repr=False)
    raw: bytes = field(repr=False)

    @classmethod
    def of(cls, key: EncryptionKey) -> "_Aead":
        prefix = prefix_of(key.id)
        binary_label = f"b1.{key.id}.".encode()
        return cls(prefix, bytes.fromhex(key.id), prefix.encode(), binary_label, AESGCM(key.raw), key.raw)

    def seal(self, content: bytes, associated_data: bytes) -> bytes:
        """Nonce, ciphertext and tag. The nonce is random and fresh; nobody may choose one."""
        nonce = os.urandom(NONCE_LENGTH)
        return nonce + self.cipher.encrypt(nonce, content, associated_data)

    def open(self, sealed: bytes, associated_data: bytes) -> bytes | None:
        """The plaintext, or None where the tag does not verify."""
        try:
            return self.cipher.decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], associated_data)
        except InvalidTag:
            return None

    def proven_place(self, sealed: bytes) -> bytes | None:
        """The encoded place that an envelope was sealed for, if this key proves it.

        GCM decrypts whatever the associated data is, so the copy of the place that leads every plaintext can be read
        although the tag does not fit the expected one. What is read so counts only if the tag then verifies over it.
        """
        unverified = Cipher(AES(self.raw), GCM(sealed[:NONCE_LENGTH])).decryptor()
        ciphertext = sealed[NONCE_LENGTH:-TAG_LENGTH]
        length = unverified.update(ciphertext[:2])
        place = length + unverified.update(ciphertext[2 : 2 + int.from_bytes(length)])
        return None if self.open(sealed, self.text_label + place) is None else place


class Encryption:
    """Seals and opens texts, JSON objects and bytes. Safe to share between threads and tasks."""

    __slots__ = ("_by_binary_id", "_by_prefix", "_keyring", "_primary")

    def __init__(self, keyring: Keyring) -> None:
        aeads = [_Aead.of(key) for key in keyring.keys]
        self._keyring = keyring
        self._primary = aeads[0]
        self._by_prefix = {aead.prefix: aead for aead in aeads}
        self._by_binary_id = {aead.binary_id: aead for aead in aeads}

    def __repr__(self) -> str:
        return f"Encryption(key_ids={self._keyring.key_ids})"

    @staticmethod
    def generate_key() -> str:
        """A new AES-256 key: 64 hexadecimal characters."""
        return secrets.token_hex(32)

    @staticmethod
    def generate_token(nbytes: int = 32) -> str:
        """A random token as unpadded base64url. Raises ValueError below 16 bytes, which can be guessed."""
        if nbytes < 16:
            raise ValueError("A token needs at least 16 random bytes.")
        return secrets.token_urlsafe(nbytes)

    def encrypt(self, plaintext: str, associated_data: AssociatedData) -> str:
        """Seal a text into an envelope. Raises UnsealableValueError for lone surrogates and beyond 45,056 bytes."""
        try:
            return self._seal(from_text(plaintext), associated_data.encoded)
        except Exception as error:
            del plaintext
            raise _bare(error) from None

    def decrypt(self, envelope: str, associated_data: AssociatedData) -> str:
        """Open what `encrypt` sealed for this place. Raises the DecryptionError that says why it does not open."""
        try:
            return to_text(self._open(envelope, associated_data.encoded))
        except Exception as error:
            del envelope
            raise _bare(error) from None

    def encrypt_object(self, value: JsonObject, associated_data: AssociatedData) -> str:
        """Seal a JSON object into an envelope.

        Raises UnsealableValueError for what JSON cannot carry back exactly (keys that are not texts, NaN and
        infinities, integers beyond 64 bits, lone surrogates) and beyond 45,056 bytes of compact JSON.
        """
        try:
            return self._seal(from_object(value), associated_data.encoded)
        except Exception as error:
            del value
            raise _bare(error) from None

    def decrypt_object(self, envelope: str, associated_data: AssociatedData) -> dict[str, JsonValue]:
        """Open what `encrypt_object` sealed for this place. Raises as `decrypt` does."""
        try:
            return to_object(self._open(envelope, associated_data.encoded))
        except Exception as error:
            del envelope
            raise _bare(error) from None

    def rotate(self, envelope: str, place: AssociatedData, new_place: AssociatedData) -> str:
        """Seal what an envelope holds, a text or an object, under the primary key and for another place.

        Raises as `decrypt` does, but for what it holds, which is not looked at.
        """
        try:
            return self._seal(self._open(envelope, place.encoded), new_place.encoded)
        except Exception as error:
            del envelope
            raise _bare(error) from None

    def seal_bytes(self, plaintext: bytes, associated_data: AssociatedData) -> bytes:
        """Seal into `key id (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`: 32 bytes longer, without a copy of the place.

        Raises UnsealableValueError beyond 45,056 bytes.
        """
        try:
            aead = self._primary
            return aead.binary_id + aead.seal(bounded(plaintext), aead.binary_label + associated_data.encoded)
        except Exception as error:
            del plaintext
            raise _bare(error) from None

    def open_bytes(self, sealed: bytes, associated_data: AssociatedData) -> bytes:
        """Open what `seal_bytes` sealed for this place.

        Raises TruncatedEnvelopeError, EnvelopeTooLongError, UnknownKeyError, and DecryptionError itself where the tag
        does not verify: without the copy of the place, nothing proves whether it was changed or belongs elsewhere.
        """
        try:
            return self._open_bytes(sealed, associated_data.encoded)
        except Exception as error:
            del sealed
            raise _bare(error) from None

    def needs_reencryption(self, envelope: str) -> bool:
        """Whether an envelope is sealed under another key than the primary one. Raises as `key_id_of` does."""
        try:
            return key_id_of(envelope) != self._keyring.primary_id
        except Exception as error:
            del envelope
            raise _bare(error) from None

    @staticmethod
    def key_id_of(envelope: str) -> str:
        """The key id an envelope names. Raises MalformedEnvelopeError, UnsupportedEnvelopeVersionError."""
        try:
            return key_id_of(envelope)
        except Exception as error:
            del envelope
            raise _bare(error) from None

    def _seal(self, content: bytes, place: bytes) -> str:
        aead = self._primary
        return aead.prefix + base64url.encode(aead.seal(place + content, aead.text_label + place))

    def _open(self, envelope: str, place: bytes) -> bytes:
        aead = self._by_prefix.get(envelope[:PREFIX_LENGTH])
        if aead is None:
            raise UnknownKeyError(key_id_of(envelope))
        sealed = sealed_bytes_of(envelope)
        content = aead.open(sealed, aead.text_label + place)
        if content is None:
            raise self._why(aead, sealed, place)
        return content[len(place) :]

    def _open_bytes(self, sealed: bytes, place: bytes) -> bytes:
        if len(sealed) > _MAX_BINARY_LENGTH:
            raise EnvelopeTooLongError
        if len(sealed) < _MIN_BINARY_LENGTH:
            raise TruncatedEnvelopeError
        aead = self._by_binary_id.get(sealed[:_BINARY_ID_LENGTH])
        if aead is None:
            raise UnknownKeyError(sealed[:_BINARY_ID_LENGTH].hex())
        content = aead.open(sealed[_BINARY_ID_LENGTH:], aead.binary_label + place)
        if content is None:
            raise DecryptionError
        return content

    def _why(self, named: _Aead, sealed: bytes, expected: bytes) -> DecryptionError:
        """Why a well-formed envelope does not open, as far as a key of ours proves it."""
        for aead in self._by_prefix.values():
            place = aead.proven_place(sealed)
            if place is None:
                continue
            if aead is not named:
                return WrongKeyError()
            fields = differing_fields(expected, place)
            return next(error for name, error in _PLACE_ERRORS.items() if name in fields)(fields)
        return TamperedCiphertextError()


def _bare(error: Exception) -> Exception:
    """The error without its context and its frames: both hold what was refused, and error reporters show them."""
    error.__context__ = None
    return error.with_traceback(None)
