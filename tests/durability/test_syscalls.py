"""The parser of strace's log."""

import pytest

from tests.harness.syscalls import TraceCut, parse


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
