"""A secret is shown only to who asks for it by name."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

import pytest

from relay.core.request import Headers
from relay.core.secret import MASK, Mask, RevealedSecrets, Secret


@dataclass(frozen=True)
class Holder:
    secret: Secret


CANARY = "canary-7f3a"


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(CANARY)),
        str(Secret(CANARY)),
        f"{Secret(CANARY)}",
        f"{Secret(CANARY)!r:>20}",
        repr(Holder(Secret(CANARY))),
        repr([Secret(CANARY)]),
        repr(Secret(CANARY.encode())),
        repr(RevealedSecrets.of([Secret(CANARY), Secret(CANARY)])),
        f"{RevealedSecrets.of([Secret(CANARY)])}",
        repr([RevealedSecrets.of([Secret(CANARY)])]),
    ],
)
def test_it_prints_stars(shown: str) -> None:
    assert CANARY not in shown
    assert "***" in shown


def test_it_is_revealed_as_bytes() -> None:
    assert Secret(CANARY).reveal() == Secret(CANARY.encode()).reveal() == CANARY.encode()
    assert [*RevealedSecrets.of([Secret("a"), Secret(CANARY)])] == [b"a", CANARY.encode()]


def test_equal_secrets_are_equal_and_an_empty_one_is_false() -> None:
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


# ---- masking --------------------------------------------------------------------------------

SECRETS = [
    Secret("secret-one"),
    Secret("secret-one-longer"),
    Secret(b"bytes-\xff-key"),
    Secret("ab"),
]


def test_a_secret_is_hidden_wherever_it_stands() -> None:
    mask = Mask(SECRETS, Headers())
    assert mask.text("a secret-one-longer, secret-one.") == "a ***, ***."
    assert mask.signed([b"x=", None, b"&bytes-\xff-key"]) == "x=***&***"


@pytest.mark.parametrize(
    "spelled",
    [
        "/secret/+ two:é&",
        quote("/secret/+ two:é&", safe=""),
        quote("/secret/+ two:é&"),
        quote_plus("/secret/+ two:é&"),
        "%2fsecret%2f%2b+two%3a%c3%a9%26",
        json.dumps("/secret/+ two:é&")[1:-1],
        "/secret/+ two:é&amp;",
    ],
)
def test_a_secret_is_hidden_however_it_is_spelled(spelled: str) -> None:
    mask = Mask([Secret("/secret/+ two:é&")], Headers())
    assert mask.text(f"a={spelled};") == "a=***;"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("secret", [b"??>>~~secret-one", b"bytes-\xff\xfb\xef-key"])
def test_a_secret_is_hidden_in_base64_wherever_it_begins(
    encode: Callable[[bytes], bytes], secret: bytes
) -> None:
    mask = Mask([Secret(secret)], Headers((("X-Token", "canary-of-the-sender"),)), ["X-Token"])
    for known in (secret, b"canary-of-the-sender"):
        for before in range(7):
            for behind in range(4):
                text = b"\xfb" * before + known + b"\xfb" * behind
                shown = mask.text(encode(text).decode())
                assert MASK in shown
                # At most four letters stand for bytes of it and for bytes beside it.
                assert len(shown) <= len(encode(b"\xfb" * (before + behind))) + len(MASK) + 8


def test_tokens_of_the_request_are_hidden_and_signatures_are_not() -> None:
    fields = (
        ("authorization", "Bearer canary-1"),
        ("Cookie", "canary-2"),
        ("X-Token", "canary-3"),
        ("Authorization", "HMAC-SHA256 SignedHeaders=a&Signature=c2ln"),
    )
    mask = Mask([], Headers(fields), ["X-Token"])
    shown = mask.text("Bearer canary-1 canary-1 canary-2 canary-3 Signature=c2ln")
    assert shown == "*** *** *** *** Signature=c2ln"


def test_what_is_hidden_of_a_secret_is_found_out_once() -> None:
    """All secrets of a configuration are looked for in each answer of an upstream that is kept."""
    secret = Secret("a b/c+d-4711")
    assert secret.masked is secret.masked
    assert {"a b/c+d-4711", "a%20b%2Fc%2Bd-4711", "a+b%2fc%2bd-4711"} <= secret.masked
    assert Mask((secret,), Headers()).whole("key=a+b%2fc%2bd-4711") == "key=***"


def test_nothing_is_hidden_that_is_too_short_to_be_a_secret() -> None:
    assert Mask(SECRETS, Headers((("Cookie", ""),))).text("abc") == "abc"


def test_what_is_long_is_cut_after_it_is_hidden() -> None:
    mask = Mask(SECRETS, Headers())
    shown = mask.text("x" * 995 + "secret-one" + "y" * 100)
    assert shown == "x" * 995 + "***yy… (1098 characters)"
