"""The head decides, by the same checks wherever they are asked."""

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from relay.allowlist import Allowlist, Entry, Mode, StaticSource
from relay.cli import demo
from relay.config.settings import Settings
from relay.core.clock import SystemClock
from relay.core.errors import Reason, Refusal
from relay.core.event import Event
from relay.core.request import (
    ClientAddress,
    Delivery,
    Headers,
    RequestHead,
    Via,
    query_dropped,
)
from relay.core.secret import Secret
from relay.explain.steps import Walk
from relay.explain.walk import walk
from relay.ingest import admission
from relay.ingest.admission import (
    Endpoint,
    check_method,
    match_address,
    suffix_of,
    verify_delivery,
)
from relay.ingest.client_address import ClientLocator
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.reconcile import Result
from relay.providers import SampleOrder
from relay.signatures.shared_secret import Digest, Hmac
from relay.spool.refusals import Released, StillRefused
from relay.telemetry.log import Log, LogWriter
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
    match = EndpointPaths([endpoint()]).find(head())
    check_method(match, head())
    with pytest.raises(Refusal) as caught:
        check_method(match, head("PUT"))
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
# A function whose code is exchanged is another one for every module that has imported it: for
# requests, for what `relay explain` and `refusals release` say, for `reconcile` and for the demo.
# What an API has said has no method and no address, and the demo sends by the right method only.


def exchange_code(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], other: Callable[..., Any]
) -> None:
    monkeypatch.setattr(function, "__code__", other.__code__)


async def walked_from(
    settings: Settings,  # noqa: F811
    peer: str,
    method: str = "POST",
    key: Secret | None = None,
) -> Walk:
    request = captured(settings, "midtrans", method=method, key=key)
    # It reads the request on a loop of its own.
    return await asyncio.to_thread(walk, settings, request, ip_address(peer), RECEIVED)


