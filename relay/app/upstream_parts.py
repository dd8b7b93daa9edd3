"""What one upstream's settings describe: the sender of its requests."""

from ipaddress import ip_network

from relay.config.upstream_settings import Upstream as UpstreamSettings
from relay.core.clock import Clock
from relay.core.egress import IPNetwork
from relay.core.secret import Secret
from relay.core.urls import query_values
from relay.delivery.probe import ProbeTarget
from relay.delivery.sender import HttpSender
from relay.signatures.shared_secret import Signer


def secrets_in_url(settings: UpstreamSettings) -> list[Secret]:
    """Return what the query of its URL holds: services tell what they were asked when they fail.

    Most of it is no secret, so that it masks what the upstream answers, and nothing else.
    """
    return [Secret(value) for value in query_values(settings.url)]


def http_sender(settings: UpstreamSettings, clock: Clock) -> HttpSender:
    """Return a sender with connections of its own. Called inside a running event loop."""
    return HttpSender(
        settings.url,
        timeout=settings.timeout,
        concurrency=settings.concurrency,
        clock=clock,
        signer=Signer(settings.signing_secrets) if settings.signing_secrets else None,
        allowed=_allowed(settings),
    )


def probe_target(settings: UpstreamSettings) -> ProbeTarget:
    """Return what is tried of an upstream, as its sender would send there."""
    return ProbeTarget(settings.url, settings.timeout.total_seconds(), allowed=_allowed(settings))


def _allowed(settings: UpstreamSettings) -> list[IPNetwork]:
    return [ip_network(str(each.cidr)) for each in settings.allow_addresses]
