"""The secrets of one local system: made once, kept between runs in a file that only its owner can read."""

import json
import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from supabase_integrations.core.secret import SecretStr

from .errors import LocalStackError
from .state import write_private


@dataclass(frozen=True, slots=True)
class LocalSecrets:
    """Random values, none of which has a use outside this machine."""

    superuser_password: SecretStr
    migrating_password: SecretStr
    lite_password: SecretStr
    worker_password: SecretStr
    jwt_secret: SecretStr
    publishable_key: SecretStr
    encryption_key: SecretStr
    demo_client_id: SecretStr
    demo_client_secret: SecretStr

    @classmethod
    def generate(cls) -> Self:
        """Fresh random values."""
        return cls(
            superuser_password=_random(),
            migrating_password=_random(),
            lite_password=_random(),
            worker_password=_random(),
            jwt_secret=SecretStr(secrets.token_hex(32)),
            publishable_key=SecretStr(f"sb_publishable_{secrets.token_urlsafe(24)}"),
            encryption_key=SecretStr(secrets.token_hex(32)),
            demo_client_id=SecretStr(f"demo-{secrets.token_hex(6)}"),
            demo_client_secret=_random(),
        )

    @classmethod
    def load_or_generate(cls, path: Path) -> Self:
        """The kept values, or on the first run new ones. Raises LocalStackError when the file cannot be understood."""
        if not path.exists():
            made = cls.generate()
            write_private(path, json.dumps(made._revealed(), indent=2) + "\n")
            return made
        try:
            # A file of before there was a worker has no password for it; every start sets it anew.
            kept = {"worker_password": _random().get_secret_value(), **json.loads(path.read_text("utf-8"))}
            return cls(**{field.name: SecretStr(kept[field.name]) for field in fields(cls)})
        except (ValueError, KeyError, TypeError) as error:
            raise LocalStackError(f"{path} does not hold this system's secrets. Start over with RESET=1.") from error

    def _revealed(self) -> dict[str, str]:
        return {field.name: getattr(self, field.name).get_secret_value() for field in fields(self)}


def _random() -> SecretStr:
    return SecretStr(secrets.token_urlsafe(24))
