"""The fast lane: a request that came whole is taken through the steps of ingest in one call.

It stands in front of aiohttp's connection and takes what arrives on an idle one as exactly one
plain request. It never refuses bytes: what it does not take goes to `Framing` and aiohttp,
unchanged. It does not wait either, but for the event to be stored or forwarded: where admission has
to knock, the other lane asks again.

Its heads are read a line at a time, each distinct line once. They hold what can be read in one way
and asks for nothing unusual: HTTP/1.1, a sized body or none, a connection that is kept or closed.
"""

import asyncio
import re
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

from relay.core.clock import Clock
from relay.core.errors import Refusal
from relay.core.request import Ack, Address, Headers, RequestHead, Verdict, VerifiedDelivery
from relay.edge.answers import ReadyAnswers
from relay.edge.connections import NEVER, SWEEP_INTERVAL, ConnectionErrors, PeerInfo
from relay.edge.framing import HOST, LENGTH, MAX_FIELDS, MAX_LINE, NAME, VALUE, check_declared_body
from relay.edge.slow_path import BodyReader
from relay.ingest.admission import Admission, Standing
from relay.ingest.pipeline import Ingest

# ---- request heads --------------------------------------------------------------------------

#: Verdicts that prove nothing of who sends: a challenge may be anybody's.
UNEARNED: Final = frozenset({Verdict.REFUSED, Verdict.CHALLENGED})

#: Where the health check is answered.
HEALTH: Final = "/healthz"

#: aiohttp's parser has a list of methods of its own, and an answer to HEAD has no body.
_START: Final = re.compile(rb"(DELETE|GET|PATCH|POST|PUT) (/[\x21\x22\x24-\x7e]*) HTTP/1\.1")
_FIELD: Final = re.compile(rb"(%b):(%b)" % (NAME, VALUE))

#: Lines that are remembered: so many, and so long, and of these fields alone, which are the same
#: in each request of a sender and prove nothing. A proof is never remembered.
_MAX_LINES: Final = 2048
_MAX_REMEMBERED: Final = 128

