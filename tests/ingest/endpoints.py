"""An endpoint whose secret a test mends; and one request through the steps of ingest."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from relay.allowlist import Allowlist, Mode, StaticSource
from relay.core.clock import Clock, SystemClock
from relay.core.errors import Refusal
from relay.core.request import Ack, RequestHead
from relay.core.secret import Secret
from relay.ingest.admission import Endpoint, Standing
from relay.ingest.pipeline import Ingest
from relay.providers import EndpointOptions, Provider
from relay.providers.builtin import provider_named

MIDTRANS: Provider = provider_named("midtrans")
LISTED = "103.208.23.6"
SECRET = Secret("SB-Mid-server-of-the-tests")


def endpoint(secret: Secret = SECRET, **changes: Any) -> Endpoint:
    """Return a Midtrans endpoint, with these changes."""
    usual = Endpoint(
        name="midtrans",
        path="/midtrans/notification",
        methods=("POST",),
        shapes=(),
        provider="midtrans",
        environment="sandbox",
        upstreams=("billing",),
        inspector=MIDTRANS.bind(EndpointOptions(secrets=(secret,))),
        headers=(),
        allowlist=Allowlist([StaticSource("midtrans", [(LISTED, "test")])]),
        mode=Mode.ENFORCE,
        knock=None,
    )
    return replace(usual, **changes)


_CLOCK: Final = SystemClock()


async def receive(
    ingest: Ingest,
    head: RequestHead,
    read_body: Callable[[], Awaitable[bytes]],
    clock: Clock = _CLOCK,
) -> Ack:
    """Take one request through the steps of ingest, as a connection does; return its answer."""
    admission = ingest.admit(head)
    try:
        if admission.standing is Standing.KNOCK_FIRST:
            await ingest.knock(admission)
        if admission.ack is None:
            try:
                read = await read_body()
            except Refusal as refusal:
                ingest.refuse(admission, refusal)
            else:
                event = ingest.accept(admission, read, clock.monotonic())
                if event is not None:
                    await ingest.complete(admission, event)
    finally:
        ingest.finish(admission)
    assert admission.ack is not None
    return admission.ack
