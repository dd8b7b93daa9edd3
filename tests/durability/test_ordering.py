"""The oracle over a trace: it must find what is out of order."""

from tests.durability.ordering import answers, directory_synced, unsynced
from tests.harness.syscalls import Call

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