#: Whole heads that are remembered: so many, and so long.
_MAX_HEADS: Final = 1024
_MAX_HEAD: Final = 1024
_REMEMBERED: Final = frozenset(
    (
        *("accept", "accept-charset", "accept-encoding", "accept-language", "cache-control"),
        *("channel-id", "connection", "content-encoding", "content-length", "content-type"),
        *("host", "pragma", "user-agent", "via", "x-forwarded-for", "x-forwarded-host"),
        *("x-forwarded-port", "x-forwarded-proto", "x-partner-id", "x-real-ip"),
    )
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

#: Fields whose value is looked at here, or that are left.
_DECIDING: Final = _LEFT | {"host", "content-length", "connection"}

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


class _Line(NamedTuple):
    """A field line. name: that of the field, in lower case.

    role: 0 for one that decides nothing. length: that of a Content-Length.
    """

    field: tuple[str, str]
    name: str
    role: int
    length: int = 0


#: A line that is not plain, or is not a field line.
_NOT_PLAIN: Final = _Line(("", ""), "", _UNUSUAL)


class _Lines(dict[bytes, _Line]):
    """The field lines that are remembered; any other is judged when it is asked for."""

    def __missing__(self, raw: bytes) -> _Line:
        match = _FIELD.fullmatch(raw)
        if match is None:
            return _NOT_PLAIN
        value = match[2].strip(b" \t")
        field = (match[1].decode("ascii"), value.decode("latin-1"))
        name = field[0].lower()
        role = _role(name, value) if name in _DECIDING else _SINGLE.get(name, 0)
        length = int(value) if role == _LENGTH else 0
        # As a tuple: its own constructor is a function of Python, and a proof is read each time.
        line = tuple.__new__(_Line, (field, name, role, length))
        if name in _REMEMBERED and len(raw) <= _MAX_REMEMBERED:
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


class Head(NamedTuple):
    """A head.

    length: of its body. keep: the sender wants the connection kept. encoded: a Content-Encoding
    other than identity is named. repeats: it may be remembered, since nothing in it proves anything
    and its fields are the same in each request of a sender.
    """

    method: str
    target: str
    headers: Headers
    length: int
    keep: bool
    encoded: bool
    repeats: bool


_lines: Final = _Lines()
_field: Final = attrgetter("field")
_name: Final = attrgetter("name")
_role_of: Final = attrgetter("role")
_starts: Final = _Starts()


def _read_head(raw: bytes) -> Head | None:
    if len(raw) > MAX_LINE:
        # One of its lines may be too long.
        return None
    start, *rest = raw.split(b"\r\n")
    found = _starts[start]
    if found is None or len(rest) > MAX_FIELDS:
        return None
    lines = [*map(_lines.__getitem__, rest)]
    length, keep, encoded, seen = 0, True, False, 0
    # The lines that decide something.
    for line in filter(_role_of, lines):
        role = line.role
        # Of what decides, nothing may be said twice: keeping and closing are one.
        bit = 1 << (_KEEP if role == _CLOSE else role)
        if role == _UNUSUAL or (seen & bit and role != _ENCODED):
            return None
        seen |= bit
        if role == _LENGTH:
            length = line.length
        elif role == _CLOSE:
            keep = False
        elif role == _ENCODED:
            encoded = True
    if not seen & 1 << _HOST:
        return None
    names = [*map(_name, lines)]
    repeats = len(raw) <= _MAX_HEAD and _REMEMBERED.issuperset(names) and "?" not in found[1]
    headers = Headers(tuple(map(_field, lines)), names)
    # As a tuple: its own constructor is a function of Python.
    return tuple.__new__(Head, (*found, headers, length, keep, encoded, repeats))


class _Heads(dict[bytes, Head | None]):
    """The heads that are remembered; any other is read when it is asked for.

    The heads of a sender differ by the length of the body, if at all. What is made of their fields
    (`Headers.only`) is remembered with them.
    """

    def __missing__(self, raw: bytes) -> Head | None:
        head = _read_head(raw)
        if head is not None and head.repeats:
            if len(self) >= _MAX_HEADS:
                self.clear()
            self[raw] = head
        return head


_heads: Final = _Heads()

#: Reads a head, without the empty line that ends it; None for one that is not plain.
read_head: Final = _heads.__getitem__


def _role(name: str, value: bytes) -> int:
    """Return what a field of `_DECIDING` decides, by its lower-case name."""
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
            role = _UNUSUAL if name in _LEFT else 0
    return role


def is_health_check(method: str, target: str) -> bool:
    """Return whether this is a health check: answered to any client, and no delivery."""
    return target == HEALTH and method in {"GET", "HEAD"}


# ---- the lane -------------------------------------------------------------------------------


class LaneConnection(Protocol):
    """What the fast lane asks of a connection."""

    @property
    def peer(self) -> Address: ...

    @property
    def peer_info(self) -> PeerInfo | None: ...

    #: Set once a delivery over this connection was not refused.
    earned: bool

    def may_stay(self) -> bool:
        """Return whether the connection is kept after a refusal."""

    def enter_lane(self, request: "LaneRequest", due: float) -> None:
        """Note that a request is under way; bytes that come before its answer are held.

        due: `FastLane.expire` is called with it unless it has its answer by then.
        """

    def leave_lane(self, ack: Ack | None, *, keep: bool) -> None:
        """Write the answer, unless the connection is gone. None: there is none, and it closes.

        The deadline is over.

        keep: whether sender and relay want the connection kept.
        """


class LaneRequest:
    """A request in the lane. task: waits for a look-up, or for a spool that must hurry."""

    __slots__ = ("_lane", "admission", "connection", "ingest", "keep", "task")

    def __init__(
        self,
        lane: "FastLane",
        ingest: Ingest,
        connection: LaneConnection,
        admission: Admission,
        keep: bool,
    ) -> None:
        self._lane = lane
        self.ingest = ingest
        self.connection = connection
        self.admission = admission
        self.keep = keep
        self.task: asyncio.Task[None] | None = None

    def end(self, error: Exception | None) -> None:
        """Count, log and answer it; what went wrong in answering as a mistake of ours."""
        lane, admission = self._lane, self.admission
        peer, keep = admission.head.peer, self.keep and not lane.stopping
        waited = self in lane.under_way
        lane.under_way.discard(self)
        if error is not None:
            admission.ack = None
        self.ingest.finish(admission)
        # Its log line may have to wait, and an upstream's answer may be long.
        ack, admission.ack = admission.ack, None
        if error is not None:
            # As the other lane does: it closes.
            ack, keep = lane.errors.fault(peer, error), False
        elif admission.verdict not in UNEARNED:
            self.connection.earned = True
        elif keep:
            keep = self.connection.may_stay()
        if waited and (lane.under_way or lane.answers):
            # With the others of this iteration of the loop, at its end. Each system call wakes the
            # process that it sends to; one that still runs need not be woken, at half the price.
            if not lane.answers:
                asyncio.get_running_loop().call_soon(lane.write_answers)
            lane.answers.append((self.connection, ack, keep))
        else:
            self.connection.leave_lane(ack, keep=keep)
        if lane.drained is not None and not lane.under_way and not lane.drained.done():
            lane.drained.set_result(None)


class FastLane:
    """Takes whole requests of all connections.

    stopping: every answer closes its connection. under_way: requests being stored or forwarded.
    answers: those written at the end of this iteration of the loop, each with its connection and
    whether that is kept. drained: set when nothing is under way, while `drain` waits.
    """

    def __init__(
        self, *, ingest: Ingest, body: BodyReader, clock: Clock, errors: ConnectionErrors
    ) -> None:
        self.rendered = ReadyAnswers(clock)
        self.stopping = False
        self._clock = clock
        self.errors = errors
        self.under_way: set[LaneRequest] = set()
        self.answers: list[tuple[LaneConnection, Ack | None, bool]] = []
        self.drained: asyncio.Future[None] | None = None
        self.reconfigure(ingest=ingest, body=body)

    def reconfigure(self, *, ingest: Ingest, body: BodyReader) -> None:
        """Use these from the next request on."""
        self._ingest = ingest
        self._body = body

    def take(self, connection: LaneConnection, data: bytes) -> bool:
        """Take these bytes if they are one plain request; else return False, and nothing is done.

        The answer is written before this returns, or once the event is stored or forwarded.
        """
        end = data.find(b"\r\n\r\n")
        plain = None if end < 0 else read_head(data[:end])
        if plain is None:
            return False
        method, target, headers, length, keep, encoded, _ = plain
        if length != len(data) - end - 4 or target == HEALTH:
            return False
        peer = connection.peer_info
        assert peer is not None  # noqa: S101 - bytes come over a connection that was made
        now, via, forwards = self._clock.now(), peer.via, peer.forwards
        head = RequestHead(method, target, headers, peer.address, now, via, forwards, peer.text)
        ingest = self._ingest
        admission = ingest.admit(head)
        if admission.standing is Standing.KNOCK_FIRST or (encoded and admission.takes_gzip):
            # Nothing was counted for good: the other lane admits it again, and waits or unpacks.
            ingest.finish(admission)
            return False
        request = LaneRequest(self, ingest, connection, admission, keep)
        fault: Exception | None = None
        try:
            if admission.ack is None:
                if encoded or length > self._body.size:
                    self._refuse_body(request, length, encoded=encoded)
                else:
                    event = ingest.accept(admission, data[end + 4 :], admission.started)
                    if event is not None:
                        self._start(request, event)
                        return True
        except Exception as error:  # noqa: BLE001 - the sender must be answered all the same
            fault = error
        request.end(fault)
        return True

    def expire(self, request: LaneRequest) -> None:
        """Answer a request whose event was not stored in time."""
        if request in self.under_way:
            request.ingest.give_up(request.admission, request.end)

    def write_answers(self) -> None:
        """Write the answers that wait for the end of this iteration."""
        answers, self.answers = self.answers, []
        for connection, ack, keep in answers:
            try:
                connection.leave_lane(ack, keep=keep)
            except Exception as error:  # noqa: BLE001 - it must not keep the others
                self.errors.fault(connection.peer, error)

    async def drain(self, seconds: float) -> None:
        """Return when no request is under way, at most after so many seconds; end the rest."""
        if self.under_way and seconds > 0:
            self.drained = asyncio.get_running_loop().create_future()
            await asyncio.wait([self.drained], timeout=seconds)
        tasks = [request.task for request in self.under_way if request.task is not None]
        for request in [each for each in self.under_way if each.task is None]:
            request.ingest.cancel(request.admission)
            request.end(None)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.write_answers()

    def _refuse_body(self, request: LaneRequest, length: int, *, encoded: bool) -> None:
        try:
            check_declared_body(length, encoded=encoded, limit=self._body.size)
        except Refusal as refusal:
            request.ingest.refuse(request.admission, refusal)

    def _start(self, request: LaneRequest, event: VerifiedDelivery) -> None:
        """Have the event stored or forwarded; the request is ended with its answer."""
        self.under_way.add(request)
        admission, ingest = request.admission, request.ingest
        seconds = admission.store_time
        if admission.unknown is not None or (seconds is not None and seconds < 2 * SWEEP_INTERVAL):
            # There may be a look-up before it, or less time than a sweep can keep.
            request.connection.enter_lane(request, NEVER)
            completing = self._complete(request, event)
            request.task = asyncio.get_running_loop().create_task(completing)
        elif seconds is None:
            request.connection.enter_lane(request, NEVER)
            ingest.forward(admission, event, request.end)
        else:
            # A sweep comes late by its interval at most, and the answer may not.
            due = admission.read_at + seconds - SWEEP_INTERVAL
            request.connection.enter_lane(request, due)
            ingest.store(admission, event, request.end)

    async def _complete(self, request: LaneRequest, event: VerifiedDelivery) -> None:
        try:
            await request.ingest.complete(request.admission, event)
        except asyncio.CancelledError:
            request.end(None)
            raise
        except Exception as error:  # noqa: BLE001 - as in `take`
            request.end(error)
        else:
            request.end(None)
