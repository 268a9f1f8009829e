"""A string that does not show itself.

Tokens, codes, verifiers and keys travel as `SecretStr`: its repr, str, format and log form are asterisks. Unwrap it
with `get_secret_value()` on the very line that sends or encrypts it.
"""

from pydantic import SecretStr

__all__ = ["SecretStr"]
