"""What the demo sends, and what must become of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.clock import SystemClock
from relay.demo.keys import Pair
from relay.demo.sink import Sink
from relay.model import Headers
from relay.providers import Provider, Sample, SampleOrder
from relay.secret import Secret
from relay.sender import post

#: An address that no provider lists (TEST-NET-3, RFC 5737).
_STRANGER = "203.0.113.66"

#: How long an event may take to its upstream before the demo calls it lost, in seconds.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint of the demo, who signs for it, and an address its provider sends from."""

    provider: str
    signer: Provider
    url: str
    client: str
    keys: Pair


@dataclass(frozen=True, slots=True)
class Row:
    """One message: what was sent and from where, how it was answered, how often it arrived."""

    provider: str
    sent: str
    client: str
    status: int
    arrived: int
    expected: tuple[int, int]

    @property
    def went_well(self) -> bool:
        return (self.status, self.arrived) == self.expected


@dataclass(frozen=True, slots=True)
class _Message:
    target: Target
    sent: str
    client: str
    sample: Sample
    expected: tuple[int, int]


async def play(targets: Sequence[Target], sink: Sink) -> list[Row]:
    """Send everything, wait for what must arrive, and return what happened."""
    messages = [message for target in targets for message in _messages(target)]
    answers = [await post(each.target.url, each.sample, each.client) for each in messages]
    wanted = {each.sample.body for each in messages if each.expected[1]}
    await sink.wait_for(len(wanted), _PATIENCE)
    return [
        Row(
            provider=each.target.provider,
            sent=each.sent,
            client=each.client,
            status=answer.status,
            arrived=sink.count(each.sample.body),
            expected=each.expected,
        )
        for each, answer in zip(messages, answers, strict=True)
    ]


def _messages(target: Target) -> list[_Message]:
    def sample(key: Secret) -> Sample:
        return target.signer.sample(SampleOrder(target.url, key, SystemClock().now()))

    genuine, unknown = sample(target.keys.signing), sample(target.keys.signing)
    forged, unsigned = sample(target.keys.forged), _unsigned(sample(target.keys.signing))
    return [
        _Message(target, "genuine", target.client, genuine, (200, 1)),
        _Message(target, "the same again", target.client, genuine, (200, 1)),
        _Message(target, "forged signature", target.client, forged, (401, 0)),
        _Message(target, "unknown address", _STRANGER, unknown, (403, 0)),
        _Message(target, "unsigned", target.client, unsigned, (401, 0)),
    ]


def _unsigned(sample: Sample) -> Sample:
    """Return the sample without its signature, wherever the provider puts that."""
    body = sample.body.replace(b'"signature_key"', b'"no_signature"')
    signatures = {"authorization", "x-signature", "webhook-signature"}
    kept = tuple(item for item in sample.headers if item[0].lower() not in signatures)
    return Sample(sample.method, sample.suffix, Headers(kept), body)
