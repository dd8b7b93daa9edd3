import hashlib
from datetime import timedelta

import pytest

from relay.core.errors import Reason, Refusal
from relay.providers.snap.access_tokens import MAX_RATE, MAX_TOKENS, AccessTokens
from tests.contracts.provider import NOW

LIFE = timedelta(minutes=15)
SECOND = timedelta(seconds=1)


def test_a_token_is_good_for_its_life_where_it_was_issued() -> None:
    everything = AccessTokens()
    tokens = everything.of("a", "client", LIFE)
    token = tokens.issue(NOW)
    assert len(token) == 43
    assert tokens.knows(token, NOW)
    assert tokens.knows(token, NOW + LIFE - SECOND)
    assert not tokens.knows(token, NOW + LIFE)
    assert not tokens.knows("", NOW)
    assert not tokens.knows("x" * 10_000, NOW)
    assert not tokens.knows("\udc80", NOW)
    assert not everything.of("b", "client", LIFE).knows(token, NOW)
    assert not everything.of("a", "other", LIFE).knows(token, NOW)
    # Another life, as after a reload, is that of new ones.
    assert everything.of("a", "client", SECOND).knows(token, NOW + LIFE - SECOND)


def test_no_two_are_alike_and_each_is_told() -> None:
    told: list[None] = []
    tokens = AccessTokens(lambda: told.append(None)).of("a", "client", LIFE)
    assert len({tokens.issue(NOW) for _ in range(MAX_RATE)}) == MAX_RATE
    assert len(told) == MAX_RATE


def test_what_is_kept_is_a_digest() -> None:
    everything = AccessTokens()
    token = everything.of("a", "client", LIFE).issue(NOW)
    digest = hashlib.sha256(f"client\n{token}".encode()).hexdigest()
    end = int((NOW + LIFE).timestamp())
    assert everything.saved(NOW) == {"a": {digest: end}}
    assert token not in repr(vars(everything))
    assert everything.saved(NOW + LIFE) == {}


def test_what_was_saved_is_good_again() -> None:
    before, after = AccessTokens(), AccessTokens()
    token = before.of("a", "client", LIFE).issue(NOW)
    after.restore(before.saved(NOW), NOW)
    assert after.of("a", "client", LIFE).knows(token, NOW)
    after.restore(before.saved(NOW), NOW + LIFE)
    assert not after.of("a", "client", LIFE).knows(token, NOW)


def test_so_many_are_issued_in_a_second() -> None:
    tokens = AccessTokens().of("a", "client", LIFE)
    for _ in range(MAX_RATE):
        tokens.issue(NOW)
    with pytest.raises(Refusal) as refusal:
        tokens.issue(NOW + SECOND / 2)
    assert refusal.value.reason is Reason.OVERLOAD
    tokens.issue(NOW + SECOND)
    # The clock was set back: that holds up nobody.
    tokens.issue(NOW - timedelta(days=1))


def test_so_many_are_good_at_once_and_the_oldest_gives_way() -> None:
    everything = AccessTokens()
    tokens = everything.of("a", "client", timedelta(days=1))
    issued = [tokens.issue(NOW + number * SECOND / 10) for number in range(MAX_TOKENS + 5)]
    now = NOW + (MAX_TOKENS + 5) * SECOND / 10
    assert len(everything.saved(now)["a"]) <= MAX_TOKENS
    assert tokens.knows(issued[-1], now)
    assert tokens.knows(issued[20], now)
    assert not tokens.knows(issued[0], now)


def test_what_is_over_gives_way_first() -> None:
    everything = AccessTokens()
    short = everything.of("a", "client", SECOND)
    long = everything.of("a", "client", LIFE)
    kept = long.issue(NOW)
    for number in range(MAX_TOKENS):
        short.issue(NOW + number * SECOND / 10)
    last = NOW + MAX_TOKENS * SECOND / 10
    short.issue(last)
    assert long.knows(kept, last)
    assert len(everything.saved(last)["a"]) < 20
