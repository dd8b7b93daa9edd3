"""The private listener."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from aiohttp import web

from relay.admin.api import RefusalRoutes, json_answer
from relay.admin.auth import Authenticator, is_local_host
from relay.admin.health import Health
from relay.admin.pages import Pages
from relay.admin.serializers import detail, page_json, parse_query
from relay.core.errors import Problem, SpoolUnavailable
from relay.ingest.refusals import RefusalReleaser
from relay.spool import Query, Spool
from relay.telemetry import Telemetry

#: Has the configuration read again; returns why it was not taken, nothing when it was.
Reload = Callable[[], Awaitable[tuple[Problem, ...]]]

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Seconds for a request under way when we stop, and again for one that does not end by itself.
_SHUTDOWN_TIMEOUT = 1.0

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Nothing of ours loads anything from elsewhere, runs scripts or stands in a frame.
_SAFETY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "relay",
}


class Admin:
    """Serves health, metrics, the events API and the events page."""

    def __init__(
        self,
        *,
        state: Health,
        spool: Spool,
        releaser: RefusalReleaser,
        telemetry: Telemetry,
        authenticator: Authenticator,
        reload: Reload | None = None,
    ) -> None:
        """Take the parts. `reload`: has the configuration read again, where that can be done."""
        self._state = state
        self._spool = spool
        self._telemetry = telemetry
        self._authenticator = authenticator
        self._pages = Pages(spool, authenticator)
        self._refusals = RefusalRoutes(releaser)
        self._reload_now = reload
        self._runner: web.AppRunner | None = None
        self._exposing = asyncio.Lock()

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
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        address, taken = self._runner.addresses[0][:2]
        return str(address), int(taken)

    async def stop(self) -> None:
        """Stop listening; a request, or a connection without one, is given a second or two."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard])
        application.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/api/v1/events", self._events),
                web.get("/api/v1/events/{id}", self._event),
                web.post("/api/v1/events/{id}/requeue", self._requeue),
                web.get("/api/v1/allowlist", self._allowlist),
                web.post("/-/reload", self._reload),
                *self._refusals.routes(),
                *self._pages.routes(),
            ]
        )
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Ask for the token where it is needed, and turn every error into a plain answer."""
        try:
            response: web.StreamResponse
            if not is_local_host(request.headers.get("Host", "")):
                message = "come by address, as localhost or by a name without a dot"
                response = json_answer({"error": message}, 421)
            elif request.path.startswith(("/api/", "/-/")) and not self._may(request):
                response = json_answer({"error": "a token is needed"}, 401)
                response.headers["WWW-Authenticate"] = "Bearer"
            else:
                response = await handler(request)
        except web.HTTPException as answer:
            response = _plain(answer)
        except ValueError as error:
            response = json_answer({"error": str(error)}, 400)
        except SpoolUnavailable as error:
            response = json_answer({"error": str(error)}, 503)
        except Exception as error:  # noqa: BLE001 - no traceback reaches a browser
            self._telemetry.log.fault("admin_fault", error, path=request.path)
            response = json_answer({"error": "internal error; see the log"}, 500)
        response.headers.update(_SAFETY)
        return response

    def _may(self, request: web.Request) -> bool:
        if request.method == "GET":
            return self._pages.admits(request)
        # A session is a cookie, which a browser sends by itself: it may read, not change.
        return self._authenticator.bearer(request.headers.get("Authorization", ""))

    async def _livez(self, _: web.Request) -> web.StreamResponse:
        live = self._state.live()
        return json_answer({"live": live}, 200 if live else 503)

    async def _readyz(self, _: web.Request) -> web.StreamResponse:
        reasons = await self._state.unready()
        return json_answer(
            {"ready": not reasons, "reasons": list(reasons)}, 503 if reasons else 200
        )

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        snapshot = await self._state.snapshot()
        # Hundreds of series take longer to write down than a delivery may wait.
        async with self._exposing:
            text = await asyncio.to_thread(self._telemetry.expose, snapshot)
        return web.Response(body=text, headers={"Content-Type": _METRICS_TYPE})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        return json_answer(page_json(await self._spool.page(parse_query(request.query))))

    async def _event(self, request: web.Request) -> web.StreamResponse:
        found = await self._spool.get(request.match_info["id"])
        if found is None:
            raise web.HTTPNotFound
        return json_answer(detail(*found))

    async def _requeue(self, request: web.Request) -> web.StreamResponse:
        event_id = request.match_info["id"]
        if await self._spool.get(event_id) is None:
            raise web.HTTPNotFound
        requeued = await self._spool.requeue(Query(ids=(event_id,)))
        if not requeued:
            message = "only dead, held and delivered events with their body can be requeued"
            return json_answer({"error": message}, 409)
        return json_answer({"requeued": list(requeued)})

    async def _reload(self, _: web.Request) -> web.StreamResponse:
        if self._reload_now is None:
            return json_answer({"error": "this relay has no file to read again"}, 409)
        problems = await self._reload_now()
        if not problems:
            return json_answer({"reloaded": True})
        findings = [asdict(problem) for problem in problems]
        message = "the configuration was not taken; the one before stays in force"
        return json_answer({"error": message, "findings": findings}, 422)

    async def _allowlist(self, _: web.Request) -> web.StreamResponse:
        return json_answer({"allowlist": self._state.allowlist()})


def _plain(answer: web.HTTPException) -> web.Response:
    """Return an answer that was raised as one that is not aiohttp's page."""
    response = json_answer({"error": answer.reason.lower()}, answer.status)
    for name in ("Allow", "Location"):
        if name in answer.headers:
            response.headers[name] = answer.headers[name]
    return response
