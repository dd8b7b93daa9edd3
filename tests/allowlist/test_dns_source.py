from collections.abc import Iterable
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.allowlist import Answer, Change, Family, LookupResult
from relay.allowlist.dns_source import MAX_CHANGES, HostState, Policy, RefreshResult, update
from relay.allowlist.networks import special
from relay.core.request import Address

HOUR = 3600.0
POLICY = Policy(
    min_refresh=timedelta(seconds=30),
    max_refresh=timedelta(minutes=5),
    retain=timedelta(hours=24),
    max_stale=timedelta(hours=72),
)
OLD, NEW, SIX = "104.45.17.199", "20.50.1.1", "2a01:111::1"
FAILURES = [
    LookupResult.SERVFAIL,
    LookupResult.TIMEOUT,
    LookupResult.NXDOMAIN,
    LookupResult.EMPTY,
]


def ok(*addresses: str, ttl: int = 60) -> Answer:
    return Answer(LookupResult.OK, tuple(ip_address(each) for each in addresses), ttl)


def bad(result: LookupResult) -> Answer:
    return Answer(result)


EMPTY = bad(LookupResult.EMPTY)
SERVFAIL = bad(LookupResult.SERVFAIL)


class Host:
    """Applies look-ups one after the other, each `after` seconds from the one before."""

    def __init__(self, proven: Iterable[str] = ()) -> None:
        self.proven = {ip_address(each) for each in proven}
        self.record = HostState()
        self.now = 5000.0
        self.dice = Random(7)

    def look(self, a: Answer, aaaa: Answer = EMPTY, *, after: float = 60.0) -> RefreshResult:
        self.now += after
        answers = {Family.A: a, Family.AAAA: aaaa}
        step = update(
            self.record, answers, self.now, POLICY, self.dice, is_proven=self.proven.__contains__
        )
        self.record = step.state
        return step

    def look_for(self, seconds: float, a: Answer, aaaa: Answer = EMPTY) -> None:
        """Look again and again, every 5 minutes, for this long."""
        for _ in range(round(seconds / 300)):
            self.look(a, aaaa, after=300)

    @property
    def addresses(self) -> set[str]:
        return {str(address) for address in self.record.known}


@pytest.fixture
def host() -> Host:
    host = Host()
    host.look(ok(OLD), ok(SIX))
    return host


def _added(addresses: Iterable[str]) -> tuple[tuple[Change, Address], ...]:
    return tuple((Change.ADDED, ip_address(address)) for address in addresses)


def test_addresses_of_both_families_are_added_at_once() -> None:
    host = Host()
    step = host.look(ok(OLD), ok(SIX))
    assert step.changes == _added([OLD, SIX])
    assert (step.result, step.problem) == (LookupResult.OK, None)
    assert host.look(ok(OLD, NEW), ok(SIX)).changes == _added([NEW])
    assert host.look(ok(OLD, NEW), ok(SIX)).changes == ()


# ---- what never removes anything --------------------------------------------------------------


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_removes_nothing_for_72_hours(host: Host, failure: LookupResult) -> None:
    host.look_for(72 * HOUR, bad(failure), bad(failure))
    assert host.addresses == {OLD, SIX}


@pytest.mark.parametrize("failure", FAILURES)
def test_after_72_hours_without_an_answer_the_whole_host_goes(
    host: Host, failure: LookupResult
) -> None:
    host.look_for(72 * HOUR, bad(failure), bad(failure))
    step = host.look(bad(failure), bad(failure))
    assert set(step.changes) == {
        (Change.REMOVED, ip_address(OLD)),
        (Change.REMOVED, ip_address(SIX)),
    }
    assert step.state.known == {}
    step = host.look(ok(NEW))
    assert step.changes == _added([NEW])
    assert step.state.failures == 0


def test_refused_answers_do_not_hold_off_max_stale(host: Host) -> None:
    host.look_for(72 * HOUR + 300, ok("10.0.0.1"), ok("fe80::1"))
    assert host.addresses == set()


def test_one_good_answer_in_an_outage_starts_the_72_hours_again(host: Host) -> None:
    host.look_for(71 * HOUR, SERVFAIL, SERVFAIL)
    host.look(ok(OLD), SERVFAIL)
    host.look_for(71 * HOUR, SERVFAIL, SERVFAIL)
    assert host.addresses == {OLD, SIX}


# ---- retain -----------------------------------------------------------------------------------


