"""Tries an upstream without an event: its name, TCP, TLS, credentials, then a HEAD or an OPTIONS.

With the client that delivers, so that what is found holds for deliveries. Nothing is posted, no
redirect followed, and of the answer only the status and the host of a redirect are told. Details
hold no secret, and what they hold of the peer's is escaped.

The query of its URL is not sent: where it says what to do, services do that for any method, as
Jenkins starts a build.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn
from urllib.parse import urljoin, urlsplit

from relay.core.clock import Clock
from relay.core.egress import IPNetwork
from relay.delivery.causes import Cause, cause_of, certificate_cause
from relay.delivery.credentials import Credentials
from relay.delivery.http import (
    AddressNotAllowed,
    CannotConnect,
    Exchange,
    ExchangeFailed,
    Name,
    Origin,
    Pool,
    addresses_of,
    client_context,
    dial,
    encode,
)
from relay.delivery.probe_tls import Session, alert, described, handshake, listed, trusting_anyone
from relay.delivery.request import Target
from relay.delivery.sender import ANSWER_LIMIT
from relay.delivery.tokens import TokenSource

#: Seconds that an upstream has at most, whatever its own timeout.
LONGEST: Final = 10.0

_FIELD: Final = re.compile(r"\r\n([^:\r\n]+):")
_HOST: Final = re.compile(r"[A-Za-z0-9.:_-]{1,253}")

# Seconds for a second look at a peer, and what of its time has to be left then.
_LOOK_TIMEOUT, _REST = 2.0, 0.05

# After these to a HEAD, an OPTIONS may be answered otherwise.
_NO_HEAD: Final = frozenset({400, 404, 405, 500, 501})
_REFUSED_CREDENTIALS: Final = (401, 403)
_NOT_IMPLEMENTED: Final = 501

_MEANT: Final = {
    Cause.TLS_CERTIFICATE_WANTED: "tls.certificate and tls.key name the files of one",
}
_BAD_REQUEST: Final = 400
_FORBIDDEN: Final = 403
_TLS: Final = "it speaks TLS, so the URL has to begin with https://"
_NO_TLS: Final = "no TLS comes back; where it speaks HTTP, the URL begins with http://"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a probe, whether it went well, and what was seen."""

    step: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """What is tried.

    seconds: for all of it, at most `LONGEST` of them. tls, server_name, allowed: as for a `Pool`.
    credentials: what a request to it bears. tokens: where a token for it comes from.
    """

    url: str = field(repr=False)
    seconds: float
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    allowed: Sequence[IPNetwork] = ()
    credentials: Credentials | None = None
    tokens: TokenSource | None = None


async def probe(target: ProbeTarget, clock: Clock) -> list[Step]:
    """Return the steps, up to the first one that fails.

    Raises:
        ValueError: the URL is none that events can be sent to.
    """
    walk = _Walk(target, clock)
    await walk.run(walk.connect, walk.authorize, walk.ask)
    return walk.steps


async def probe_connection(target: ProbeTarget, clock: Clock) -> list[Step]:
    """Return the steps up to TLS, up to the first one that fails: nothing is asked.

    Raises:
        ValueError: as `probe`.
    """
    walk = _Walk(target, clock)
    await walk.run(walk.connect)
    return walk.steps


class _Stopped(Exception):
    """A step has failed."""


