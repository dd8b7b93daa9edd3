"""The instruments of these proofs: the disk's model, oracles over a trace and over destinations,
and strace's parser.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath
from random import Random

import pytest

from tests.crash.destinations import in_order, is_everywhere, passed_on
from tests.crash.disk_model import SECTOR, Disk, Fate
from tests.crash.fan_out import ORDERED, PROXIED, UPSTREAMS, RoutedMessages
from tests.crash.moods import Told
from tests.crash.traces import answers, directory_synced, unsynced
from tests.harness.spool_audit import Row, SpoolAudit
from tests.harness.traced_node import Call, TraceCut, parse

# ---- the model of a disk --------------------------------------------------------------------

_PATH = "/d/file"


class Script:
    """Calls one after the other, each over before the next one begins."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def _add(self, name: str, file: str, data: bytes, *numbers: int, flags: str = "") -> "Script":
        at = 2 * len(self.calls)
        result = len(data) if name == "pwrite64" else 0
        made = Call(1, at, at + 1, name, file, data, numbers, frozenset(flags.split()), result)
        self.calls.append(made)
        return self

    def create(self) -> "Script":
        return self._add("openat", "", _PATH.encode(), flags="O_RDWR O_CREAT")

    def remove(self) -> "Script":
        return self._add("unlink", "", _PATH.encode())

    def write(self, data: bytes, offset: int = 0) -> "Script":
        return self._add("pwrite64", _PATH, data, len(data), offset)

    def cut_to(self, length: int) -> "Script":
        return self._add("ftruncate", _PATH, b"", length)

    def sync(self, path: str = _PATH) -> "Script":
        return self._add("fdatasync", path, b"")

    def disk(self) -> Disk:
        disk = Disk(PurePath("/d"), ["file"])
        list(disk.moments(self.calls))
        return disk

    def outcomes(self, *fates: Fate) -> set[bytes | None]:
        """Return everything that may be found in the file; None when it is not there."""
        disk, dice = self.disk(), Random(1)
        return {disk.cut(dice, fates or tuple(Fate)).get("file") for _ in range(300)}


def made() -> Script:
    return Script().create().sync("/d")


def test_what_was_synced_stays() -> None:
    assert made().write(b"abc").sync().outcomes() == {b"abc"}


def test_what_was_not_synced_may_be_there_or_not() -> None:
    outcomes = made().write(b"abc").sync().write(b"xyz").outcomes()
    assert outcomes == {b"abc", b"xyz"}


def test_a_new_name_may_be_missing_until_its_directory_is_synced() -> None:
    assert None in Script().create().write(b"abc").sync().outcomes()
    assert None not in Script().create().write(b"abc").sync().sync("/d").outcomes()


def test_a_removed_file_may_come_back() -> None:
    kept = made().write(b"abc").sync().remove()
    assert kept.outcomes() == {b"abc", None}
    assert kept.sync("/d").outcomes() == {None}


def test_sectors_arrive_one_by_one_in_any_order() -> None:
    one, two = b"1" * SECTOR, b"2" * SECTOR
    outcomes = made().write(bytes(2 * SECTOR)).sync().write(one + two).outcomes(Fate.SECTORS)
    assert outcomes == {
        bytes(2 * SECTOR),
        one + bytes(SECTOR),
        bytes(SECTOR) + two,
        one + two,
    }


def test_a_torn_write_ends_at_the_edge_of_a_sector_of_the_disk() -> None:
    outcomes = made().write(b"x" * SECTOR, offset=SECTOR - 24).outcomes(Fate.PREFIX)
    lengths = {len(outcome) for outcome in outcomes if outcome is not None}
    assert lengths == {0, SECTOR, 2 * SECTOR - 24}


def test_a_file_may_be_long_before_it_has_content() -> None:
    assert bytes(3) in made().write(b"abc").outcomes(Fate.LENGTHS)


def test_a_file_that_was_cut_short_may_be_long_again() -> None:
    kept = made().write(b"abc").sync().cut_to(1)
    assert kept.outcomes() == {b"abc", b"a"}
    assert kept.sync().outcomes() == {b"a"}


def test_a_sync_covers_only_writes_that_were_over_before_it() -> None:
    script = made().write(b"abc")
    late = script.calls[-1]
    script.calls[-1] = Call(2, late.began, 99, *(getattr(late, name) for name in _REST))
    assert script.sync().outcomes() == {b"", b"abc", bytes(3)}


def test_what_the_process_sees_is_everything() -> None:
    assert made().write(b"abc").write(b"d", offset=3).disk().whole() == {"file": b"abcd"}


_REST = ("name", "file", "data", "numbers", "flags", "result")

# ---- the order of calls ---------------------------------------------------------------------
# The oracle over a trace: it must find what is out of order.

_LOG = "/d/relay.db-wal"
_NAME = "1c28dbbb-8596-48e4-85d7-9f1382db8a1f"
_SOCKET = "TCP:[1->2]"