def test_an_address_goes_after_24_hours_of_good_answers_without_it(host: Host) -> None:
    host.look(ok(NEW))
    host.look_for(24 * HOUR - 300, ok(NEW))
    assert OLD in host.addresses
    step = host.look(ok(NEW), after=300)
    assert step.changes == ((Change.REMOVED, ip_address(OLD)),)


def test_the_24_hours_begin_with_the_first_answer_without_it(host: Host) -> None:
    # However long ago the last answer with it was.
    host.look(ok(NEW), after=100 * HOUR)
    host.look(ok(NEW), after=23 * HOUR)
    assert OLD in host.addresses


def test_an_answer_with_it_starts_the_24_hours_again(host: Host) -> None:
    for _ in range(10):
        host.look_for(23 * HOUR, ok(NEW))
        host.look(ok(OLD))
    assert OLD in host.addresses


@pytest.mark.parametrize("failure", FAILURES)
def test_failures_between_good_answers_do_not_count(host: Host, failure: LookupResult) -> None:
    host.look_for(23 * HOUR, ok(NEW))
    # Ten days, in which no two good answers follow each other.
    for _ in range(120):
        host.look(bad(failure), bad(failure), after=HOUR)
        host.look(ok(NEW), after=HOUR)
    assert OLD in host.addresses
    # The 23 hours from before still count.
    host.look_for(2 * HOUR, ok(NEW))
    assert OLD not in host.addresses


def test_one_family_does_not_age_while_only_the_other_is_answered(host: Host) -> None:
    host.look_for(240 * HOUR, SERVFAIL, ok(SIX))
    assert host.addresses == {OLD, SIX}
    host.look_for(240 * HOUR, ok(OLD), SERVFAIL)
    assert host.addresses == {OLD, SIX}


def test_each_family_ages_by_its_own_answers(host: Host) -> None:
    host.look_for(25 * HOUR, ok(OLD), ok("2a01:111::2"))
    assert host.addresses == {OLD, "2a01:111::2"}


def test_a_family_that_became_empty_is_kept_as_long_as_through_an_outage(host: Host) -> None:
    host.look_for(72 * HOUR, ok(OLD), EMPTY)
    assert SIX in host.addresses
    host.look_for(HOUR, ok(OLD), EMPTY)
    assert host.addresses == {OLD}


def test_an_address_that_comes_every_other_time_stays() -> None:
    host = Host()
    for _ in range(1000):
        host.look(ok(OLD), after=300)
        host.look(ok(NEW), after=300)
    assert host.addresses == {OLD, NEW}


# ---- what is not believed ---------------------------------------------------------------------


def test_a_special_address_is_refused_and_its_neighbours_are_taken(host: Host) -> None:
    step = host.look(ok("10.0.0.1", NEW, "127.0.0.1"), ok("fe80::1", SIX))
    assert host.addresses == {OLD, NEW, SIX}
    assert step.result is LookupResult.REFUSED_ANSWER
    assert step.problem == (
        "A: refused_answer, 10.0.0.1 is private, 127.0.0.1 is loopback; "
        "AAAA: refused_answer, fe80::1 is link-local"
    )


def test_an_answer_of_special_addresses_alone_is_a_failure(host: Host) -> None:
    step = host.look(ok("10.0.0.1"), ok("fe80::1"))
    assert step.result is LookupResult.REFUSED_ANSWER
    assert step.changes == ()
    assert step.state.failures == 1


def _many(count: int, start: int = 0x14000000) -> list[str]:
    return [str(IPv4Address(start + number)) for number in range(count)]


def test_an_answer_of_64_addresses_is_taken_and_one_of_65_is_refused_whole() -> None:
    host = Host()
    assert len(host.look(ok(*_many(64))).state.known) == 64
    host = Host()
    step = host.look(ok(*_many(65)))
    assert step.state.known == {}
    assert step.result is LookupResult.REFUSED_ANSWER
    assert step.problem is not None
    assert "65 addresses" in step.problem


def test_the_257th_address_takes_the_place_of_the_one_unseen_for_longest() -> None:
    host = Host()
    host.look(ok(OLD))
    for part in range(4):
        host.look(ok(*_many(64, 0x14000000 + 64 * part)))
    assert len(host.record.known) == 256
    assert OLD not in host.addresses
    assert host.look(ok(NEW)).changes[0] == (Change.ADDED, ip_address(NEW))
    assert len(host.record.known) == 256
    assert NEW in host.addresses


