"""Base64url without padding (RFC 4648 §5), in its one canonical form: two texts never decode to the same bytes.

pybase64, because the standard library decodes 1 KiB in four times what AES-GCM takes to decrypt it.
"""

import pybase64

_URL_SAFE = b"-_"
_PADDING = ("", "", "==", "=")
# The last letters whose unused low bits are zero, by the number of letters beyond a multiple of four (RFC 4648 §3.5).
_LAST_LETTERS = ("", "", "AQgw", "AEIMQUYcgkosw048")


def encode(raw: bytes) -> str:
    """The canonical text of some bytes."""
    return pybase64.b64encode_as_string(raw, _URL_SAFE).rstrip("=")


def decode(text: str) -> bytes:
    """The inverse of `encode`.

    Raises ValueError, without the text, for padding, whitespace, the standard alphabet, anything beyond ASCII, a length
    that no bytes have, and unused bits that are not zero.
    """
    beyond = len(text) % 4
    # The decoder refuses everything else that is foreign, but reads the standard alphabet and padding too.
    if "=" in text or "+" in text or "/" in text or (beyond and text[-1] not in _LAST_LETTERS[beyond]):
        raise ValueError("Not canonical base64url.")
    return pybase64.b64decode(text + _PADDING[beyond], _URL_SAFE, True)