def call(at: int, name: str, file: str, data: bytes = b"", *numbers: int, result: int = 0) -> Call:
    return Call(1, at, at, name, file, data, numbers, frozenset(), result)


def heard(at: int) -> Call:
    return call(at, "recvfrom", _SOCKET, f'{{"transaction_id": "{_NAME}"}}'.encode(), result=9)


def frame(at: int, *, last: bool = True) -> list[Call]:
    header = bytes(4) + (b"\0\0\0\5" if last else bytes(4)) + bytes(16)
    return [
        call(at, "pwrite64", _LOG, header, 24, 32, result=24),
        call(at + 1, "pwrite64", _LOG, _NAME.encode(), 36, 56, result=36),
    ]


def sync(at: int, result: int = 0) -> Call:
    return call(at, "fdatasync", _LOG, result=result)


def answered(at: int, status: int = 200) -> Call:
    return call(at, "sendto", _SOCKET, f"HTTP/1.1 {status} OK\r\n".encode(), result=9)


def test_written_synced_answered_is_in_order() -> None:
    assert unsynced([heard(0), *frame(1), sync(3), answered(4)], _LOG) == []


def test_an_answer_before_the_sync_is_found() -> None:
    [found] = unsynced([heard(0), *frame(1), answered(3), sync(4)], _LOG)
    assert "not synced in between" in found


def test_a_sync_before_the_write_does_not_count() -> None:
    assert unsynced([heard(0), sync(1), *frame(2), answered(4)], _LOG)


def test_a_sync_that_failed_does_not_count() -> None:
    assert unsynced([heard(0), *frame(1), sync(3, -1), answered(4)], _LOG)


def test_a_sync_before_the_last_frame_of_the_transaction_does_not_count() -> None:
    calls = [heard(0), *frame(1, last=False), sync(3), *frame(4), answered(6)]
    assert unsynced(calls, _LOG)


def test_a_success_for_something_never_written_is_found() -> None:
    [found] = unsynced([heard(0), sync(1), answered(2)], _LOG)
    assert "never written" in found


def test_a_refusal_is_no_success() -> None:
    assert list(answers([heard(0), answered(1, 502)])) == []


def test_a_name_counts_once_its_directory_has_been_synced() -> None:
    made = Call(1, 0, 0, "openat", "", _LOG.encode(), (), frozenset({"O_CREAT"}), 6)
    synced = call(1, "fsync", "/d")
    assert directory_synced([made, synced], _LOG, before=2)
    assert not directory_synced([made, synced], _LOG, before=1)
    assert not directory_synced([made], _LOG, before=2)


# ---- strace's log ---------------------------------------------------------------------------
# The parser of strace's log.