# ---- the result -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "aaaa", "result"),
    [
        (ok(OLD), ok(SIX), LookupResult.OK),
        (ok(OLD), EMPTY, LookupResult.OK),
        (EMPTY, ok(SIX), LookupResult.OK),
        (EMPTY, EMPTY, LookupResult.EMPTY),
        (ok(OLD), SERVFAIL, LookupResult.SERVFAIL),
        (bad(LookupResult.TIMEOUT), ok(SIX), LookupResult.TIMEOUT),
        (bad(LookupResult.NXDOMAIN), EMPTY, LookupResult.NXDOMAIN),
        (bad(LookupResult.NXDOMAIN), bad(LookupResult.NXDOMAIN), LookupResult.NXDOMAIN),
        (bad(LookupResult.TIMEOUT), SERVFAIL, LookupResult.SERVFAIL),
        (ok("10.0.0.1"), SERVFAIL, LookupResult.REFUSED_ANSWER),
        (Answer(LookupResult.OK), EMPTY, LookupResult.EMPTY),
    ],
)
def test_the_result_names_the_failure(a: Answer, aaaa: Answer, result: LookupResult) -> None:
    assert Host().look(a, aaaa).result is result


def test_what_works_is_taken_while_the_other_family_fails() -> None:
    host = Host()
    step = host.look(bad(LookupResult.TIMEOUT), ok(SIX))
    assert host.addresses == {SIX}
    assert step.problem == "A: timeout"


# ---- when to look again -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttls", "expected"),
    [((60, 90), 60), ((90, 60), 60), ((0, 60), 30), ((300, 300), 300), ((2**31 - 1,) * 2, 300)],
)
def test_the_next_look_is_the_lowest_ttl_held_within_bounds(
    ttls: tuple[int, int], expected: float
) -> None:
    host = Host()
    delays = [host.look(ok(OLD, ttl=ttls[0]), ok(SIX, ttl=ttls[1])).delay for _ in range(200)]
    assert all(expected * 0.9 <= delay <= expected for delay in delays)
    assert max(delays) - min(delays) > expected * 0.05  # there is jitter


def test_the_ttl_of_an_empty_family_does_not_count() -> None:
    assert Host().look(ok(OLD, ttl=300)).delay > 200


@pytest.mark.parametrize("failure", FAILURES)
def test_after_a_failure_the_next_look_is_soon(host: Host, failure: LookupResult) -> None:
    for _ in range(50):
        assert 27 <= host.look(bad(failure), bad(failure)).delay <= 30
    assert 27 <= host.look(ok(OLD, ttl=300), SERVFAIL).delay <= 30


def test_while_nothing_is_known_the_wait_doubles_from_a_second() -> None:
    host = Host()
    for expected in (1, 2, 4, 8, 16, 30, 30):
        delay = host.look(SERVFAIL, SERVFAIL).delay
        assert expected * 0.9 <= delay <= expected
    for _ in range(5000):
        assert host.look(SERVFAIL, SERVFAIL).delay <= 30


# ---- whatever happens -------------------------------------------------------------------------

_ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.sampled_from([IPv4Address(OLD), IPv4Address(NEW), IPv4Address("10.0.0.1")]),
)
_SIXES = st.one_of(st.integers(0, 2**128 - 1).map(IPv6Address), st.sampled_from([IPv6Address(SIX)]))


def _answers(addresses: st.SearchStrategy[Address]) -> st.SearchStrategy[Answer]:
    good = st.builds(
        Answer,
        st.just(LookupResult.OK),
        st.lists(addresses, min_size=1, max_size=80, unique=True).map(tuple),
        st.integers(0, 2**31 - 1),
    )
    return st.one_of(good, st.sampled_from([Answer(failure) for failure in FAILURES]))


@given(
    st.lists(
        st.tuples(_answers(_ADDRESSES), _answers(_SIXES), st.floats(0.1, 40 * HOUR)), max_size=12
    )
)
def test_no_order_of_answers_breaks_the_rules(
    looks: list[tuple[Answer, Answer, float]],
) -> None:
    host = Host()
    for a, aaaa, after in looks:
        before = host.record
        step = host.look(a, aaaa, after=after)
        known = step.state.known

        assert len(known) <= 256
        assert all(special(address) is None for address in known)
        assert 0.9 <= step.delay <= 300
        assert {address for change, address in step.changes if change is Change.ADDED} == (
            known.keys() - before.known.keys()
        )
        assert {address for change, address in step.changes if change is Change.REMOVED} == (
            before.known.keys() - known.keys()
        )
        stale = before.answered_at is not None and host.now - before.answered_at > 72 * HOUR
        if not a.addresses and not aaaa.addresses and not stale:
            assert known == before.known


