"""How many function calls one verification and one answer take: a bound that no clock disturbs."""

import cProfile
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace

import pytest

from relay.core.request import Delivery, Headers, IngestResult, Verdict
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Inspector, Sample, SampleOrder
from relay.providers.builtin import provider_named
from relay.providers.inline import JsonField
from relay.providers.inline.provider import InlineProvider
from relay.signatures import SignedText
from tests.contracts.provider import NOW, URL, delivery_of, keys_for
from tests.harness.deliveries import AnswerContext
from tests.providers.inline.describe import described

#: Calls of Python functions and of built-in ones that a verification takes, at most.
VERIFICATION = {
    "midtrans": (9, 46),
    "midtrans-snap": (31, 49),
    "vipps": (26, 47),
    "vipps-callback": (16, 34),
    "described": (39, 46),
}
#: Likewise of the answer to what was accepted.
ANSWER = {
    "midtrans": (1, 0),
    "midtrans-snap": (2, 2),
    "vipps": (1, 0),
    "vipps-callback": (2, 1),
    "described": (1, 0),
}


def calls(work: Callable[[], object]) -> tuple[int, int]:
    """Return how many Python functions and how many built-in ones run in `work`."""
    profile = cProfile.Profile()
    profile.enable()
    work()
    profile.disable()
    python = builtin = 0
    for entry in profile.getstats():
        if isinstance(entry.code, str):
            builtin += entry.callcount
        else:
            python += entry.callcount
    # Less the calls of `work` and of `disable`.
    return python - 1, builtin - 1


def bound(sender: str) -> tuple[Inspector, Delivery]:
    """Return an inspector, and a delivery as its sender makes it."""
    if sender == "described":
        return of_a_described_sender()
    provider = provider_named(sender)
    keys = keys_for(provider)[0]
    sample = provider.sample(SampleOrder(URL, keys.signing, NOW))
    return provider.bind(EndpointOptions((keys.verifying,))), delivery_of(sample)


def of_a_described_sender() -> tuple[Inspector, Delivery]:
    description = described(
        format="t={timestamp},v1={signature}",
        signed="{timestamp}.{body}",
        event_key=(JsonField("/id"),),
    )
    at, body = int(NOW.timestamp()), b'{"id": "evt_1", "amount": 100, "list": [{"kind": "paid"}]}'
    mac = hmac.digest(b"key", f"{at}.".encode() + body, hashlib.sha256).hex()
    headers = (("Content-Type", "application/json"), ("X-Signature", f"t={at},v1={mac}"))
    inspector = InlineProvider(description).bind(EndpointOptions((Secret("key"),)))
    return inspector, delivery_of(Sample("POST", "", Headers(headers), body))


def again(delivery: Delivery) -> Delivery:
    """Return an equal delivery of which nothing has been looked up."""
    headers = Headers(tuple(delivery.head.headers))
    return replace(delivery, head=replace(delivery.head, headers=headers))


senders = pytest.mark.parametrize("sender", [*VERIFICATION])


@senders
def test_a_verification_takes_few_calls(sender: str) -> None:
    inspector, delivery = bound(sender)
    inspector.verify(again(delivery))
    fresh = again(delivery)
    python, builtin = calls(lambda: inspector.verify(fresh))
    assert python <= VERIFICATION[sender][0]
    assert builtin <= VERIFICATION[sender][1]


@senders
def test_signed_texts_are_put_together_for_a_listener_alone(sender: str) -> None:
    inspector, delivery = bound(sender)
    texts: list[SignedText] = []
    inspector.verify(again(delivery), texts.append)
    assert bool(texts) is (sender != "vipps-callback")
    fresh, other = again(delivery), again(delivery)
    unheard, heard = (
        calls(lambda: inspector.verify(fresh)),
        calls(lambda: inspector.verify(other, texts.append)),
    )
    # The text, its construction and the call.
    assert sum(heard) - sum(unheard) == (2 if texts else 0)


@senders
def test_an_answer_is_ready(sender: str) -> None:
    inspector, delivery = bound(sender)
    accepted = IngestResult(Verdict.ACCEPTED)
    context = AnswerContext(delivery.remainder, delivery.body, NOW)
    first = inspector.answer(accepted, context)
    assert inspector.answer(accepted, context) is first
    python, builtin = calls(lambda: inspector.answer(accepted, context))
    assert python <= ANSWER[sender][0]
    assert builtin <= ANSWER[sender][1]
