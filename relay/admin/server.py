"""The private listener: start, stop and middleware; health and metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from relay.admin.api import Api, Explain, Reload, check_parameters, json_answer
from relay.admin.audit import AuditTrail
from relay.admin.auth import AllowedHosts, Authenticator, GuessThrottle
from relay.admin.health import Health
from relay.admin.live_api import LiveApi, ReadStatus
from relay.admin.pages import PageProblem, Pages, WrongToken, wants_page
from relay.admin.stream import Stream, UpstreamMap
from relay.admin.upstreams import Upstreams
from relay.config import Settings
from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.ingest.refusals import RefusalReleaser
from relay.spool import Spool
from relay.spool.audit import Actor
from relay.telemetry import Telemetry

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Seconds that a request under way may take on shutdown, and again once it is cancelled.
_SHUTDOWN_TIMEOUT = 1.0

#: Bytes of the first line of a request. What a search box takes fits, in whatever script it is.
_MAX_LINE = 32 * 1024

#: What is told of an act that broke off; of many events, the first may have been written.
_NOT_WRITTEN = (
    "The spool cannot be written at the moment. What you asked for was not done, or not all of it:"
    " look before you ask again."
)

#: What probes and Prometheus ask for, under whatever name they know the machine by.
_PUBLIC = frozenset({"/livez", "/readyz", "/metrics"})

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: A page loads and runs the files of this listener alone, nothing that stands in it, and may not
#: be framed. Its forms name the origin that they come from.
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Server": "relay",
}


class Admin:
    """Serves health, metrics, the API and the operator pages."""

    def __init__(
        self,
        *,
        health: Health,
        spool: Spool,
        releaser: RefusalReleaser,
        telemetry: Telemetry,
        authenticator: Authenticator,
        throttle: GuessThrottle,
        hosts: AllowedHosts,
        trail: AuditTrail,
        status: ReadStatus,
        upstreams: Upstreams,
        settings: Callable[[], Settings],
        clock: Clock,
        reload: Reload | None = None,
        explain: Explain | None = None,
    ) -> None:
        """Take the parts.

        reload: None where there is no file to read again. explain: None where nothing explains.
        """
        self._health = health
        self._telemetry = telemetry
        self._authenticator = authenticator
        self._throttle = throttle
        self._hosts = hosts
        self._pages = Pages(
            spool=spool,
            authenticator=authenticator,
            trail=trail,
            health=health,
            releaser=releaser,
            explain=explain,
            status=status,
            upstreams=upstreams,
        )
        self._api = Api(
            spool=spool,
            releaser=releaser,
            health=health,
            trail=trail,
            reload=reload,
            explain=explain,
            upstreams=upstreams,
        )
        where = UpstreamMap(settings)
        stream = Stream(telemetry.feed, clock, where.of, self._pages.admits)
        self._live_api = LiveApi(status, stream, spool.audit, health.now)
        self._runner: web.AppRunner | None = None
        self._expose_lock = asyncio.Lock()

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; return the address with the port really taken.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
            max_line_size=_MAX_LINE,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        address, taken = self._runner.addresses[0][:2]
        return str(address), int(taken)

    async def stop(self) -> None:
        """Stop listening; open requests and connections are closed within two seconds."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard])
        application.on_response_prepare.append(_secure)
        application.on_shutdown.append(self._live_api.close)
        application.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                *self._api.routes(),
                *self._live_api.routes(),
                *self._pages.routes(),
            ]
        )
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Require the token where it is needed, and answer every error as the caller reads it.

        A browser gets a page, everything else JSON.
        """
        headers: Mapping[str, str] = {}
        try:
            if (refused := await self._refusal(request)) is not None:
                return refused
            check_parameters(request)
            return await handler(request)
        except WrongToken as wrong:
            return await self._slowed(request, wrong.answer)
        except PageProblem as told:
            problem = told
        except web.HTTPException as answer:
            problem = PageProblem(answer.status, said=answer.reason.lower())
            headers = answer.headers
        except ValueError as error:
            problem = PageProblem(400, detail=str(error), said=str(error))
        except SpoolUnavailable as error:
            detail = None if request.method in {"GET", "HEAD"} else _NOT_WRITTEN
            problem = PageProblem(503, detail=detail, said=str(error))
        except Exception as error:  # noqa: BLE001 - no traceback reaches a browser
            self._telemetry.log.fault("admin_fault", error, path=request.path)
            problem = PageProblem(500, said="internal error; see the log")
        response = await self._error(request, problem)
        for name in ("Allow", "Location", "HX-Redirect"):
            if name in headers:
                response.headers[name] = headers[name]
        return response

    async def _error(self, request: web.Request, problem: PageProblem) -> web.Response:
        """Return an error as a page for a browser, in JSON for everybody else."""
        if problem.status >= web.HTTPBadRequest.status_code and wants_page(request):
            return await self._pages.error(request, problem)
        return json_answer({"error": problem.said}, problem.status)

    async def _refusal(self, request: web.Request) -> web.StreamResponse | None:
        """Return the answer to a request that is refused before it is looked at.

        Raises:
            WrongToken: it has a token, and that is none of ours.
        """
        if request.path in _PUBLIC:
            return None
        if not self._hosts.allows(request.headers.get("Host", ""), _listener(request)):
            message = "come as localhost, by the address in admin.bind, or by a name in admin.hosts"
            raise PageProblem(421, detail=message[0].upper() + message[1:] + ".", said=message)
        actor = None
        if (given := request.headers.get("Authorization")) is not None:
            actor = self._authenticator.bearer(given)
            if actor is None:
                raise WrongToken(_unauthorized())
            self._throttle.forget(_address(request))
        if not request.path.startswith(("/api/", "/-/")):
            return None
        if request.method in {"GET", "HEAD"}:
            return None if self._pages.admits(request) else _unauthorized()
        if actor is Actor.READ_TOKEN:
            return json_answer({"error": "this token may read, and not act"}, 403)
        # A session is a cookie, which a browser sends by itself: it may read, not change.
        return None if actor is Actor.TOKEN else _unauthorized()

    async def _slowed(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        """Return the answer to a wrong token when it has waited, or that there are too many."""
        address = _address(request)
        slowed = await self._throttle.wait(address)
        self._telemetry.admin_refused(address, request.path, slowed=slowed)
        if slowed:
            return answer
        problem = PageProblem(429, said="too many wrong tokens; try again later")
        return await self._error(request, problem)

    async def _livez(self, _: web.Request) -> web.StreamResponse:
        live = self._health.live()
        return json_answer({"live": live}, 200 if live else 503)

    async def _readyz(self, _: web.Request) -> web.StreamResponse:
        found = await self._health.readiness()
        said = {
            "ready": not found.reasons,
            "reasons": list(found.reasons),
            "degraded": list(found.degraded),
        }
        return json_answer(said, 503 if found.reasons else 200)

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        snapshot = await self._health.snapshot()
        # Hundreds of series take longer to write down than a delivery may wait.
        async with self._expose_lock:
            text = await asyncio.to_thread(self._telemetry.expose, snapshot)
        return web.Response(body=text, headers={"Content-Type": _METRICS_TYPE})


def _address(request: web.Request) -> str:
    return request.remote or ""


def _listener(request: web.Request) -> str:
    """Return the address that the request came to."""
    transport = request.transport
    return "" if transport is None else str(transport.get_extra_info("sockname")[0])


def _unauthorized() -> web.Response:
    response = json_answer({"error": "a token is needed"}, 401)
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_SECURITY_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
