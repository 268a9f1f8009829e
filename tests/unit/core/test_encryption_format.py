"""What an envelope is, checked by a second implementation of AES-GCM written here from the specification.

The second implementation is itself checked by the AES-256 test cases 13 to 16 of "The Galois/Counter Mode of Operation
(GCM)", McGrew and Viega, 2005, appendix B: the submission that became NIST SP 800-38D.
"""

import base64
import re
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import UnexpectedContentError
from supabase_integrations.core.keyring import Keyring

KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
KEY_ID = "630dcd29"
PLACE = AssociatedData(
    Purpose.CREDENTIALS,
    table="integrations",
    column="credentials",
    id="5c1f7b7e-7a3b-4a53-9a0c-2f1c51d3a111",
    user_id="0d4ec1d9-3f0f-4d84-8a2c-9d1f61a7b222",
    service_name="shopify",
    tenant="canary.myshopify.com",
    credential_version=7,
)
PLACE_BYTES = (
    b"\x00\x9c11:credentials12:integrations11:credentials36:5c1f7b7e-7a3b-4a53-9a0c-2f1c51d3a111"
    b"36:0d4ec1d9-3f0f-4d84-8a2c-9d1f61a7b2227:shopify20:canary.myshopify.com1:7"
)
NONCE = bytes.fromhex("a0a1a2a3a4a5a6a7a8a9aaab")
TEXT = "canary-token \u00e9\u4e2d\U0001f511\0"
# Made once by the second implementation below. They must not change: rows and states hold texts like these.
ENVELOPE = (
    "v1.630dcd29.oKGio6Slpqeoqaqr5oRNHH-ocNoGAOmnbhusrUGeY3n8wycL7m9S7xDFBjDjTCSNykY2Uyv1ZaR6SbXDcnh3LlWy"
    "LRtsaWptxl2x0YGPqFZRlYfNxoTOe7r_qImsOpqV9vejSopBW_mA_nS5vOIbzS6a66Oq9j4xt-vAEUBhB5jvVKxeHf3sk44mmiK1"
    "eNYG4XK6dFY3n_lrZPyv-7HCG9e2g6KeotDElfBXSqh5bcibHi9952QL4cY2DkyHuWkJAjjL6HyeXNsc0ZOEId92Xqg"
)
BINARY = "630dcd29a0a1a2a3a4a5a6a7a8a9aaab8579124c37b21034b2256cfc0b808a340d5531fa3168"

PLAIN_64 = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
CIPHER_64 = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)
KEY_15 = "feffe9928665731c6d6a8f9467308308" * 2
NONCE_15 = "cafebabefacedbaddecaf888"
AAD_16 = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
published_vectors = pytest.mark.parametrize(
    ("key", "nonce", "plaintext", "associated_data", "ciphertext", "tag"),
    [
        pytest.param("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b", id="test case 13"),
        pytest.param(
            "00" * 32,
            "00" * 12,
            "00" * 16,
            "",
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
            id="test case 14",
        ),
        pytest.param(KEY_15, NONCE_15, PLAIN_64, "", CIPHER_64, "b094dac5d93471bdec1a502270e3cc6c", id="test case 15"),
        pytest.param(
            KEY_15,
            NONCE_15,
            PLAIN_64[:120],
            AAD_16,
            CIPHER_64[:120],
            "76fc6ece0f4e1768cddf8853bb2d551b",
            id="test case 16",
        ),
    ],
)


def multiply(x: int, y: int) -> int:
    """The product in GF(2^128), bit 0 leftmost (SP 800-38D, 6.3)."""
    z = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            z ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return z


