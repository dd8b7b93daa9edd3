"""Health and metrics are for anybody, the rest for who has the token; nothing is unescaped."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from relay.admin.audit import AuditTrail
from relay.admin.auth import AllowedHosts, Authenticator, GuessThrottle
from relay.admin.health import Health
from relay.admin.pages import COOKIE
from relay.admin.server import Admin
from relay.admin.upstreams import Upstreams
from relay.config import load_text
from relay.config.upstream_settings import Upstream
from relay.core.clock import SystemClock
from relay.core.errors import Obstacle, Problem, RelayError
from relay.core.event import Dead, Unreachable
from relay.core.ids import event_ids
from relay.core.secret import Secret
from relay.ingest.admission import Endpoint
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.refusals import RefusalReleaser
from relay.spool.audit import Actor
from relay.spool.refusals import StoredRefusal
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.deliveries import ENVIRON, configuration, verified

TOKEN = "the-token"
SHARED = Secret("canary-of-a-release")
_MINUTE = timedelta(minutes=1)
BEARER = {"Authorization": f"Bearer {TOKEN}"}
READ_TOKEN = "the-token-that-may-read"
READER = {"Authorization": f"Bearer {READ_TOKEN}"}
WRONG = {"Authorization": "Bearer wrong"}


@dataclass
class Bench:
    """A running admin listener, a client for it, and the spool behind."""

    client: aiohttp.ClientSession
    spool: SqliteSpool
    live: bool = True
    stopping: bool = False
    problems: tuple[Problem, ...] = ()
    reloads: int = 0
    upstreams: dict[str, Upstream] = field(
        default_factory=lambda: {"billing": Upstream(url="http://billing.example/in?t=secret")}
    )
    status: dict[str, object] = field(
        default_factory=lambda: {
            "version": "1",
            "nodes": [],
            "endpoints": [],
            "upstreams": [],
            "attention": [],
            "spool": {"bytes": None, "free_bytes": None},
        }
    )
    pauses: asyncio.Event = field(default_factory=asyncio.Event)
    stream: io.BytesIO = field(default_factory=io.BytesIO)
    close_log: Callable[[], None] = lambda: None
    endpoints: list[Endpoint] = field(default_factory=list)
    served: tuple[str, ...] = ("billing",)

    def log(self) -> list[dict[str, Any]]:
        """Return the lines so far; there are no more from then on."""
        self.close_log()
        return [orjson.loads(line) for line in self.stream.getvalue().splitlines()]

    async def read_status(self) -> dict[str, object]:
        return self.status

    async def reload(self) -> tuple[Problem, ...]:
        self.reloads += 1
        return self.problems

    async def explain(self, stored: StoredRefusal) -> dict[str, object]:
        if stored.refused.detail == "unreadable":
            raise RelayError("dns.json cannot be read")
        return {
            "id": stored.refused.id,
            "verdict": "refuse",
            "reason": "field_invalid",
            "steps": [{"step": "method", "result": "ok", "detail": "POST"}],
            "nearest": ["another <secret> fits"],
        }

    async def get(self, path: str, **options: Any) -> tuple[int, str]:
        async with self.client.get(path, allow_redirects=False, **options) as response:
            return response.status, await response.text()

    async def post(self, path: str, **options: Any) -> tuple[int, str]:
        async with self.client.post(path, allow_redirects=False, **options) as response:
            return response.status, await response.text()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = SystemClock()
    spool = await open_spool(tmp_path / "relay.db", clock)
    stream = io.BytesIO()
    writer = LogWriter(stream)
    jar = aiohttp.CookieJar(unsafe=True)
    running: list[Bench] = []
    endpoints: list[Endpoint] = []
    telemetry = Telemetry(Log(writer, clock))
    upstreams = Upstreams(
        spool,
        configured=lambda: running[0].upstreams,
        endpoints=tuple,
        breakers=lambda: {"billing": False},
        changed=lambda: running[0].pauses.set(),  # noqa: PLW0108 - it is there later
        clock=clock,
    )
    admin = Admin(
        health=Health(
            clock=clock,
            spool=spool,
            endpoints=endpoints,
            statuses=list,
            breakers=dict,
            connections=lambda: 0,
            certificates={},
            live=lambda: running[0].live,
            stopping=lambda: running[0].stopping,
            upstreams=lambda: running[0].served,
            paused=upstreams.paused,
        ),
        spool=spool,
        releaser=RefusalReleaser(
            spool,
            paths=lambda: EndpointPaths(endpoints),
            secrets=lambda: [SHARED],
            clock=clock,
            new_id=event_ids(),
        ),
        telemetry=telemetry,
        authenticator=Authenticator(Secret(TOKEN), clock, Secret(READ_TOKEN)),
        throttle=GuessThrottle(clock),
        hosts=AllowedHosts(["relay.internal"]),
        trail=AuditTrail(spool, telemetry, clock),
        status=lambda: running[0].read_status(),  # noqa: PLW0108 - it is there later
        upstreams=upstreams,
        settings=lambda: load_text(configuration("http://127.0.0.1:1"), "", ENVIRON, tmp_path),
        clock=clock,
        reload=lambda: running[0].reload(),  # noqa: PLW0108 - it is there later
        explain=lambda stored: running[0].explain(stored),  # noqa: PLW0108 - likewise
    )
    host, port = await admin.start("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://{host}:{port}", cookie_jar=jar) as client:
        running.append(
            Bench(client, spool, stream=stream, close_log=writer.close, endpoints=endpoints)
        )
        yield running[0]
    await admin.stop()
    await spool.close()
    writer.close()


async def test_health_and_metrics_need_no_token(bench: Bench) -> None:
    assert await bench.get("/livez") == (200, '{"live":true}')
    assert await bench.get("/readyz") == (200, '{"ready":true,"reasons":[],"degraded":[]}')
    status, text = await bench.get("/metrics")
    assert status == 200
    assert "relay_build_info" in text


async def test_it_is_not_live_before_the_public_listeners_accept(bench: Bench) -> None:
    bench.live = False
    assert (await bench.get("/livez"))[0] == 503


async def test_it_is_not_ready_while_it_stops(bench: Bench) -> None:
    bench.stopping = True
    expected = '{"ready":false,"reasons":["stopping"],"degraded":[]}'
    assert await bench.get("/readyz") == (503, expected)


async def test_it_is_not_ready_without_its_spool(bench: Bench) -> None:
    await bench.spool.close()
    status, text = await bench.get("/readyz")
    assert status == 503
    assert "spool" in text
    assert (await bench.get("/metrics"))[0] == 200


@pytest.mark.parametrize(
    "path", ["/api/v1/events", "/api/v1/events/evt_1", "/api/v1/allowlist", "/api/v1/nothing"]
)
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Bearer"}],
)
async def test_the_api_needs_the_token(path: str, headers: dict[str, str], bench: Bench) -> None:
    assert (await bench.get(path, headers=headers))[0] == 401


async def test_it_is_said_where_an_event_is_not_requeued(bench: Bench) -> None:
    event = verified(upstreams=("billing", "gone"))
    await bench.spool.put(event)
    for upstream in event.upstreams:
        claimed = await bench.spool.claim(upstream, 1, _MINUTE, ordered=False)
        await bench.spool.settle(claimed.leases[0], Dead(), Unreachable("refused"))
    status, text = await bench.post(f"/api/v1/events/{event.event_id}/requeue", headers=BEARER)
    assert (status, orjson.loads(text)) == (
        200,
        {
            "requeued": [event.event_id],
            "not_everywhere": 'no upstream "gone" is configured, and it would wait for ever; name'
            " it again",
        },
    )


async def test_an_event_is_listed_shown_and_requeued(bench: Bench) -> None:
    event = verified()
    await bench.spool.put(event)
    upstream = event.upstreams[0]
    claimed = await bench.spool.claim(upstream, 1, _MINUTE, ordered=False)
    await bench.spool.settle(claimed.leases[0], Dead(), Unreachable("refused"))
    status, text = await bench.get("/api/v1/events?status=dead", headers=BEARER)
    assert status == 200
    assert event.event_id in text
    assert (await bench.get(f"/api/v1/events/{event.event_id}", headers=BEARER))[0] == 200
    path = f"/api/v1/events/{event.event_id}/requeue"
    assert (await bench.post(path))[0] == 401
    assert await bench.post(path, headers=BEARER) == (200, f'{{"requeued":["{event.event_id}"]}}')
    assert (await bench.post(path, headers=BEARER))[0] == 409
    assert (await bench.post("/api/v1/events/evt_none/requeue", headers=BEARER))[0] == 404


async def test_what_cannot_be_requeued_says_why(bench: Bench) -> None:
    event = verified(upstream="ledger")
    await bench.spool.put(event)
    path = f"/api/v1/events/{event.event_id}/requeue"
    status, text = await bench.post(path, headers=BEARER)
    assert (status, "only dead, held and delivered" in text) == (409, True)
    claimed = await bench.spool.claim("ledger", 1, _MINUTE, ordered=False)
    await bench.spool.settle(claimed.leases[0], Dead(), Unreachable("refused"))
    status, text = await bench.post(path, headers=BEARER)
    assert (status, 'no upstream \\"ledger\\" is configured' in text) == (409, True)


async def test_a_wrong_filter_is_refused_with_a_hint(bench: Bench) -> None:
    status, text = await bench.get("/api/v1/events?status=lost", headers=BEARER)
    assert status == 400
    assert "there are: pending" in text


async def test_the_page_is_for_who_signs_in(bench: Bench) -> None:
    assert (await bench.get("/events"))[0] == 303
    assert (await bench.post("/login", data={"token": "wrong"}))[0] == 401
    assert (await bench.post("/login", data={"token": TOKEN}))[0] == 303
    status, text = await bench.get("/events")
    assert status == 200
    assert "No events yet" in text
    assert (await bench.get("/api/v1/events"))[0] == 200
    assert (
        await bench.post(
            "/logout", data={"form_token": text.partition('name="form_token" value="')[2][:64]}
        )
    )[0] == 303
    assert (await bench.get("/events"))[0] == 303


async def test_a_session_may_read_but_not_change(bench: Bench) -> None:
    event = verified()
    await bench.spool.put(event)
    await bench.post("/login", data={"token": TOKEN})
    assert (await bench.post(f"/api/v1/events/{event.event_id}/requeue"))[0] == 401


async def test_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(bench: Bench) -> None:
    async with bench.client.post(
        "/login", data={"token": TOKEN}, allow_redirects=False
    ) as response:
        morsel = response.cookies[COOKIE]
    assert morsel["httponly"]
    assert morsel["samesite"] == "Strict"
    assert TOKEN not in morsel.value


HOSTILE = '"><script>alert(1)</script>{{7*7}}'


async def test_what_a_sender_wrote_is_shown_as_text(bench: Bench) -> None:
    event = verified(key=HOSTILE, body=HOSTILE.encode())
    await bench.spool.put(event)
    await bench.post("/login", data={"token": TOKEN})
    for path in ("/events", f"/events/{event.event_id}", "/events?key=" + HOSTILE):
        status, text = await bench.get(path)
        assert status == 200
        assert "<script>" not in text
        assert "{{7*7}}" in text


async def test_nothing_that_a_sender_wrote_hides_or_reorders_on_the_page(bench: Bench) -> None:
    key = "A-1\u202e\u2066 \x9b31m\u200b\nB"
    event = verified(key=key, body=f"one\n{key}".encode())
    await bench.spool.put(event)
    await bench.post("/login", data={"token": TOKEN})
    shown = "A-1\\u202e\\u2066 \\x9b31m\\u200b"
    text = ""
    for path in ("/events", f"/events/{event.event_id}"):
        _, text = await bench.get(path)
        assert shown + "\\nB" in text
        assert not set(text) & set("\u202e\u2066\x9b\u200b")
    # The body has its lines.
    assert f'<pre id="raw">one\n{shown}\nB</pre>' in text
    _, text = await bench.get("/api/v1/events", headers=BEARER)
    assert text.isascii()
    assert orjson.loads(text)["events"][0]["key"] == key


@pytest.mark.parametrize("path", ["/login", "/livez", "/nothing", "/static/x/style.css"])
async def test_every_answer_forbids_what_the_page_does_not_need(path: str, bench: Bench) -> None:
    async with bench.client.get(path) as response:
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "aiohttp" not in response.headers["Server"]


@pytest.mark.parametrize(
    "path", ["/", "/login", "/static/x/style.css", "/api/v1/events", "/nothing"]
)
async def test_a_name_that_is_not_configured_is_not_answered(bench: Bench, path: str) -> None:
    for host in ("rebind.example:9464", "relay", "198.51.100.7"):
        status, text = await bench.get(path, headers={**BEARER, "Host": host})
        assert status == 421
        assert "admin.hosts" in text
    assert (await bench.post("/-/reload", headers={**BEARER, "Host": "rebind.example"}))[0] == 421
    assert bench.reloads == 0


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_and_metrics_answer_under_any_name(bench: Bench, path: str) -> None:
    for host in ("relay.monitoring.svc:9464", "198.51.100.7", "relay"):
        assert (await bench.get(path, headers={"Host": host}))[0] == 200


@pytest.mark.parametrize("host", ["relay.internal", "relay.internal:9464", "localhost", "[::1]:1"])
async def test_configured_names_are_answered(bench: Bench, host: str) -> None:
    assert (await bench.get("/api/v1/events", headers={**BEARER, "Host": host}))[0] == 200


# ---- who may do what ------------------------------------------------------------------------


async def test_the_token_that_may_read_reads_and_does_not_act(bench: Bench) -> None:
    event = verified()
    await bench.spool.put(event)
    for path in (
        "/api/v1/events",
        f"/api/v1/events/{event.event_id}",
        "/api/v1/refusals",
        "/events",
    ):
        assert (await bench.get(path, headers=READER))[0] == 200
    for path in (f"/api/v1/events/{event.event_id}/requeue", "/-/reload"):
        status, text = await bench.post(path, headers=READER)
        assert (status, "may read" in text) == (403, True)
    assert bench.reloads == 0
    assert (await bench.post("/login", data={"token": READ_TOKEN}))[0] == 303
    assert (await bench.get("/events"))[0] == 200


async def test_wrong_tokens_are_slowed_counted_and_logged(bench: Bench) -> None:
    now = asyncio.get_running_loop().time
    began = now()
    assert (await bench.get("/api/v1/events", headers=WRONG))[0] == 401
    assert (await bench.post("/login", data={"token": "wrong"}))[0] == 401
    assert now() - began >= 0.3
    began = now()
    assert (await bench.get("/api/v1/events", headers=BEARER))[0] == 200
    # A missing one is no guess.
    assert (await bench.get("/api/v1/events"))[0] == 401
    assert (await bench.get("/login"))[0] == 200
    assert now() - began < 0.1
    _, metrics = await bench.get("/metrics")
    assert "relay_admin_refused_total 2.0" in metrics
    lines = [line for line in bench.log() if line["event"] == "admin_refused"]
    assert [(line["level"], line["address"], line["path"]) for line in lines] == [
        ("warning", "127.0.0.1", "/api/v1/events"),
        ("warning", "127.0.0.1", "/login"),
    ]


async def test_a_right_token_is_answered_while_many_guess(bench: Bench) -> None:
    guesses = [asyncio.ensure_future(bench.get("/api/v1/events", headers=WRONG)) for _ in range(24)]
    async with asyncio.timeout(2):
        while "relay_admin_refused_total 8.0" not in (await bench.get("/metrics"))[1]:
            pass
    began = asyncio.get_running_loop().time()
    assert (await bench.get("/api/v1/events", headers=BEARER))[0] == 200
    assert asyncio.get_running_loop().time() - began < 0.1
    statuses = [status for status, _ in await asyncio.gather(*guesses)]
    assert (statuses.count(401), statuses.count(429)) == (16, 8)
    (flood,) = [line for line in bench.log() if line.get("detail")]
    assert flood["event"] == "admin_refused"


async def test_the_configuration_is_read_again_for_who_has_the_token(bench: Bench) -> None:
    assert (await bench.post("/-/reload"))[0] == 401
    assert bench.reloads == 0
    assert await bench.post("/-/reload", headers=BEARER) == (200, '{"reloaded":true}')
    assert (await bench.get("/-/reload", headers=BEARER))[0] == 405
    assert bench.reloads == 1


async def test_a_configuration_that_is_not_taken_is_answered_with_the_reasons(bench: Bench) -> None:
    bench.problems = (Problem("relay.yaml", 8, 9, "endpoints.0.upstream", "no such upstream"),)
    status, text = await bench.post("/-/reload", headers=BEARER)
    assert status == 422
    assert '"kind":"mistake"' in text
    assert (
        '"findings":[{"file":"relay.yaml","line":8,"column":9,'
        '"where":"endpoints.0.upstream","message":"no such upstream"}]'
    ) in text
    bench.problems = (Obstacle("relay.yaml", 8, 9, "spool", "restart needed"),)
    status, text = await bench.post("/-/reload", headers=BEARER)
    assert status == 422
    assert '"kind":"refused"' in text


async def test_each_act_is_a_row_and_a_line(bench: Bench) -> None:
    event = verified()
    await bench.spool.put(event)
    claimed = await bench.spool.claim(event.upstreams[0], 1, _MINUTE, ordered=False)
    await bench.spool.settle(claimed.leases[0], Dead(), Unreachable("refused"))
    await bench.post("/login", data={"token": READ_TOKEN})
    await bench.post("/login", data={"token": TOKEN})
    await bench.post(f"/api/v1/events/{event.event_id}/requeue", headers=BEARER)
    await bench.post("/-/reload", headers=BEARER)
    bench.problems = (Problem("relay.yaml", 8, 9, "endpoints", "wrong"),)
    await bench.post("/-/reload", headers=BEARER)
    # What changes nothing leaves no row.
    await bench.post(f"/api/v1/events/{event.event_id}/requeue", headers=BEARER)
    await bench.post("/login", data={"token": "wrong"})
    await bench.post("/-/reload", headers=READER)
    acts = [
        ("login", Actor.READ_TOKEN, {}),
        ("login", Actor.TOKEN, {}),
        ("requeue", Actor.TOKEN, {"events": [event.event_id]}),
        ("reload", Actor.TOKEN, {"taken": True}),
        ("reload", Actor.TOKEN, {"taken": False}),
    ]
    found = await bench.spool.audit.newest(10)
    assert [(each.name, each.actor, each.detail) for each in reversed(found)] == acts
    assert {each.origin for each in found} == {"127.0.0.1"}
    lines = [line for line in bench.log() if line["event"] == "audit"]
    assert [(line["act"], line["actor"], line["touched"]) for line in lines] == acts
    assert {line["address"] for line in lines} == {"127.0.0.1"}


# ---- upstreams ------------------------------------------------------------------------------


async def test_an_upstream_is_paused_and_resumed_and_each_is_on_record(bench: Bench) -> None:
    status, text = await bench.get("/api/v1/upstreams", headers=READER)
    assert (status, "secret" in text) == (200, False)
    assert orjson.loads(text)["upstreams"][0]["breaker"] == "closed"
    status, _ = await bench.post("/api/v1/upstreams/billing/pause", headers=READER)
    assert (status, await bench.spool.pauses.all()) == (403, {})
    paused = '{"upstream":"billing","paused":true,"changed":true}'
    answer = await bench.post("/api/v1/upstreams/billing/pause", headers=BEARER)
    assert (answer, bench.pauses.is_set()) == ((200, paused), True)
    assert "billing: paused" in (await bench.get("/readyz"))[1]
    assert 'relay_upstream_paused{upstream="billing"} 1.0' in (await bench.get("/metrics"))[1]
    status, text = await bench.post("/api/v1/upstreams/billing/resume", headers=BEARER)
    assert (status, orjson.loads(text)["paused"]) == (200, False)
    assert await bench.post("/api/v1/upstreams/biling/pause", headers=BEARER) == (
        *(404, '{"error":"no upstream named \\"biling\\"; did you mean \\"billing\\"?"}'),
    )
    assert (await bench.post("/api/v1/upstreams/x/resume", headers=BEARER))[0] == 404
    bench.upstreams["billing"] = Upstream(url="http://billing.example/", paused=True)
    status, text = await bench.post("/api/v1/upstreams/billing/resume", headers=BEARER)
    assert (status, orjson.loads(text)["paused"]) == (409, True)
    acts = [(act.name, act.actor, act.detail) for act in await bench.spool.audit.newest(9)]
    resumed = ("resume", Actor.TOKEN, {"upstream": "billing"})
    assert acts == [resumed, resumed, ("pause", Actor.TOKEN, {"upstream": "billing"})]


# ---- requeueing many ------------------------------------------------------------------------


async def test_many_are_requeued_by_filter_after_a_count(bench: Bench) -> None:
    for number in range(3):
        await bench.spool.put(verified(key=str(number), event_id=f"evt_{number}"))
    leases = (await bench.spool.claim("billing", 3, _MINUTE, ordered=False)).leases
    for lease in leases:
        await bench.spool.settle(lease, Dead(), Unreachable("refused"))
    path = "/api/v1/events/requeue"
    status, text = await bench.post(f"{path}?status=dead&dry_run=1", headers=BEARER)
    assert (status, orjson.loads(text)["would_requeue"]) == (200, 3)
    for wrong in ("", "?to=billing", "?status=lost", "?status=dead&rate=x", "?status=dead&to=x"):
        assert (await bench.post(path + wrong, headers=BEARER))[0] == 400
    assert (await bench.post(f"{path}?status=dead", headers=READER))[0] == 403
    answer = await bench.post(f"{path}?status=dead&limit=2&rate=1/s", headers=BEARER)
    assert answer == (200, '{"requeued":2}')
    assert await bench.post(f"{path}?status=dead", headers=BEARER) == (200, '{"requeued":1}')
    assert await bench.post(f"{path}?status=dead", headers=BEARER) == (200, '{"requeued":0}')
    told = [act.detail for act in await bench.spool.audit.newest(9)]
    assert told == [
        {"events": ["evt_2"], "filter": {"status": "dead"}},
        {
            "events": ["evt_0", "evt_1"],
            "filter": {"status": "dead"},
            "rate": "1/s",
            "limit": 2,
        },
    ]


async def test_one_goes_to_another_upstream_that_is_configured(bench: Bench) -> None:
    event = verified(upstream="gone")
    await bench.spool.put(event)
    path = f"/api/v1/events/{event.event_id}/requeue"
    status, text = await bench.post(f"{path}?to=biling", headers=BEARER)
    assert (status, "did you mean" in text) == (400, True)
    assert (await bench.post(f"{path}?to=billing", headers=BEARER))[0] == 200
    status, text = await bench.post(f"{path}?to=billing", headers=BEARER)
    assert (status, "on its way to billing" in text) == (409, True)


async def test_what_may_be_read_may_be_asked_for_without_its_body(bench: Bench) -> None:
    reader = {"Authorization": f"Bearer {READ_TOKEN}"}
    async with bench.client.head("/api/v1/events", headers=reader) as answer:
        assert answer.status == 200
    # A stream without a body would never end.
    async with bench.client.head("/api/v1/stream", headers=reader) as answer:
        assert answer.status == 405