async def gone_wrong(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """Play the demo; return provider and kind of each message that did not fare as it should."""
    # Some will never arrive.
    monkeypatch.setattr(demo, "_ARRIVAL_TIMEOUT", 0.5)
    writer = LogWriter(io.BytesIO())
    async with demo.running(Log(writer, SystemClock())) as played:
        wrong = {(row.provider, row.sent) for row in played.rows if not row.went_well}
    writer.close()
    return wrong


#: The providers of the demo.
_PLAYED = ("midtrans", "midtrans-snap", "vipps", "vipps-callback", "standard-webhooks")


async def test_a_method_that_is_not_checked_passes_everywhere(
    monkeypatch: pytest.MonkeyPatch,
    bench: Bench,  # noqa: F811 - the fixture
    office: Office,  # noqa: F811 - the fixture
    settings: Settings,  # noqa: F811 - the fixture
) -> None:
    other = endpoint(methods=("PUT",))
    await office.keep(refused())
    assert isinstance(await office.releaser(other).release("ref_1"), StillRefused)
    exchange_code(monkeypatch, admission.check_method, lambda match, head: None)
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
    strangers = {(provider, "unknown address") for provider in _PLAYED}
    assert await gone_wrong(monkeypatch) == strangers


def _elsewhere(locator: Any, head: Any) -> Any:
    # It runs among the names of the module whose code it takes the place of.
    from ipaddress import ip_address  # noqa: PLC0415

    from relay.core.request import ClientAddress, Via  # noqa: PLC0415

    return ClientAddress(ip_address("203.0.113.9"), Via.PEER)


async def test_a_client_that_is_mistaken_for_another_is_so_everywhere(
    monkeypatch: pytest.MonkeyPatch,
    bench: Bench,  # noqa: F811 - the fixture
    settings: Settings,  # noqa: F811 - the fixture
) -> None:
    """What is released has its client from when it came; what an API has said has none."""
    exchange_code(monkeypatch, ClientLocator.locate, _elsewhere)
    ack = await receive(bench.ingest(bench.endpoint()), request_head(), reading(body()))
    assert ack.status == 403
    walked = await walked_from(settings, "192.0.2.7")
    assert walked.reason is Reason.SOURCE_NOT_ALLOWED
    kinds = ("genuine", "the same again", "forged signature", "unsigned")
    expected = {(provider, kind) for provider in _PLAYED for kind in kinds}
    assert await gone_wrong(monkeypatch) == expected


async def test_a_signature_that_is_not_compared_passes_everywhere(
    monkeypatch: pytest.MonkeyPatch,
    bench: Bench,  # noqa: F811 - the fixture
    office: Office,  # noqa: F811 - the fixture
    settings: Settings,  # noqa: F811 - the fixture
) -> None:
    other, clock = endpoint(Secret("of the other environment")), ManualClock()
    forged = MIDTRANS.sample(
        SampleOrder("https://relay.test/hook", Secret("guessed"), RECEIVED, {"order_id": "forged"})
    ).body
    said = found(signature_key="0" * 128)
    await office.keep(refused())
    assert isinstance(await office.releaser(other).release("ref_1"), StillRefused)
    assert (await learn(Api(said), bench.spool, clock)).result is Result.ERROR
    for verifier in (Digest, Hmac):
        exchange_code(monkeypatch, verifier.verify, lambda self, message, signature: 0)
    ack = await receive(bench.ingest(bench.endpoint()), request_head(), reading(forged))
    assert ack.status == 200
    assert isinstance(await office.releaser(other).release("ref_1"), Released)
    walked = await walked_from(settings, "192.0.2.7", key=Secret("guessed"))
    assert walked.reason is None
    assert (await learn(Api(said), bench.spool, clock)).result is Result.NEW
    by_secret = ("midtrans", "vipps", "standard-webhooks")
    passed = {(provider, "forged signature") for provider in by_secret}
    assert await gone_wrong(monkeypatch) == passed


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
    kinds = ("genuine", "the same again", "forged signature", "unsigned")
    expected = {(provider, kind) for provider in _PLAYED for kind in kinds}
    assert await gone_wrong(monkeypatch) == expected


# ---- verification ---------------------------------------------------------------------------


def delivery(*fields: tuple[str, str]) -> Delivery:
    sample = MIDTRANS.sample(SampleOrder("https://relay.test/hook", SECRET, RECEIVED, {}))
    head = RequestHead("POST", "/hook", Headers(fields), ip_address(LISTED), RECEIVED)
    return Delivery("midtrans", head, ClientAddress(head.peer, Via.PEER), "", sample.body)


def test_it_holds_what_its_endpoint_says() -> None:
    fields = (("Cookie", "c"), ("ACCEPT", "*/*"), ("X-Own", "o"))
    event = verify_delivery(endpoint(headers=("x-own",)), delivery(*fields), "evt_1")
    assert (event.event_id, event.provider, event.environment) == ("evt_1", "midtrans", "sandbox")
    assert (event.upstreams[0], event.reconciled, event.confirm) == ("billing", False, False)
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


# ---- what is appended to the upstream's URL -------------------------------------------------


@pytest.mark.parametrize(
    ("remainder", "query", "policy", "suffix"),
    [
        ("", "", None, ""),
        ("", "?a=1", None, "?"),
        ("", "?a=1", True, "?a=1"),
        ("", "?a=1", False, "?"),
        ("", "?", True, ""),
        ("/v1.0/debit/notify", "?a=1", None, "/v1.0/debit/notify?a=1"),
        ("/v1.0/debit/notify", "?a=1", True, "/v1.0/debit/notify?a=1"),
        ("/v1.0/debit/notify", "?a=1", False, "/v1.0/debit/notify?"),
        ("/v1.0/debit/notify", "", False, "/v1.0/debit/notify"),
    ],
)
def test_a_query_is_forwarded_or_leaves_a_mark(
    remainder: str, query: str, policy: bool | None, suffix: str
) -> None:
    head = RequestHead("POST", f"/hook{query}", Headers(()), ip_address("192.0.2.1"), RECEIVED)
    found = suffix_of(endpoint(query=policy), head, remainder)
    assert found == suffix
    assert query_dropped(found) is (suffix.endswith("?"))
