"""Each attack on each file of config/senders, judged by what serves requests."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from relay.core.clock import SystemClock
from relay.core.request import Verification
from relay.providers import Sample
from relay.providers.inline import SampleMessage
from tests.contracts.provider import delivery_of, outcome
from tests.providers.inline.describe import bound
from tests.providers.inline.describe import described as described_hmac
from tests.senders.attacks import Maker, attacks
from tests.senders.files import endpoint, inspector
from tests.senders.keys import NAMES, described, keys, other_keys
from tests.senders.sender import maker

DESCRIBED = tuple(name for name in NAMES if "signature" in described(name)["provider"])
URL = "https://pay.example.com/hooks"


@pytest.mark.parametrize("name", DESCRIBED)
def test_nothing_that_differs_from_a_genuine_message_is_taken(name: str, tmp_path: Path) -> None:
    found, at = endpoint(name, tmp_path), SystemClock().now()
    judge = inspector(found, *filter(None, [keys(name).verifying]))
    made = maker(name, tmp_path, URL)
    first, second = (outcome(judge, delivery_of(made.made(at), made.url, at)) for _ in range(2))
    assert isinstance(first, Verification), f"config/senders/{name}.yaml refuses its own: {first}"
    assert isinstance(second, Verification)
    assert first.key != second.key, f"config/senders/{name}.yaml: two samples are one event"
    tried = list(attacks(made, at, other_keys(name).signing))
    passed = [
        attack.what
        for attack in tried
        if isinstance(outcome(judge, delivery_of(attack.sample, made.url, at)), Verification)
    ]
    assert not passed, f"config/senders/{name}.yaml takes what is not genuine: {passed}"


class _Signs(Maker):
    """Says that it signs what its description says, and signs one field alone."""

    def made(
        self, at: datetime, signing: str | None = None, message: SampleMessage | None = None
    ) -> Sample:
        return Maker(_ONE_FIELD, self.url, self.signing, self.changes).made(at, signing, message)


_ONE_FIELD = replace(
    described_hmac(signed="{json:/id}"), sample=SampleMessage(json={"id": "{id}", "amount": "1"})
)


@pytest.mark.parametrize("signed", ["{body}", "{json:/id}{json:/amount}"])
def test_what_takes_too_much_is_found(signed: str) -> None:
    at = SystemClock().now()
    claimed = replace(_ONE_FIELD, signature=replace(_ONE_FIELD.signature, signed=signed))
    judge = bound(_ONE_FIELD, "key")
    passed = [
        attack.what
        for attack in attacks(_Signs(claimed, URL, "key", {}), at, "other")
        if isinstance(outcome(judge, delivery_of(attack.sample, URL, at)), Verification)
    ]
    assert any("bit of byte" in what or what == "JsonField /amount, changed" for what in passed)