# ---- somebody else answers for the name -----------------------------------------------------


def _flood(number: int) -> Answer:
    """Return one of several answers of 64 public addresses each."""
    return ok(*(f"20.{number}.0.{at}" for at in range(64)))


def test_an_address_that_a_signed_message_came_from_is_not_pushed_out() -> None:
    host = Host(proven=[OLD])
    host.look(ok(OLD, NEW), ok(SIX))
    for number in range(8):
        host.look(_flood(number), after=5)
        assert OLD in host.addresses
    assert len(host.addresses) == 256
    # What was seen in DNS alone is gone, and so it was for all of them.
    assert NEW not in host.addresses


def test_a_proof_stays_when_it_is_older_than_what_is_remembered_of_messages() -> None:
    host = Host(proven=[OLD])
    host.look(ok(OLD))
    host.look(ok(OLD))
    host.proven.clear()
    for number in range(8):
        host.look(_flood(number), after=5)
    assert OLD in host.addresses


def test_a_proven_address_leaves_as_others_do_when_answers_leave_it_out_for_long() -> None:
    host = Host(proven=[OLD])
    host.look(ok(OLD))
    host.look_for(25 * HOUR, ok(NEW))
    assert host.addresses == {NEW}


def test_proven_addresses_alone_are_bounded_too() -> None:
    host = Host(proven=[f"20.{number}.0.{at}" for number in range(8) for at in range(64)])
    for number in range(8):
        host.look(_flood(number), after=5)
    assert len(host.addresses) == 256


def test_growth_by_more_than_half_within_retain_is_told() -> None:
    host = Host()
    four = [f"20.1.0.{at}" for at in range(4)]
    assert host.look(ok(*four)).grown_from is None
    assert host.look(ok(*four, "20.2.0.1")).grown_from is None
    assert host.look(ok(*four, "20.2.0.2")).grown_from is None
    assert host.look(ok(*four, "20.2.0.3")).grown_from == 4
    # Nothing was added: nothing more is said.
    assert host.look(ok(*four, "20.2.0.3")).grown_from is None
    assert host.look(ok(*four, "20.2.0.4")).grown_from == 4


def test_slow_growth_is_none() -> None:
    host = Host()
    known = [f"20.1.0.{at}" for at in range(4)]
    host.look(ok(*known))
    for at in range(6):
        known.append(f"20.2.0.{at}")
        assert host.look(ok(*known)).grown_from is None
        host.look_for(13 * HOUR, ok(*known))


def test_a_host_that_was_forgotten_begins_anew() -> None:
    host = Host()
    host.look(ok(OLD))
    host.look(SERVFAIL, after=80 * HOUR)
    assert host.addresses == set()
    assert host.look(ok(NEW, "20.2.0.1", "20.2.0.2")).grown_from is None


# ---- what has changed -------------------------------------------------------------------------


def test_an_address_keeps_the_time_that_it_was_first_seen() -> None:
    host = Host()
    host.look(ok(OLD))
    first = host.now
    host.look(ok(OLD, NEW))
    second = host.now
    host.look(ok(NEW))
    known = host.record.known
    assert known[ip_address(OLD)].first_seen == first
    assert known[ip_address(NEW)].first_seen == second


def test_changes_are_remembered_and_what_a_host_began_with_is_none() -> None:
    host = Host()
    host.look(ok(OLD))
    assert [*host.record.history] == []
    host.look(ok(NEW))
    came = host.now
    for _ in range(26):
        host.look(ok(NEW), after=HOUR)
    seen = [(each.change, str(each.address)) for each in host.record.history]
    assert seen == [(Change.REMOVED, OLD), (Change.ADDED, NEW)]
    assert host.record.history[1].at == came
    host.look(bad(LookupResult.SERVFAIL))
    assert len(host.record.history) == 2


def test_only_the_last_changes_are_remembered() -> None:
    host = Host()
    host.look(ok(OLD))
    for number in range(1, 2 * MAX_CHANGES):
        host.look(ok(f"20.50.1.{number}"))
    assert len(host.record.history) == MAX_CHANGES
    assert str(host.record.history[0].address) == f"20.50.1.{2 * MAX_CHANGES - 1}"
