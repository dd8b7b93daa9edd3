"""A secret is shown only to who asks for it by name."""

from dataclasses import dataclass

import pytest

from relay.core.secret import Secret


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
    ],
)
def test_it_prints_stars(shown: str) -> None:
    assert CANARY not in shown
    assert "***" in shown


def test_it_is_revealed_as_bytes() -> None:
    assert Secret(CANARY).reveal() == Secret(CANARY.encode()).reveal() == CANARY.encode()


def test_equal_secrets_are_equal_and_an_empty_one_is_false() -> None:
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")