def _hex(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def test_a_write_has_its_file_its_bytes_and_its_place() -> None:
    [call] = parse([f'7 1.5 pwrite64(12<{_hex("/d/relay.db")}>, "{_hex("ab")}", 2, 4096) = 2\n'])
    assert (call.thread, call.name, call.file, call.data) == (7, "pwrite64", "/d/relay.db", b"ab")
    assert (call.numbers, call.result, call.worked) == ((2, 4096), 2, True)


def test_a_call_that_was_interrupted_in_the_log_is_one_call() -> None:
    calls = parse(
        [
            f"7 1.5 fdatasync(12<{_hex('/d/w')}> <unfinished ...>",
            f'8 1.6 sendto(9<TCP:[{_hex("1->2")}]>, "{_hex("hi")}", 2, 0, NULL, 0) = 2',
            "7 1.7 <... fdatasync resumed>)     = 0",
        ]
    )
    assert [(call.name, call.began, call.ended) for call in calls] == [
        ("fdatasync", 0, 2),
        ("sendto", 1, 1),
    ]
    assert calls[0].file == "/d/w"


def test_a_call_that_failed_or_never_came_back_did_not_work() -> None:
    calls = parse(
        [
            f"7 1.5 fdatasync(12<{_hex('/d/w')}>) = -1 EIO (Input/output error) (INJECTED)",
            f'7 1.6 pwrite64(12<{_hex("/d/w")}>, "{_hex("x")}", 1, 5 <unfinished ...>',
            "7 1.7 +++ killed by SIGKILL +++",
        ]
    )
    assert [call.worked for call in calls] == [False, False]
    assert (calls[1].data, calls[1].numbers, calls[1].ended) == (b"x", (1, 5), None)


def test_a_gather_write_is_joined() -> None:
    pieces = f'[{{iov_base="{_hex("ab")}", iov_len=2}}, {{iov_base="{_hex("c")}", iov_len=1}}]'
    [call] = parse([f"7 1.5 writev(3<{_hex('/d/w')}>, {pieces}, 2) = 3"])
    assert call.data == b"abc"


def test_flags_are_known_and_lines_count_from_the_start_given() -> None:
    path = _hex("/d/relay.db")
    [call] = parse([f'7 1.5 openat(AT_FDCWD</x>, "{path}", O_RDWR|O_CREAT, 0600) = 6<{path}>'], 40)
    assert (call.data, call.flags) == (b"/d/relay.db", frozenset({"O_RDWR", "O_CREAT"}))
    assert (call.began, call.result) == (40, 6)


def test_a_buffer_that_was_cut_is_refused() -> None:
    with pytest.raises(TraceCut, match="larger -s"):
        parse([f'7 1.5 pwrite64(12<{_hex("/d/w")}>, "{_hex("ab")}"..., 4096, 0) = 4096'])


# ---- where an event has to be ---------------------------------------------------------------
# The oracle over destinations: it must find what is missing, elsewhere, changed or out of order.

#: How many messages, so that there are two of one order.
_SENT = 98


class World:
    """A spool and its upstreams, where each message is delivered once everywhere; then spoilt."""

    def __init__(self) -> None:
        self.messages = RoutedMessages(Random(1))
        self.rows: list[Row] = []
        self.unrouted: list[Row] = []
        self.arrived: dict[str, dict[str, Told]] = {name: {} for name in UPSTREAMS}
        self.ordered: list[str] = []
        for number in range(_SENT):
            self._deliver(number)

    def _deliver(self, number: int) -> None:
        sort, body = self.messages.sort_of(number), self.messages.body(number)
        event_id, passed = f"evt_{number}", sort.endpoint == PROXIED
        status = "passed" if passed else "delivered"
        for upstream in sort.upstreams:
            self.rows.append(Row(event_id, sort.endpoint, upstream, "", status, 1, body))
            self.arrived[upstream][event_id] = Told([1], [1], {body})
        if not sort.upstreams:
            self.unrouted.append(Row(event_id, sort.endpoint, "", "", status, 0, body))
        if ORDERED in sort.upstreams:
            self.ordered.append(event_id)

    def told(self, upstream: str, number: int) -> Told:
        return self.arrived[upstream][f"evt_{number}"]

    def check(self) -> int:
        """Return how many deliveries were extra, with life 1 killed."""
        rows = tuple(self.rows)
        counts = SpoolAudit("ok", rows, Counter()).counts
        audit = SpoolAudit("ok", rows, counts, tuple(self.unrouted))
        wanted = range(_SENT)
        extra = is_everywhere(audit, self.messages, wanted, self.arrived, {1})
        passed_on(audit, self.messages, wanted, self.arrived)
        in_order(audit, self.ordered)
        return extra


def test_what_is_everywhere_once_is_right() -> None:
    assert World().check() == 0


def test_an_event_that_comes_again_after_a_kill_is_extra() -> None:
    world = World()
    world.arrived["audit"]["evt_0"] = Told([1, 2], [1, 2], world.told("audit", 0).bodies)
    world.rows[2] = replace(world.rows[2], attempts=2)
    assert world.check() == 1


def _forget(world: World) -> None:
    del world.arrived["audit"]["evt_0"]


def _forget_a_row(world: World) -> None:
    del world.rows[2]


def _forget_one_that_goes_nowhere(world: World) -> None:
    del world.unrouted[0]


def _tell_another(world: World) -> None:
    world.arrived["mail"]["evt_0"] = world.told("audit", 0)


def _tell_one_that_goes_nowhere(world: World) -> None:
    world.arrived["audit"]["evt_3"] = Told([1], [1], {world.messages.body(3)})


def _change_the_body(world: World) -> None:
    world.told("audit", 0).bodies = {world.messages.body(0) + b" "}


def _change_the_id(world: World) -> None:
    world.arrived["audit"]["evt_another"] = world.arrived["audit"].pop("evt_0")


def _come_again_in_one_life(world: World) -> None:
    world.told("audit", 0).delivered = [1, 1]


def _come_again_after_a_stop(world: World) -> None:
    world.told("audit", 0).delivered = [2, 3]


def _count_an_attempt_twice(world: World) -> None:
    world.told("audit", 0).attempts = [1, 1]


def _leave_one(world: World) -> None:
    world.rows[2] = replace(world.rows[2], status="pending")


def _pass_on_to_another(world: World) -> None:
    world.arrived["audit"]["evt_6"] = world.arrived["mail"].pop("evt_6")


def _pass_on_and_lose(world: World) -> None:
    world.told("mail", 6).delivered = []


def _overtake(world: World) -> None:
    # 0 and 97 are about one order.
    world.ordered = [each for each in world.ordered if each != "evt_0"] + ["evt_0"]


@pytest.mark.parametrize(
    "spoil",
    [
        _forget,
        _forget_a_row,
        _forget_one_that_goes_nowhere,
        _tell_another,
        _tell_one_that_goes_nowhere,
        _change_the_body,
        _change_the_id,
        _come_again_in_one_life,
        _come_again_after_a_stop,
        _count_an_attempt_twice,
        _leave_one,
        _pass_on_to_another,
        _pass_on_and_lose,
        _overtake,
    ],
)
def test_what_is_not_where_it_should_be_is_found(spoil: Callable[[World], None]) -> None:
    world = World()
    spoil(world)
    with pytest.raises(AssertionError):
        world.check()
