"""Secrets in streams: found in every spelling, wherever the parts are cut, and nothing else is touched."""

import base64
import html
import json
import re
import string
import urllib.parse
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from supabase_integrations.core.redaction import MASK, SHORTEST, Redactor
from supabase_integrations.core.secret import SecretStr

TOKEN = "EAAB-canary/_~.token+with=every&kind%41of <\"character'>"

SPELLINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "quoted": lambda text: urllib.parse.quote(text, safe=""),
    "quoted, small letters": lambda text: urllib.parse.quote(text, safe="").replace("%2F", "%2f").replace("%3C", "%3c"),
    "quoted in a path": urllib.parse.quote,
    "quoted in a form": urllib.parse.quote_plus,
    "quoted twice": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""),
    "quoted three times": lambda text: urllib.parse.quote(
        urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""), safe=""
    ),
    "every byte quoted": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON, all escaped": lambda text: "".join(f"\\u{ord(character):04X}" for character in text),
    "JavaScript": lambda text: re.sub(r"[^\w/]", lambda found: f"\\x{ord(found[0]):02x}", text),
    "JavaScript, all escaped": lambda text: "".join(f"\\x{ord(character):02X}" for character in text),
    "HTML": html.escape,
    "HTML, all escaped": lambda text: "".join(f"&#x{ord(character):x};" for character in text),
    "HTML, decimal": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "quoted in JSON": lambda text: json.dumps(urllib.parse.quote(text, safe=""))[1:-1].replace("/", "\\/"),
}


def streamed(secrets: list[str], parts: list[bytes]) -> bytes:
    redactor = Redactor([SecretStr(secret) for secret in secrets])
    return b"".join([*(redactor.feed(part) for part in parts), redactor.finish()])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ordered = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ordered)]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("size", [1, 2, 7, 64, 100_000])
def test_every_spelling_is_found_however_it_is_cut(spelling: str, size: int) -> None:
    text = f'{{"next": "https://api.example/x?access_token={SPELLINGS[spelling](TOKEN)}", "n": "100%25"}}'.encode()
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    assert streamed([TOKEN], parts) == b'{"next": "https://api.example/x?access_token=[redacted]", "n": "100%25"}'


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_found_in_the_middle_of_much_else(spelling: str) -> None:
    filler = b'{"name": "Ada", "url": "https:\\/\\/example.com\\/?q=a%20b%3D&amp;c"}' * 2_000
    whole = filler + SPELLINGS[spelling](TOKEN).encode() + filler
    parts = [whole[at : at + 65_536] for at in range(0, len(whole), 65_536)]
    assert streamed([TOKEN], parts) == filler + MASK + filler


@pytest.mark.parametrize(
    "escape",
    [
        *("%{:02x}", "%{:02X}", "%25{:02X}", "%2525{:02x}", "%252525{:02X}"),
        *("\\u{:04x}", "\\u{:04X}", "\\\\u{:04x}", "\\x{:02x}", "\\\\x{:02X}"),
        *("&#{};", "&#{:05};", "&amp;#{};", "&amp;amp;amp;#{};"),
        *("&#x{:x};", "&#X{:X};", "&#x{:05x};", "&amp;#x{:02X};"),
    ],
)
def test_one_escaped_letter_hides_nothing(escape: str) -> None:
    """Nobody escapes letters without being told to, so that texts without such escapes are searched the quick way."""
    secret = f"{string.ascii_letters}{string.digits}"
    for character in secret:
        text = secret.replace(character, escape.format(ord(character)))
        assert streamed([secret], [b"{" + text.encode() + b"}"]) == b"{[redacted]}", text


@pytest.mark.parametrize(
    "text", ["it&#39;s", "it&#x27;s", "it&#8217;s", "&#160;", "&#x2F;", "&amp;#43;", "#65", "\\u00e9", "%2F", "\\/"]
)
def test_escapes_that_encoders_write_are_passed_the_quick_way(text: str) -> None:
    line = f"{text}\n".encode()
    assert Redactor([SecretStr(TOKEN)]).feed_plain(line) == line


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@given(
    before=st.binary(max_size=9),
    secret=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=SHORTEST, max_size=40),
    after=st.binary(max_size=9),
    places=st.lists(st.integers(0, 200), max_size=4),
)
@example(before=bytes(5), secret="00000000", after=b"", places=[])
def test_base64_is_found_wherever_the_secret_stands_in_it(
    encode: Callable[[bytes], bytes], before: bytes, secret: str, after: bytes, places: list[int]
) -> None:
    """Only characters that hold bits of the neighbours too are left: of the secret at most four bits at each end.

    A secret that repeats itself may fit further to the front as well, and is then replaced there.
    """
    plain, bits = secret.encode(), 8 * len(before)
    written = encode(before + plain + after)
    cleaned = streamed([secret], cut(written, places))
    assert MASK in cleaned
    left, _, right = cleaned.partition(MASK)
    assert 6 * len(left) <= bits + 4
    assume(6 * len(left) >= bits)
    rest = len(written) - len(right)
    assert MASK in right or 6 * rest >= bits + 8 * len(plain) - 4
    assert (left, right) == (written[: len(left)], written[rest:]) or MASK in right


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_base64_is_found_in_every_spelling(spelling: str) -> None:
    """Such as a cursor that holds the URL of the next page, with the token in it."""
    token = "canary-?>?>?>-token-~~~"
    cursor = base64.b64encode(f"https://api.example/x?access_token={token}&after=2".encode()).decode()
    assert {"+", "/"} <= set(cursor)
    cleaned = streamed([token], [SPELLINGS[spelling](cursor).encode()])
    before, mask, after = cleaned.partition(MASK)
    assert mask
    assert before.startswith(SPELLINGS[spelling](cursor[:40]).encode())
    assert after.endswith(SPELLINGS[spelling](cursor[-8:]).encode())


