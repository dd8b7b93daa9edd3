"""One sender of config/senders, as it reaches one of its endpoints of a `Stage`."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from relay.cli.providers import named_or_described
from relay.config.inline_provider import InlineProvider
from relay.core.clock import SystemClock
from relay.core.secret import Secret
from relay.providers import Sample, SampleOrder
from tests.harness.wire import Reply, exchange, request
from tests.senders.attacks import Maker
from tests.senders.files import endpoint
from tests.senders.keys import SENDERS, keys
from tests.senders.stage import Stage, endpoint_name, path


def maker(name: str, directory: Path, url: str) -> Maker:
    """Return what makes messages of a sender that a block describes.

    url: the one that is posted to, where the file has no public URL.
    """
    given = endpoint(name, directory)
    assert isinstance(given.provider, InlineProvider)
    changes = named_or_described(str(SENDERS / f"{name}.yaml")).changes
    public = given.public_url or url
    return Maker(given.provider.description(), public, keys(name).signing, changes)


@dataclass
class Sender:
    """Sends messages of one sender to one of its two endpoints."""

    name: str
    mode: str
    stage: Stage

    def __post_init__(self) -> None:
        self.stage.check(self.name)
        self._found = named_or_described(str(SENDERS / f"{self.name}.yaml"))
        self.url = self._found.public_url or f"{self.stage.url}{path(self.name, self.mode)}"

    def genuine(self) -> Sample:
        secret, now = Secret(keys(self.name).signing), SystemClock().now()
        return self._found.provider.sample(SampleOrder(self.url, secret, now, self._found.changes))

    def send(self, *samples: Sample, client: str | None = None) -> list[Reply]:
        """Send messages, as the proxy in front passes them on; a few at the same time."""

        async def every() -> list[Reply]:
            replies: list[Reply] = []
            for some in _eights(samples):
                sent = (exchange(self.stage.address, self._raw(each, client)) for each in some)
                replies += await asyncio.gather(*sent)
            return replies

        return self.stage.wait(every())

    def _raw(self, sample: Sample, client: str | None) -> bytes:
        forwarded = client or self._found.client
        target = path(self.name, self.mode) + sample.suffix
        # The host that the sender posts to, which some sign.
        fields = [("Host", urlsplit(self.url).netloc), *sample.headers]
        if forwarded is not None:
            fields.append(("X-Forwarded-For", forwarded))
        return request(sample.method, target, fields, sample.body)

    @property
    def endpoint(self) -> str:
        return endpoint_name(self.name, self.mode)

    def logged(self, verdict: str) -> int:
        """Return how many deliveries have been judged so."""
        return len(self.stage.node.having(**self._line(verdict)))

    def wait_for(self, number: int, verdict: str) -> None:
        """Return when so many deliveries have been judged so."""
        self.stage.wait(self.stage.node.wait_for(number, **self._line(verdict)))

    def _line(self, verdict: str) -> dict[str, str]:
        return {"event": "delivery", "endpoint": self.endpoint, "verdict": verdict}


def _eights(samples: tuple[Sample, ...]) -> Iterator[tuple[Sample, ...]]:
    for at in range(0, len(samples), 8):
        yield samples[at : at + 8]
