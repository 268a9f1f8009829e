"""A failure shows nothing: not in its message, arguments, attributes or context, and not to a reporter that prints the
locals of every frame. The frames of the caller are the caller's: here they hold secrets as `SecretStr`."""

import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import DecryptionError, UnsealableValueError
from supabase_integrations.core.errors import ConfigurationError
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.secret import SecretStr

KEY, RETIRED = SecretStr("c0ffee" * 10 + "0001"), SecretStr("c0ffee" * 10 + "0002")
CANARY = "canary-plaintext"
PLACE = AssociatedData(Purpose.CREDENTIALS, id="row")
ELSEWHERE = AssociatedData(Purpose.CREDENTIALS, id="another row")
ENCRYPTION = Encryption(Keyring.from_hex(KEY, [RETIRED]))

TEXT = SecretStr(CANARY)
BAD_TEXT = SecretStr(CANARY + "\ud800")
LONG_TEXT = SecretStr(CANARY * 10_000)
ENVELOPE = SecretStr(ENCRYPTION.encrypt(CANARY, PLACE))
BINARY = SecretStr(ENCRYPTION.seal_bytes(CANARY.encode(), PLACE).hex())
FOREIGN = SecretStr(Encryption(Keyring.from_hex("c0ffee" * 10 + "0003")).encrypt(CANARY, PLACE))

failing_calls = pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: ENCRYPTION.encrypt(BAD_TEXT.get_secret_value(), PLACE), id="seal a surrogate"),
        pytest.param(lambda: ENCRYPTION.encrypt(LONG_TEXT.get_secret_value(), PLACE), id="seal a long text"),
        pytest.param(
            lambda: ENCRYPTION.encrypt_object({"token": BAD_TEXT.get_secret_value()}, PLACE), id="seal a bad object"
        ),
        pytest.param(
            lambda: ENCRYPTION.encrypt_object({"token": TEXT.get_secret_value(), "n": float("nan")}, PLACE),
            id="seal NaN",
        ),
        pytest.param(
            lambda: ENCRYPTION.encrypt_object({"token": LONG_TEXT.get_secret_value()}, PLACE), id="seal a long object"
        ),
        pytest.param(
            lambda: ENCRYPTION.seal_bytes(LONG_TEXT.get_secret_value().encode(), PLACE), id="seal too many bytes"
        ),
        pytest.param(lambda: ENCRYPTION.decrypt(TEXT.get_secret_value(), PLACE), id="open a plaintext"),
        pytest.param(lambda: ENCRYPTION.decrypt(ENVELOPE.get_secret_value(), ELSEWHERE), id="open elsewhere"),
        pytest.param(lambda: ENCRYPTION.decrypt(ENVELOPE.get_secret_value()[:-4], PLACE), id="open a cut text"),
        pytest.param(lambda: ENCRYPTION.decrypt(ENVELOPE.get_secret_value() + "=", PLACE), id="open a padded text"),
        pytest.param(lambda: ENCRYPTION.decrypt(FOREIGN.get_secret_value(), PLACE), id="open under an unknown key"),
        pytest.param(lambda: ENCRYPTION.decrypt_object(ENVELOPE.get_secret_value(), PLACE), id="open no object"),
        pytest.param(lambda: ENCRYPTION.decrypt_object(TEXT.get_secret_value(), PLACE), id="open a plaintext object"),
        pytest.param(
            lambda: ENCRYPTION.open_bytes(bytes.fromhex(BINARY.get_secret_value()), ELSEWHERE),
            id="open bytes elsewhere",
        ),
        pytest.param(lambda: ENCRYPTION.open_bytes(TEXT.get_secret_value().encode() * 4, PLACE), id="open plain bytes"),
        pytest.param(lambda: ENCRYPTION.needs_reencryption(TEXT.get_secret_value()), id="ask about a plaintext"),
        pytest.param(lambda: Encryption.key_id_of(TEXT.get_secret_value()), id="read a plaintext's key id"),
        pytest.param(lambda: Keyring.from_hex(KEY.get_secret_value()[:-1]), id="a short key"),
        pytest.param(lambda: Keyring.from_hex(KEY, [RETIRED.get_secret_value() + "x"]), id="a long retired key"),
        pytest.param(lambda: Keyring.from_hex(KEY.get_secret_value(), [KEY.get_secret_value()]), id="a key twice"),
    ],
)


def failure_of(call: Callable[[], object]) -> Exception:
    """The error a call ends in."""
    with pytest.raises((DecryptionError, UnsealableValueError, ConfigurationError)) as raised:
        call()
    return raised.value


def frames_below_the_call(error: Exception) -> Iterator[FrameType]:
    """The frames of the package: those of this file come first."""
    for frame, _line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename != __file__:
            yield frame


def shown(value: object) -> str:
    """A value as a reporter prints it, and the text that bytes may hold."""
    return repr(value) + (value.decode("utf-8", "replace") + value.hex() if isinstance(value, bytes) else "")


def secrets_in(text: str) -> set[str]:
    """Which of the secrets a text shows."""
    keys = {KEY.get_secret_value()[:60], repr(bytes.fromhex(KEY.get_secret_value()))[2:30]}
    texts = {CANARY, ENVELOPE.get_secret_value()[12:60], FOREIGN.get_secret_value()[12:60], BINARY.get_secret_value()}
    return {secret for secret in keys | texts if secret in text}


@failing_calls
def test_a_failure_shows_nothing_to_a_reporter_that_prints_locals(call: Callable[[], object]) -> None:
    error = failure_of(call)
    report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert type(error).__name__ in report
    assert secrets_in(report) == set()


@failing_calls
def test_a_failure_keeps_nothing_in_its_message_or_attributes(call: Callable[[], object]) -> None:
    error = failure_of(call)
    assert secrets_in(f"{error} {error!r} {error.args!r} {vars(error)!r}") == set()


@failing_calls
def test_a_failure_has_no_context(call: Callable[[], object]) -> None:
    error = failure_of(call)
    assert (error.__cause__, error.__context__) == (None, None)


@failing_calls
def test_no_frame_of_the_package_holds_what_was_refused(call: Callable[[], object]) -> None:
    frames = list(frames_below_the_call(failure_of(call)))
    assert len(frames) >= 1
    values = [value for frame in frames for value in frame.f_locals.values()]
    assert secrets_in(" ".join(map(shown, values))) == set()


def test_a_mistake_in_a_type_shows_nothing_either() -> None:
    encrypt: Any = ENCRYPTION.encrypt
    with pytest.raises(AttributeError) as raised:
        encrypt(TEXT.get_secret_value().encode(), PLACE)
    report = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    assert secrets_in(report) == set()


def test_these_checks_would_notice_a_frame_that_holds_the_text() -> None:
    def careless(text: str) -> None:
        raise DecryptionError(str(len(text)))

    report = traceback.TracebackException.from_exception(
        failure_of(lambda: careless(TEXT.get_secret_value())), capture_locals=True
    )
    assert secrets_in("".join(report.format())) == {CANARY}


def test_reprs_show_key_ids_only() -> None:
    keyring = Keyring.from_hex(KEY, [RETIRED])
    internals = [getattr(ENCRYPTION, name) for name in Encryption.__slots__]
    assert secrets_in(f"{ENCRYPTION!r} {ENCRYPTION} {keyring!r} {internals!r}") == set()
    assert repr(ENCRYPTION) == f"Encryption(key_ids={keyring.key_ids!r})"
