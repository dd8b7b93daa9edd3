"""What comes along with a secret is named, and what comes along with none is not."""

import pytest

from relay.config.secret_text import looks_secret, oddity, without_oddities
from relay.core.secret import Secret

KEY = "Mid-server-abc"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"\ufeff{KEY}", "begins with a byte order mark"),
        (f" {KEY}", "begins with a blank"),
        (f"\t{KEY}", "begins with a blank"),
        (f"{KEY} ", "ends in a blank"),
        (f"{KEY}\u00a0", "ends in a blank"),
        (f"{KEY}\n", "ends in a line break"),
        (f"{KEY}\r", "ends in a line break"),
        (f"{KEY}\n{KEY}", "holds more than one line"),
        (f"{KEY}\r\nx\r\n", "holds more than one line"),
        (f"{KEY[:4]}\u200b{KEY[4:]}", "holds a letter without width, which nobody sees"),
        (f"{KEY}\u2060", "holds a letter without width, which nobody sees"),
        (f"{KEY}\ufeff", "holds a letter without width, which nobody sees"),
        (f'"{KEY}"', "stands in quotes or brackets"),
        (f"'{KEY}'", "stands in quotes or brackets"),
        (f"\u201c{KEY}\u201d", "stands in quotes or brackets"),
        (f"<{KEY}>", "stands in quotes or brackets"),
        (f"MIDTRANS_SERVER_KEY={KEY}", "begins with the name of a variable"),
        (f"export MIDTRANS_SERVER_KEY={KEY}", "begins with the name of a variable"),
        (f"{KEY}\x00", "holds a control character"),
        (f"{KEY[:4]}\x1b{KEY[4:]}", "holds a control character"),
    ],
)
def test_what_came_along_is_named_and_can_be_taken_off(text: str, said: str) -> None:
    assert oddity(Secret(text)) == said
    if "control" not in said:
        assert without_oddities(text.encode()) == KEY.encode()


def test_several_are_taken_off_at_once() -> None:
    text = f'\ufeffexport SERVER_KEY="{KEY}" \r\n# of May\n'
    assert without_oddities(text.encode()) == KEY.encode()


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"SB-{KEY}",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "QUJDREVGR0g=",
        "ABCDEFGH==",
        "a b",
        "it's",
        '"',
        "a=b",
        "påssord",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "",
    ],
)
def test_what_stands_by_itself_is_not_odd(text: str) -> None:
    assert oddity(Secret(text)) is None
    if "BEGIN" not in text:
        assert without_oddities(text.encode()) == text.encode()


def test_bytes_that_are_no_text_are_not_judged() -> None:
    assert oddity(Secret(b"\xff\x00 ")) is None
    assert oddity(Secret("key".encode("utf-16"))) == "is text in UTF-16"
    assert without_oddities(b" \xe9 ") == b"\xe9"


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("X-Api-Key", "prod", True),
        ("apikey", "prod", True),
        ("X_Auth_Token", "prod", True),
        ("Authorization", "Custom x", True),
        ("Cookie", "a=b", True),
        ("X-Env", "prod", False),
        ("X-Keyboard", "prod", False),
        ("X-Region", "asia-southeast2-production-1", False),
        ("X-Tenant", "7b0c3f1e-1c2d-4e5f-8a9b-0c1d2e3f4a5b", False),
        ("X-Version", "20261130123456789", False),
        ("X-Env", "canary7f3a91canary7f3a91", True),
    ],
)
def test_a_header_field_looks_like_a_secret_by_its_name_or_its_value(
    name: str, value: str, *, secret: bool
) -> None:
    assert looks_secret(name, Secret(value)) is secret
