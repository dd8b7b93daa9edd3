"""Tries each upstream of a configuration, and each token server, without an event."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from relay.app.upstream_parts import credentials_of, ip_networks, oauth2_of, token_source
from relay.app.upstream_tls import (
    ClientTls,
    Contexts,
    contexts,
    token_server_files,
    upstream_files,
)
from relay.config import Settings
from relay.config.upstream_settings import OAuth2Client, Upstream
from relay.core.clock import Clock
from relay.core.urls import without_query
from relay.delivery.oauth2 import MAX_ASKING
from relay.delivery.probe import ProbeTarget, Step, probe, probe_connection
from relay.delivery.tokens import TokenSource

#: How many are tried at a time.
_AT_ONCE: Final = 16

UPSTREAM, TOKEN_SERVER = "upstream", "token server"


@dataclass(frozen=True, slots=True)
class Probed:
    """What was seen of an upstream, or of its token server. url: as it may be shown."""

    upstream: str
    server: str
    url: str
    paused: bool
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        return all(step.ok for step in self.steps)


def probe_count(settings: Settings) -> int:
    """Return how many `probe_upstreams` tries."""
    return len(list(_servers(settings)))


async def probe_upstreams(
    settings: Settings, paused: Collection[str], clock: Clock, tried: Callable[[], None]
) -> list[Probed]:
    """Try them, several at a time, in none longer than `relay.delivery.probe.LONGEST`.

    paused: the names of those that are paused, which are tried all the same.
    tried: is called after each.

    Raises:
        ConfigError: files for TLS cannot be used, which could be when the file was checked.
    """
    some = asyncio.Semaphore(_AT_ONCE)
    tls = await contexts(settings, lambda _, key: ClientTls(key[0]))

    async def one(server: str, name: str, url: str) -> Probed:
        async with some:
            steps = await _TRIES[server](name, settings.upstreams[name], tls, clock)
        tried()
        return Probed(name, server, without_query(url), name in paused, tuple(steps))

    return await asyncio.gather(*(one(*each) for each in _servers(settings)))


def _servers(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield what is tried: which server, of which upstream, at which URL."""
    for name, upstream in settings.upstreams.items():
        if (client := oauth2_of(upstream)) is not None:
            yield TOKEN_SERVER, name, client.token_url
        yield UPSTREAM, name, upstream.url


async def _try_upstream(name: str, settings: Upstream, tls: Contexts, clock: Clock) -> list[Step]:
    client = oauth2_of(settings)
    context = tls.get(upstream_files(settings))
    if client is None:
        return await probe(_target(settings, None, context), clock)
    tokens = token_source(
        name,
        client,
        settings.timeout,
        settings.allow_addresses,
        tls=tls.get(token_server_files(settings)),
        clock=clock,
        observer=_Unobserved(),
    )
    try:
        return await probe(_target(settings, tokens, context), clock)
    finally:
        await tokens.close()


async def _try_token_server(_: str, settings: Upstream, tls: Contexts, clock: Clock) -> list[Step]:
    client = oauth2_of(settings)
    if client is None:
        return []
    context = tls.get(token_server_files(settings))
    return await probe_connection(_token_server_target(settings, client, context), clock)


_Try = Callable[[str, Upstream, Contexts, Clock], Awaitable[list[Step]]]
_TRIES: Final[dict[str, _Try]] = {
    UPSTREAM: _try_upstream,
    TOKEN_SERVER: _try_token_server,
}


def _target(
    settings: Upstream, tokens: TokenSource | None, tls: ssl.SSLContext | None
) -> ProbeTarget:
    """Return what is tried of an upstream, as its sender would send there.

    tokens: as for `credentials_of`.
    """
    return ProbeTarget(
        settings.url,
        settings.timeout.total_seconds(),
        tls=tls,
        server_name=settings.tls.server_name,
        allowed=ip_networks(settings.allow_addresses),
        credentials=credentials_of(settings, tokens),
        tokens=tokens,
    )


def _token_server_target(
    settings: Upstream, client: OAuth2Client, tls: ssl.SSLContext | None
) -> ProbeTarget:
    """Return what is tried of an upstream's token server, as tokens are fetched there."""
    seconds = min(MAX_ASKING, settings.timeout.total_seconds())
    allowed = ip_networks(settings.allow_addresses)
    return ProbeTarget(client.token_url, seconds, tls=tls, allowed=allowed)


class _Unobserved:
    """Logs nothing of tokens: a step says what came of them."""

    def token_unavailable(self, upstream: str, reason: str, retry_in: float) -> None: ...

    def token_fetched(self, upstream: str) -> None: ...

    def dispatch_error(self, upstream: str, event_id: str | None, fault: Exception) -> None: ...
