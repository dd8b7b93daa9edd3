"""What one upstream's settings describe: the sender of its requests."""

from ipaddress import ip_network

from relay.config.upstream_settings import Upstream as UpstreamSettings
from relay.core.clock import Clock
from relay.delivery.sender import HttpSender
from relay.signatures.shared_secret import Signer


def http_sender(settings: UpstreamSettings, clock: Clock) -> HttpSender:
    """Return a sender with connections of its own. Called inside a running event loop."""
    return HttpSender(
        settings.url,
        timeout=settings.timeout,
        concurrency=settings.concurrency,
        clock=clock,
        signer=Signer(settings.signing_secrets) if settings.signing_secrets else None,
        allowed=[ip_network(str(each.cidr)) for each in settings.allow_addresses],
    )