def gcm_seal(key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Ciphertext and tag, from the block cipher alone (SP 800-38D, 7.1, for 96-bit nonces)."""
    encrypt_block = Cipher(AES(key), ECB()).encryptor().update  # noqa: S305 - GCM is made of single blocks
    blocks = -(-len(plaintext) // 16)
    stream = b"".join(encrypt_block(nonce + counter.to_bytes(4)) for counter in range(2, blocks + 2))
    ciphertext = bytes(a ^ b for a, b in zip(plaintext, stream, strict=False))
    lengths = (len(associated_data) * 8).to_bytes(8) + (len(ciphertext) * 8).to_bytes(8)
    hashed = b"".join(part + bytes(-len(part) % 16) for part in (associated_data, ciphertext)) + lengths
    hash_key, digest = int.from_bytes(encrypt_block(bytes(16))), 0
    for start in range(0, len(hashed), 16):
        digest = multiply(digest ^ int.from_bytes(hashed[start : start + 16]), hash_key)
    tag = digest ^ int.from_bytes(encrypt_block(nonce + b"\0\0\0\1"))
    return ciphertext + tag.to_bytes(16)


def envelope_of(plaintext: bytes, associated_data: bytes) -> str:
    sealed = NONCE + gcm_seal(bytes.fromhex(KEY), NONCE, plaintext, associated_data)
    return f"v1.{KEY_ID}." + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


@published_vectors
def test_the_second_implementation_and_the_library_agree_with_the_published_vectors(
    key: str, nonce: str, plaintext: str, associated_data: str, ciphertext: str, tag: str
) -> None:
    inputs = bytes.fromhex(nonce), bytes.fromhex(plaintext), bytes.fromhex(associated_data)
    assert gcm_seal(bytes.fromhex(key), *inputs).hex() == ciphertext + tag
    assert AESGCM(bytes.fromhex(key)).encrypt(*inputs).hex() == ciphertext + tag


def test_an_envelope_is_what_the_documentation_says() -> None:
    assert PLACE.encoded == PLACE_BYTES
    assert sha256(bytes.fromhex(KEY)).hexdigest()[:8] == KEY_ID
    assert envelope_of(PLACE_BYTES + TEXT.encode(), f"v1.{KEY_ID}.".encode() + PLACE_BYTES) == ENVELOPE


def test_an_envelope_of_the_first_release_still_opens(encryption: Encryption) -> None:
    assert encryption.decrypt(ENVELOPE, PLACE) == TEXT


def test_what_is_sealed_is_read_by_the_second_implementation(encryption: Encryption) -> None:
    envelope = encryption.encrypt(TEXT, PLACE)
    prefix, body = envelope[:12], base64.urlsafe_b64decode(envelope[12:] + "==")
    assert prefix == f"v1.{KEY_ID}."
    resealed = gcm_seal(bytes.fromhex(KEY), body[:12], PLACE_BYTES + TEXT.encode(), prefix.encode() + PLACE_BYTES)
    assert body[12:] == resealed


def test_an_envelope_fits_the_check_of_the_database(encryption: Encryption) -> None:
    assert re.fullmatch(r"v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{38,}", encryption.encrypt("", AssociatedData(Purpose.FLOW)))


def test_sealed_bytes_are_what_the_documentation_says() -> None:
    sealed = gcm_seal(bytes.fromhex(KEY), NONCE, b"canary", f"b1.{KEY_ID}.".encode() + PLACE_BYTES)
    assert (bytes.fromhex(KEY_ID) + NONCE + sealed).hex() == BINARY


def test_sealed_bytes_of_the_first_release_still_open(encryption: Encryption) -> None:
    assert encryption.open_bytes(bytes.fromhex(BINARY), PLACE) == b"canary"


def test_sealed_bytes_are_32_bytes_longer_than_the_plaintext(encryption: Encryption) -> None:
    assert len(encryption.seal_bytes(b"canary", PLACE)) == 6 + 32


def test_a_holder_of_the_key_who_seals_bytes_that_are_no_text_is_refused(encryption: Encryption) -> None:
    envelope = envelope_of(PLACE_BYTES + b"canary \xff", f"v1.{KEY_ID}.".encode() + PLACE_BYTES)
    with pytest.raises(UnexpectedContentError, match="does not hold a text") as refusal:
        encryption.decrypt(envelope, PLACE)
    assert refusal.value.__context__ is None


@pytest.fixture
def encryption() -> Encryption:
    return Encryption(Keyring.from_hex(KEY))
