"""An endpoint whose secret a test mends."""

from dataclasses import replace
from typing import Any

from relay.ingest import Endpoint
from relay.plugins import load
from relay.providers import Provider, Terms
from relay.secret import Secret
from relay.sources import Allowlist, Mode
from relay.sources.cidr import ListedNetworks

MIDTRANS: Provider = load("providers", "midtrans").PROVIDER
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
        inspector=MIDTRANS.bind(Terms(secrets=(secret,))),
        headers=(),
        allowlist=Allowlist([ListedNetworks("midtrans", [(LISTED, "test")])]),
        mode=Mode.ENFORCE,
        knock=None,
    )
    return replace(usual, **changes)
