"""An endpoint whose secret a test mends."""

from dataclasses import replace
from typing import Any

from relay.allowlist import Allowlist, Mode, StaticSource
from relay.core.secret import Secret
from relay.ingest.pipeline import Endpoint
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
        upstream="billing",
        inspector=MIDTRANS.bind(EndpointOptions(secrets=(secret,))),
        headers=(),
        allowlist=Allowlist([StaticSource("midtrans", [(LISTED, "test")])]),
        mode=Mode.ENFORCE,
        knock=None,
    )
    return replace(usual, **changes)