class _Walk:
    """The steps of one probe. `steps` has those that have ended."""

    def __init__(self, target: ProbeTarget, clock: Clock) -> None:
        self.steps: list[Step] = []
        self._clock = clock
        self._url = target.url
        self._credentials = target.credentials
        self._tokens = target.tokens
        self._lines = "" if target.credentials is None else target.credentials.lines
        self._seconds = min(target.seconds, LONGEST)
        self._origin = Origin.of(target.url)
        path, self._query, _ = target.url.partition("?")
        self._target = self._origin.target(Target(path).of(""))
        self._name = Name(self._origin.host, self._origin.port, target.allowed)
        self._allowed = target.allowed
        self._tls = (target.tls or client_context()) if self._origin.tls else None
        self._server_name = target.server_name or self._origin.name
        self._step = "name"
        self._ends_at = 0.0

    async def run(self, *parts: Callable[[], Awaitable[None]]) -> None:
        """Go through these parts of it, until a step fails or the time is over."""
        try:
            self._ends_at = asyncio.get_running_loop().time() + self._seconds
            async with asyncio.timeout_at(self._ends_at):
                for part in parts:
                    await part()
        except TimeoutError:
            within = f"no answer within {self._seconds:g} s"
            self.steps.append(Step(self._step, False, f"{Cause.TIMEOUT}: {within}"))
        except _Stopped:
            pass

    # ---- how steps end ----------------------------------------------------------------------

    def _begin(self, step: str) -> None:
        self._step = step

    def _passed(self, detail: str) -> None:
        self.steps.append(Step(self._step, True, detail))

    def _fail(self, detail: str) -> NoReturn:
        self.steps.append(Step(self._step, False, detail))
        raise _Stopped

    # ---- the steps --------------------------------------------------------------------------

    async def connect(self) -> None:
        """Find the addresses, connect to one, and make a handshake of TLS where there is one."""
        await self._resolve()
        opened = await self._dial()
        await self._shake_hands(opened)

    async def authorize(self) -> None:
        """Have a token fetched where one is needed, and say what is sent."""
        if self._credentials is None:
            return
        self._begin("credentials")
        fetched = ""
        if self._tokens is not None:
            left = self._ends_at - _REST - asyncio.get_running_loop().time()
            token = await self._tokens.newer(max(0.0, left))
            if token is None:
                reason = self._tokens.reason or Cause.TIMEOUT
                self._fail(f"{Cause.TOKEN}: the token server gave none: {reason}")
            self._lines += token.line
            fetched = "a token was fetched; "
        self._passed(f"{fetched}{', '.join(_FIELD.findall(self._lines))} will be sent")

    async def _resolve(self) -> None:
        self._begin("name")
        found: list[str] = []
        try:
            found = addresses_of(await self._name.look_up())
            dialled = addresses_of(await self._name.allowed())
        except AddressNotAllowed:
            said = f"{Cause.ADDRESS_NOT_ALLOWED}: {listed(found)}, a link-local or metadata address"
            self._fail(f"{said}, which allow_addresses does not list")
        except socket.gaierror as error:
            self._fail(f"{Cause.DNS}: {_unresolved(error)}")
        except (OSError, ValueError):
            self._fail(f"{Cause.DNS}: no name server can be asked for this name")
        guarded = [each for each in found if each not in dialled]
        never = f"; never called, as link-local or metadata addresses: {listed(guarded)}"
        self._passed(listed(dialled) + (never if guarded else ""))

    async def _dial(self) -> socket.socket:
        self._begin("tcp")
        port = self._origin.port
        try:
            opened = await dial(self._name)
        except (OSError, ValueError) as error:
            cause = cause_of(_unconnected(error))
            said = {
                Cause.REFUSED: f"nothing listens on port {port} there, or a firewall refuses",
                Cause.TIMEOUT: "nothing answers there, as behind a firewall that drops",
            }.get(cause, "no connection could be made")
            self._fail(f"{cause}: {said}")
        address, *_ = opened.getpeername()
        self._passed(f"{address}, port {port}")
        return opened

    async def _shake_hands(self, opened: socket.socket) -> None:
        if self._tls is None:
            opened.close()
            return
        self._begin("tls")
        try:
            session = await handshake(opened, self._tls, self._server_name)
        except (OSError, ValueError) as error:
            self._fail(await self._unfit(error))
        self._passed(f"{session.version}; {described(session.certificate, self._clock.now())}")

    async def _unfit(self, error: Exception) -> str:
        """Return what is wrong with a peer whose handshake has failed."""
        cause = cause_of(_unconnected(error))
        if not isinstance(error, ssl.SSLCertVerificationError):
            return f"{cause}: {_MEANT.get(cause) or alert(error) or _NO_TLS}"
        said = {
            Cause.TLS_UNKNOWN_CA: "it is not issued by an authority that is trusted here: tls.ca"
            " names yours",
            Cause.TLS_WRONG_NAME: f"it is not for {self._server_name}: tls.server_name names"
            " another",
        }.get(cause, "it does not stand the test")
        session = await self._unverified()
        if session is None:
            return f"{cause}: {said}"
        return f"{cause}: {described(session.certificate, self._clock.now())}; {said}"

    async def _unverified(self) -> Session | None:
        """Return the session with a peer that need not be trusted; None where there is no TLS."""
        now = asyncio.get_running_loop().time()
        try:
            # What is known already must not be lost with the time for all.
            async with asyncio.timeout_at(min(now + _LOOK_TIMEOUT, self._ends_at - _REST)):
                opened = await dial(self._name)
                return await handshake(opened, trusting_anyone(), self._server_name)
        except (OSError, ValueError):
            return None

    async def ask(self) -> None:
        """Send a HEAD, or an OPTIONS where that says nothing, and say what is answered."""
        self._begin("http")
        pool = Pool(
            self._origin,
            size=1,
            idle=self._seconds,
            longest_body=ANSWER_LIMIT,
            tls=self._tls,
            server_name=self._server_name,
            allowed=self._allowed,
        )
        try:
            method, exchange = "HEAD", await self._exchange(pool, "HEAD")
            if exchange.status in _NO_HEAD:
                other = await self._exchange(pool, "OPTIONS")
                # Whoever forbids this method says nothing of others.
                if other.status != _FORBIDDEN:
                    method, exchange = "OPTIONS", other
        except (ExchangeFailed, OSError) as error:
            await self._unanswered(error)
        finally:
            await pool.close()
        status = exchange.status or 0
        if self._tls is not None and (cause := certificate_cause(exchange)) is not None:
            self._fail_tls(f"{cause}: {_MEANT.get(cause) or f'it answers {status}'}")
        if self._tls is None and status == _BAD_REQUEST and await self._unverified() is not None:
            self._fail(_TLS)
        ok, said = self._judged(status, exchange)
        detail = f"answers {status} to {method}: {said}"
        self._passed(detail) if ok else self._fail(detail)

    async def _exchange(self, pool: Pool, method: str) -> Exchange:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        head = encode(method, self._target, self._origin.authority, (), b"")
        # With the very lines that deliveries bear, each with its line break in front.
        end = b"\r\n\r\n"
        request = head.removesuffix(end) + self._lines.encode("latin-1") + end
        exchange = Exchange(request, lambda _: _resolve(ended), to_head=method == "HEAD")
        pool.ask(exchange)
        try:
            await ended
        finally:
            pool.cancel(exchange)
        if exchange.error is not None and exchange.status is None:
            raise exchange.error
        return exchange

    async def _unanswered(self, error: Exception) -> NoReturn:
        cause = cause_of(error)
        if isinstance(error, ssl.SSLError):
            self._fail_tls(f"{cause}: {_MEANT.get(cause) or alert(error) or 'TLS breaks off'}")
        if self._tls is None and await self._unverified() is not None:
            self._fail(f"{cause}: {_TLS}")
        said = {
            Cause.CLOSED: "it closes the connection without an answer",
            Cause.RESET: "it breaks the connection without an answer",
            Cause.MALFORMED: "what it answers is not HTTP",
        }.get(cause, "there is no answer")
        self._fail(f"{cause}: {said}")

    def _fail_tls(self, detail: str) -> NoReturn:
        """End with the step of TLS, which has not gone well after all."""
        self.steps = [each for each in self.steps if each.step != "tls"]
        self._begin("tls")
        self._fail(detail)

    def _judged(self, status: int, exchange: Exchange) -> tuple[bool, str]:
        """Return whether events can be sent to what answers so, and what that means."""
        kind = status // 100
        if kind == 2:  # noqa: PLR2004 - success
            return True, "reached"
        if kind == 3:  # noqa: PLR2004 - redirects
            location = next(iter(exchange.values("location")), "")
            return False, f"a redirect{_led_to(self._url, location)}, which is never followed"
        if status in _REFUSED_CREDENTIALS:
            return self._without_credentials()
        if not 2 <= kind <= 5:  # noqa: PLR2004 - no classes of final answers
            return False, "HTTP has no such answer to it"
        if kind == 5 and status != _NOT_IMPLEMENTED:  # noqa: PLR2004 - its own errors
            return False, "it is there, and has an error"
        return True, "reached"

    def _without_credentials(self) -> tuple[bool, str]:
        if self._lines:
            return False, "the credentials were refused"
        if self._query:
            return True, "reached; what the query of its URL holds was not sent"
        return False, "it wants credentials, and none are configured"


# ---- what is said ---------------------------------------------------------------------------


def _resolve(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def _unconnected(error: Exception) -> CannotConnect:
    """Return an error of connecting as the client tells it."""
    told = CannotConnect()
    told.__cause__ = error
    return told


def _unresolved(error: socket.gaierror) -> str:
    if error.errno == socket.EAI_AGAIN:
        return "the name server does not answer"
    return "there is no such name, or it has no address"


def _led_to(url: str, location: str) -> str:
    """Return the host that a redirect leads to, where it is one; the rest may hold a secret."""
    try:
        host = urlsplit(urljoin(url, location)).hostname
    except ValueError:
        host = None
    return f" to {host}" if location and host and _HOST.fullmatch(host) else ""
