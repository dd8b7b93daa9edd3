"""What a process asked of the kernel, read from a log that `strace` wrote. Pure.

The log must come from `strace -f -y -xx` (with or without times), with `-s` above every buffer.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(r"^(?P<thread>\d+)\s+(?:[\d.:]+ )?(?P<rest>.*)$", re.DOTALL)
_RESUMED: Final = re.compile(r"^<\.\.\. \w+ resumed>")
_CALL: Final = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>.*)$", re.DOTALL)
_UNFINISHED: Final = " <unfinished ...>"
_QUOTED: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR: Final = re.compile(r"^(-?\d+)(?:<(.*?)>)?(?:,|$)")
_ESCAPES: Final = re.compile(r"(?:\\x[0-9a-f]{2})+")


class TraceCut(ValueError):
    """A buffer was longer than `-s` allowed; the log does not hold what was written."""


@dataclass(frozen=True, slots=True)
class Call:
    """One system call.

    began, ended: where in the log. A call that ended before another began had come back to the
        process before the process asked for the other. A call that never came back has ended
        None and result -1.
    file: the path, or the pair of addresses, behind the descriptor in the first argument.
    data: every buffer in the arguments, one after the other.
    """

    thread: int
    began: int
    ended: int | None
    name: str
    file: str
    data: bytes
    numbers: tuple[int, ...]
    flags: frozenset[str]
    result: int

    @property
    def worked(self) -> bool:
        return self.ended is not None and self.result >= 0


def parse(lines: Iterable[str], start: int = 0) -> list[Call]:
    """Return the calls in the order in which they began; the log's first line is called `start`.

    Raises:
        TraceCut: a buffer is not there in full.
    """
    return sorted(_calls(lines, start), key=lambda call: call.began)


def _calls(lines: Iterable[str], start: int) -> Iterator[Call]:
    begun: dict[int, tuple[int, str]] = {}
    for number, line in enumerate(lines, start):
        found = _LINE.match(line.rstrip("\n"))
        if found is None:
            continue
        thread, rest = int(found["thread"]), found["rest"]
        began = number
        resumed = _RESUMED.match(rest)
        if resumed is not None:
            if thread not in begun:
                continue
            began, first = begun.pop(thread)
            rest = first + rest[resumed.end() :]
        if rest.endswith(_UNFINISHED):
            begun[thread] = began, rest.removesuffix(_UNFINISHED)
            continue
        whole = _CALL.match(rest)
        if whole is not None:
            yield _call(thread, began, number, **whole.groupdict())
    for thread, (began, text) in begun.items():
        name, _, arguments = text.partition("(")
        yield _call(thread, began, None, name=name, arguments=arguments, result="?")


def _call(
    thread: int, began: int, ended: int | None, *, name: str, arguments: str, result: str
) -> Call:
    pieces: list[bytes] = []
    for escaped, cut in _QUOTED.findall(arguments):
        if cut:
            raise TraceCut(f"line {began}: {name}: run strace with a larger -s")
        pieces.append(_bytes(escaped))
    bare = _QUOTED.sub("", arguments)
    descriptor = _DESCRIPTOR.match(bare)
    value = re.match(r"-?\d+", result)
    return Call(
        thread=thread,
        began=began,
        ended=ended,
        name=name,
        file=_readable(descriptor[2] or "") if descriptor else "",
        data=b"".join(pieces),
        numbers=tuple(int(each) for each in re.findall(r"(?<=, )-?\d+(?=,|$)", bare)),
        flags=frozenset(re.findall(r"\bO_\w+", bare)),
        result=int(value[0]) if value and ended is not None else -1,
    )


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _readable(text: str) -> str:
    return _ESCAPES.sub(lambda found: _bytes(found[0]).decode(errors="replace"), text)
