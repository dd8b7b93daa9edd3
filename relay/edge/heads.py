"""A request head that is whole and plain, read a line at a time, each distinct line once.

It takes only what can be read in one way and asks for nothing unusual: HTTP/1.1, a sized body or
none, a connection that is kept or closed. `Framing` and aiohttp decide about everything else. What
is read here they would read alike.
"""

import re
from operator import attrgetter
from typing import Final

from relay.core.request import Headers
from relay.edge.framing import HOST, LENGTH, MAX_FIELDS, MAX_LINE, NAME, VALUE

#: Where the health check is answered.
HEALTH: Final = "/healthz"

#: aiohttp's parser has a list of methods of its own, and an answer to HEAD has no body.
_START: Final = re.compile(rb"(DELETE|GET|PATCH|POST|PUT) (/[\x21\x22\x24-\x7e]*) HTTP/1\.1")
_FIELD: Final = re.compile(rb"(%b):(%b)" % (NAME, VALUE))

#: Lines that are remembered: so many, and so long, and of these fields alone, which are the same
#: in each request of a sender and prove nothing. A proof is never remembered.
_MAX_LINES: Final = 2048
_MAX_REMEMBERED: Final = 128
_REMEMBERED: Final = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "channel-id",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "pragma",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-partner-id",
        "x-real-ip",
    }
)

#: Fields that decide what is read further. UNUSUAL: aiohttp's connection takes it.
_HOST, _LENGTH, _CLOSE, _KEEP, _ENCODED, _UNUSUAL = range(1, 7)

#: Fields that are left to aiohttp's connection, whatever they say.
_LEFT: Final = frozenset(
    {
        "content-encoding",
        "expect",
        "proxy-connection",
        "sec-websocket-key1",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

#: Fields that aiohttp refuses when they stand twice (RFC 9110 knows one value of each).
_SINGLE: Final = {
    name: role
    for role, name in enumerate(
        (
            *("content-location", "content-range", "content-type"),
            *("etag", "max-forwards", "server", "user-agent"),
        ),
        _UNUSUAL + 1,
    )
}


class _Line:
    """A field line. role: 0 for one that decides nothing. length: that of a Content-Length.

    name: that of the field, in lower case.
    """

    __slots__ = ("field", "length", "name", "role")

    def __init__(self, field: tuple[str, str], role: int, length: int = 0) -> None:
        self.field = field
        self.name = field[0].lower()
        self.role = role
        self.length = length


class _Lines(dict[bytes, _Line]):
    """The field lines that are remembered; any other is judged when it is asked for."""

    def __missing__(self, raw: bytes) -> _Line:
        line = _judge(raw)
        if line.name in _REMEMBERED and len(raw) <= _MAX_REMEMBERED:
            if len(self) >= _MAX_LINES:
                self.clear()
            self[raw] = line
        return line


class _Starts(dict[bytes, tuple[str, str] | None]):
    """Method and target of the request lines that are remembered: those without a query."""

    def __missing__(self, raw: bytes) -> tuple[str, str] | None:
        match = _START.fullmatch(raw)
        if match is None:
            return None
        start = (match[1].decode("ascii"), match[2].decode("ascii"))
        if b"?" not in raw and len(raw) <= _MAX_REMEMBERED:
            if len(self) >= _MAX_LINES:
                self.clear()
            self[raw] = start
        return start


class Head:
    """A head.

    length: of its body. keep: the sender wants the connection kept. encoded: a Content-Encoding
    other than identity is named.
    """

    __slots__ = ("encoded", "headers", "keep", "length", "method", "target")

    def __init__(self, method: str, target: str, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.length = 0
        self.keep = True
        self.encoded = False


_lines: Final = _Lines()
_field: Final = attrgetter("field")
_name: Final = attrgetter("name")
_starts: Final = _Starts()


def read_head(raw: bytes) -> Head | None:
    """Read a head, without the empty line that ends it; None for one that is not plain."""
    if len(raw) > MAX_LINE:
        # One of its lines may be too long.
        return None
    start, *rest = raw.split(b"\r\n")
    found = _starts[start]
    if found is None or len(rest) > MAX_FIELDS:
        return None
    lines = [*map(_lines.__getitem__, rest)]
    head = Head(*found, Headers(tuple(map(_field, lines)), [*map(_name, lines)]))
    seen = 0
    for line in lines:
        role = line.role
        if not role:
            continue
        # Of what decides, nothing may be said twice: keeping and closing are one.
        bit = 1 << (_KEEP if role == _CLOSE else role)
        if role == _UNUSUAL or (seen & bit and role != _ENCODED):
            return None
        seen |= bit
        if role == _LENGTH:
            head.length = line.length
        elif role == _CLOSE:
            head.keep = False
        elif role == _ENCODED:
            head.encoded = True
    return head if seen & 1 << _HOST else None


def _judge(raw: bytes) -> _Line:
    """Return what a field line says; `_UNUSUAL` when it is not plain, or is not a field line."""
    match = _FIELD.fullmatch(raw)
    if match is None:
        return _Line(("", ""), _UNUSUAL)
    value = match[2].strip(b" \t")
    field = (match[1].decode("ascii"), value.decode("latin-1"))
    role = _role(field[0].lower(), value)
    return _Line(field, role, int(value) if role == _LENGTH else 0)


def _role(name: str, value: bytes) -> int:
    """Return what a field decides, by its lower-case name."""
    match name:
        case "host":
            role = _HOST if HOST.fullmatch(value) else _UNUSUAL
        case "content-length":
            role = _LENGTH if LENGTH.fullmatch(value) else _UNUSUAL
        case "connection":
            role = {b"keep-alive": _KEEP, b"close": _CLOSE}.get(value.lower(), _UNUSUAL)
        case "content-encoding" if value.isascii():
            codings = value.lower().split(b",")
            role = 0 if all(each.strip() == b"identity" for each in codings) else _ENCODED
        case _:
            role = _UNUSUAL if name in _LEFT else _SINGLE.get(name, 0)
    return role


def is_health_check(method: str, target: str) -> bool:
    """Return whether this is a health check: answered to any client, and no delivery."""
    return target == HEALTH and method in {"GET", "HEAD"}