secrets_given = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=8), max_size=3)
fillers = st.binary(max_size=40)


@given(secrets=secrets_given, filler=fillers, places=st.lists(st.integers(0, 10_000), max_size=8), data=st.data())
def test_a_stream_loses_what_the_whole_text_loses(
    secrets: list[str], filler: bytes, places: list[int], data: st.DataObject
) -> None:
    """Secrets and beginnings of them, in any spelling, between anything else."""
    pieces = [filler]
    for _ in range(data.draw(st.integers(0, 4)) if secrets else 0):
        secret, spelling = data.draw(st.sampled_from(secrets)), data.draw(st.sampled_from(list(SPELLINGS.values())))
        written = spelling(secret).encode()
        pieces += [written[: data.draw(st.integers(0, len(written)))], data.draw(fillers), written]
    text = b"".join(pieces)
    redactor = Redactor([SecretStr(secret) for secret in secrets])
    cleaned = streamed(secrets, cut(text, places))
    assert cleaned == redactor.whole(text)
    for secret in secrets:
        assert secret.encode() not in cleaned or secret.encode() in MASK


alphabet = st.sampled_from([b"a", b"b", b"%", b"2", b"5", b"6", b"1", b"\\", b"/", b"u", b"0", b"&", b"#", b";", b"x"])


@given(text=st.lists(alphabet, max_size=60).map(b"".join), places=st.lists(st.integers(0, 60), max_size=6))
def test_cuts_within_escapes_change_nothing(text: bytes, places: list[int]) -> None:
    secrets = ["aabbaabb", "bb/aa%bba", "a&a&a&a&a"]
    assert streamed(secrets, cut(text, places)) == Redactor(map(SecretStr, secrets)).whole(text)


ESCAPING = [b"a", b"%", b"2", b"5", b"4", b"1", b"\\", b"/", b"u", b"0", b"&", b"#", b";", b"x", b"amp;"]


@given(
    secret=st.lists(st.sampled_from(ESCAPING), min_size=8, max_size=12).map(b"".join),
    around=st.tuples(*(st.lists(st.sampled_from(ESCAPING), max_size=8).map(b"".join),) * 3),
    places=st.lists(st.integers(0, 60), max_size=6),
)
@example(secret=b"41414141", around=(b"%", b"", b""), places=[])
@example(secret=b"0041/canary", around=(b"\\u", b"", b""), places=[])
@example(secret=b"65;canary", around=(b"&#", b"", b""), places=[])
@example(secret=b"canary-%", around=(b"", b"41", b""), places=[8])
def test_what_seems_to_make_an_escape_with_a_secret_does_not_hide_it(
    secret: bytes, around: tuple[bytes, bytes, bytes], places: list[int]
) -> None:
    """Such as a percent sign that the caller had the service write in front of it."""
    before, between, after = around
    text = before + secret + between + secret + after
    cleaned = streamed([secret.decode()], cut(text, places))
    assert cleaned == Redactor([SecretStr(secret.decode())]).whole(text)
    assert MASK in cleaned
    assert secret not in cleaned


@given(text=st.binary(max_size=300), places=st.lists(st.integers(0, 300), max_size=5))
def test_other_bytes_pass_as_they_are(text: bytes, places: list[int]) -> None:
    assert streamed([TOKEN, "another-canary"], cut(text, places)) == text


def test_the_longer_of_two_secrets_leaves_nothing_behind() -> None:
    pair, password = "ada-canary:canary-password", "canary-password"
    text = f"{pair} {password}".encode()
    for at in range(len(text)):
        assert streamed([password, pair], [text[:at], text[at:]]) == b"[redacted] [redacted]"


def test_events_are_not_held_back() -> None:
    redactor = Redactor([SecretStr(TOKEN)])
    assert redactor.feed(b'data: {"n": 1}\n\n') == b'data: {"n": 1}\n\n'
    assert redactor.feed(b"data: " + TOKEN[:20].encode()) == b"data: "
    assert redactor.feed(b" was not it\n\n") == TOKEN[:20].encode() + b" was not it\n\n"


begun = st.sampled_from([b"a", b"%61", b"\\u0061", b"&#97;", b"%2525", b"%", b"\\u00"])


@given(st.lists(st.tuples(begun, st.integers(1, 2_000)), max_size=20))
def test_what_is_held_back_stays_small(parts: list[tuple[bytes, int]]) -> None:
    """A text that may go on as the secret at every place, and never does."""
    longest_escape = 10
    redactor = Redactor([SecretStr("a" * 399 + "b")])
    fed = passed = 0
    for piece, times in parts:
        fed += len(piece) * times
        passed += len(redactor.feed(piece * times))
        assert 0 <= fed - passed <= 400 * longest_escape
    assert passed + len(redactor.finish()) == fed


def test_short_secrets_are_left() -> None:
    short = "a" * (SHORTEST - 1)
    assert streamed([short], [short.encode()]) == short.encode()


def test_headers_are_cleaned_too() -> None:
    redactor = Redactor([SecretStr(TOKEN)])
    link = f'<https://api.example/?page_info=é&access_token={urllib.parse.quote(TOKEN)}>; rel="next"'
    assert redactor.text(link) == '<https://api.example/?page_info=é&access_token=[redacted]>; rel="next"'
