"""The head decides, by the same checks wherever they are asked."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from relay.allowlist import Allowlist, Entry, Mode, StaticSource
from relay.config.settings import Settings
from relay.core.errors import Reason, Refusal
from relay.core.event import Event
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.secret import Secret
from relay.explain.walk import Walk, walk
from relay.ingest import admission
from relay.ingest.admission import Endpoint, check_method, match_address, verify_delivery
from relay.ingest.reconcile import Result
from relay.ingest.routing import Routes
from relay.providers import SampleOrder
from relay.spool.refusals import Released, StillRefused
from tests.explain.test_walk import captured, settings  # noqa: F401 - a fixture
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED
from tests.ingest.endpoints import LISTED, MIDTRANS, SECRET, endpoint, receive
from tests.ingest.test_pipeline import Bench, bench, body, reading  # noqa: F401 - a fixture
from tests.ingest.test_pipeline import head as request_head
from tests.ingest.test_reconcile import Api, found, learn
from tests.ingest.test_refusals import Office, office, refused  # noqa: F401 - a fixture

STRANGER = "203.0.113.9"


def client(address: str) -> ClientAddress:
    return ClientAddress(ip_address(address), Via.PEER)


def head(method: str = "POST") -> RequestHead:
    return RequestHead(method, "/midtrans/notification", Headers(), ip_address(LISTED), RECEIVED)


def test_a_method_is_checked_against_the_route() -> None:
    route = Routes([endpoint()]).find(head())
    check_method(route, head())
    with pytest.raises(Refusal) as caught:
        check_method(route, head("PUT"))
    assert caught.value.reason is Reason.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("mode", Mode)
def test_an_address_is_matched_whatever_the_mode(mode: Mode) -> None:
    found = match_address(endpoint(mode=mode), client(LISTED))
    assert isinstance(found, Entry)
    assert str(found.network) == f"{LISTED}/32"
    refusal = match_address(endpoint(mode=mode), client(STRANGER))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.SOURCE_NOT_ALLOWED


def test_a_list_that_is_not_known_yet_has_its_own_reason() -> None:
    sources = [StaticSource("one", [("192.0.2.1", "x")]), StaticSource("host.example", [])]
    refusal = match_address(endpoint(allowlist=Allowlist(sources)), client(STRANGER))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.detail) == (
        Reason.SOURCE_UNKNOWN,
        "no addresses yet for host.example",
    )


# ---- one check, wherever it is asked --------------------------------------------------------
# A function whose code is exchanged is another one for every module that has imported it.


def exchange_code(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], other: Callable[..., Any]
) -> None:
    monkeypatch.setattr(function, "__code__", other.__code__)


async def walked_from(settings: Settings, peer: str, method: str = "POST") -> Walk:  # noqa: F811
    request = captured(settings, "midtrans", method=method)
    # It reads the request on a loop of its own.
    return await asyncio.to_thread(walk, settings, request, ip_address(peer), RECEIVED)


async def test_a_method_that_is_not_checked_passes_everywhere(
    monkeypatch: pytest.MonkeyPatch,
    bench: Bench,  # noqa: F811 - the fixture
    office: Office,  # noqa: F811 - the fixture
    settings: Settings,  # noqa: F811 - the fixture
) -> None:
    other = endpoint(methods=("PUT",))
    await office.keep(refused())
    assert isinstance(await office.releaser(other).release("ref_1"), StillRefused)
    exchange_code(monkeypatch, admission.check_method, lambda route, head: None)
    ack = await receive(bench.ingest(bench.endpoint()), request_head(method="PUT"), reading(body()))
    assert ack.status == 200
    assert isinstance(await office.releaser(other).release("ref_1"), Released)
    walked = await walked_from(settings, "192.0.2.7", method="PUT")
    assert walked.reason is None


async def test_an_address_that_is_not_checked_passes_everywhere(
    monkeypatch: pytest.MonkeyPatch,
    bench: Bench,  # noqa: F811 - the fixture
    office: Office,  # noqa: F811 - the fixture
    settings: Settings,  # noqa: F811 - the fixture
) -> None:
    other = endpoint(allowlist=Allowlist([StaticSource("x", [("192.0.2.1", "x")])]))
    await office.keep(refused())
    assert isinstance(await office.releaser(other).release("ref_1"), StillRefused)
    exchange_code(
        monkeypatch,
        admission.match_address,
        lambda endpoint, client: endpoint.allowlist.entries()[0],
    )
    ack = await receive(bench.ingest(bench.endpoint()), request_head(STRANGER), reading(body()))
    assert ack.status == 200
    assert isinstance(await office.releaser(other).release("ref_1"), Released)
    walked = await walked_from(settings, STRANGER)
    assert walked.reason is None


def _refuse_all(
    endpoint: Endpoint, delivery: Delivery, event_id: str, *, reconciled: bool, on_signed: Any
) -> Event:
    # It runs among the names of the module whose code it takes the place of.
    from relay.core import errors  # noqa: PLC0415

    raise errors.Refusal(errors.Reason.FIELD_INVALID, "broken")


async def test_a_verification_that_is_broken_refuses_everywhere(
    monkeypatch: pytest.MonkeyPatch,
    bench: Bench,  # noqa: F811 - the fixture
    office: Office,  # noqa: F811 - the fixture
    settings: Settings,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    await office.keep(refused())
    exchange_code(monkeypatch, admission.verify_delivery, _refuse_all)
    ack = await receive(bench.ingest(bench.endpoint()), request_head(), reading(body()))
    assert ack.status == 400
    released = await office.releaser(endpoint()).release("ref_1")
    assert released == StillRefused(Reason.FIELD_INVALID, "broken")
    walked = await walked_from(settings, "192.0.2.7")
    assert walked.reason is Reason.FIELD_INVALID
    learnt = await learn(Api(found()), bench.spool, clock)
    assert (learnt.result, learnt.detail) == (Result.ERROR, "field_invalid: broken")


# ---- verification ---------------------------------------------------------------------------


def delivery(*fields: tuple[str, str]) -> Delivery:
    sample = MIDTRANS.sample(SampleOrder("https://relay.test/hook", SECRET, RECEIVED, {}))
    head = RequestHead("POST", "/hook", Headers(fields), ip_address(LISTED), RECEIVED)
    return Delivery("midtrans", head, ClientAddress(head.peer, Via.PEER), "", sample.body)


def test_it_holds_what_its_endpoint_says() -> None:
    fields = (("Cookie", "c"), ("ACCEPT", "*/*"), ("X-Own", "o"))
    event = verify_delivery(endpoint(headers=("x-own",)), delivery(*fields), "evt_1")
    assert (event.event_id, event.provider, event.environment) == ("evt_1", "midtrans", "sandbox")
    assert (event.upstream, event.reconciled, event.confirm) == ("billing", False, False)
    assert [name for name, _ in event.headers] == ["ACCEPT", "X-Own"]


@pytest.mark.parametrize("reconciled", [False, True])
def test_what_the_api_has_said_is_not_asked_about_again(reconciled: bool) -> None:
    event = verify_delivery(endpoint(confirm=True), delivery(), "evt_1", reconciled=reconciled)
    assert (event.reconciled, event.confirm) == (reconciled, not reconciled)


def test_what_is_signed_otherwise_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        verify_delivery(endpoint(Secret("other")), delivery(), "evt_1")
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    with pytest.raises(Refusal):
        verify_delivery(endpoint(), replace(delivery(), body=b"{"), "evt_1")
