"""One sender of config/senders, as it reaches one of its endpoints of a `Stage`."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from relay.cli.providers import named_or_described
from relay.cli.send_endpoint import asking_for_token
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
        # Those of other tests with this relay.
        self._seen = len(self.stage.node.having(event="delivery", endpoint=self.endpoint))

    def genuine(self) -> Sample:
        secret, now = Secret(keys(self.name).signing), SystemClock().now()
        order = SampleOrder(self.url, secret, now, self._found.changes)
        if (asking := asking_for_token(self._found.provider)) is not None:
            keys_of_questions = keys(self.name).asking
            assert keys_of_questions is not None
            question = replace(order, key=Secret(keys_of_questions.signing))
            (reply,) = self.send(asking.token_request(question))
            assert self.verdicts(1) == ["challenged"]
            order = replace(order, token=asking.token_in(reply.body))
        return self._found.provider.sample(order)

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

    def verdicts(self, number: int) -> list[str]:
        """Return what became of the last deliveries here, so many since the last call."""
        line = {"event": "delivery", "endpoint": self.endpoint}
        self._seen += number
        self.stage.wait(self.stage.node.wait_for(self._seen, **line))
        return [str(each["verdict"]) for each in self.stage.node.having(**line)][-number:]


def _eights(samples: tuple[Sample, ...]) -> Iterator[tuple[Sample, ...]]:
    for at in range(0, len(samples), 8):
        yield samples[at : at + 8]
