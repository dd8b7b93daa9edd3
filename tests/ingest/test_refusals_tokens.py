"""A delivery that a token in its body proved, from an unknown address: kept and released masked."""

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from relay.allowlist import Allowlist, Mode, StaticSource
from relay.core.errors import Reason, Refusal
from relay.core.ids import event_ids
from relay.core.request import Delivery, Headers
from relay.core.secret import Secret
from relay.ingest.admission import Endpoint, verify_delivery
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.refusals import RefusalRecorder, RefusalReleaser
from relay.providers import EndpointOptions, Environment
from relay.providers.inline import (
    Description,
    FormField,
    JsonField,
    QueryField,
    SignatureRule,
    Source,
)
from relay.providers.inline.provider import InlineProvider
from relay.spool.refusals import RefusalLimits, Released
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.harness.clock import ManualClock
from tests.harness.deliveries import verified
from tests.ingest.endpoints import LISTED

TOKEN = "canary-token-99"


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SqliteSpool]:
    found = await open_spool(tmp_path / "relay.db", ManualClock())
    yield found
    await found.close()


def endpoint(source: Source) -> Endpoint:
    described = Description(
        "test",
        SignatureRule("token", source),
        {"live": Environment()},
        event_key=(JsonField("/id"),) if isinstance(source, JsonField) else (),
    )
    provider = InlineProvider(described)
    return Endpoint(
        name="test",
        path="/hook",
        methods=("POST",),
        shapes=(),
        provider="test",
        environment="live",
        upstreams=("billing",),
        inspector=provider.bind(EndpointOptions(secrets=(Secret(TOKEN),))),
        tokenless=provider.bind(EndpointOptions()),
        headers=(),
        allowlist=Allowlist([StaticSource("test", [(LISTED, "test")])]),
        mode=Mode.ENFORCE,
        knock=None,
        token=True,
        token_in_body=not isinstance(source, QueryField),
        query=False,
    )


def received(source: Source) -> Delivery:
    body, target = b'{"id": "7", "t": "canary-token-99"}', "/hook"
    if isinstance(source, FormField):
        body = b"id=7&t=canary-token-99"
    if isinstance(source, QueryField):
        body, target = b'{"id": "7"}', "/hook?t=canary-token-99"
    made = verified(body=body, endpoint="test").delivery
    return replace(made, suffix="?", head=replace(made.head, target=target, headers=Headers()))


@pytest.mark.parametrize("source", [JsonField("/t"), FormField("t"), QueryField("t")])
async def test_it_is_kept_and_released_without_its_token(
    source: Source, spool: SqliteSpool, tmp_path: Path
) -> None:
    clock, numbers = ManualClock(), count(1)
    log = io.BytesIO()
    writer = LogWriter(log)
    recorder = RefusalRecorder(
        spool.refusals,
        clock=clock,
        telemetry=Telemetry(Log(writer, clock)),
        new_id=lambda _: f"ref_{next(numbers)}",
        bounds=RefusalLimits(),
    )
    served = endpoint(source)
    event = verify_delivery(served, received(source), "evt_1")
    recorder.note_unknown(served, event)
    # One whose token is wrong is not kept at all.
    recorder.note(served, received(source), Refusal(Reason.SIGNATURE_MISMATCH))
    await recorder.flush()
    kept = await spool.refusals.get("ref_1")
    assert kept is not None
    assert await spool.refusals.get("ref_2") is None
    assert TOKEN.encode() not in kept.refused.body
    assert TOKEN not in kept.refused.head.target
    releaser = RefusalReleaser(
        spool,
        paths=lambda: EndpointPaths([served]),
        secrets=list,
        clock=clock,
        new_id=event_ids(),
    )
    result = await releaser.release("ref_1")
    assert isinstance(result, Released)
    found = await spool.get(result.event_id)
    assert found is not None
    assert found[1] is not None
    assert (found[1].body, found[1].key) == (event.delivery.body, event.verification.key)
    assert found[1].redacted == event.verification.redacted
    assert found[1].redacted == (() if isinstance(source, QueryField) else (_name(source),))
    writer.close()
    files = [log.getvalue(), *(each.read_bytes() for each in tmp_path.iterdir())]
    assert [each for each in files if TOKEN.encode() in each] == []


def _name(source: Source) -> str:
    return source.pointer if isinstance(source, JsonField) else getattr(source, "name", "")
