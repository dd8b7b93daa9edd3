"""Challenges of a described sender: which request is one, and what is answered. Pure.

A challenge tries an endpoint and holds no event: it is answered at once, neither stored nor
forwarded. It is found by its conditions alone, before anything is verified; what it may be answered
with is then decided by its signature, unless it has none.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from relay.core.conditions import JsonCondition, Message
from relay.core.errors import Reason, Refusal
from relay.core.request import Delivery
from relay.core.secret import Secret
from relay.core.urls import SignedUrl
from relay.providers import Answered
from relay.providers.inline.challenge_answers import Answer
from relay.providers.inline.challenge_rules import ChallengeRule
from relay.providers.inline.message import Message as SignedMessage
from relay.providers.inline.signature import Verified

#: Bytes of a challenge's body. An unsigned one is parsed before anything is known of its sender.
MAX_BODY: Final = 16 * 1024


class Check(Protocol):
    """Verifies the signature of a message, or its token."""

    def verify_each(self, message: SignedMessage, now: datetime) -> Verified:
        """Return what is verified: in every element that stars of a pointer stand for.

        Raises:
            Refusal: with the reason of the first check that failed.
        """


class Challenges:
    """The challenges of one endpoint."""

    def __init__(
        self,
        rules: Sequence[ChallengeRule],
        *,
        methods: Sequence[str],
        signature: Check | None,
        public: SignedUrl | None,
        keys: Sequence[Secret],
        takes_list: bool = False,
    ) -> None:
        """Take the rules, of which the first that holds is taken.

        methods: of deliveries that hold events.
        signature: None where nothing is signed: then the address is all that is checked.
        keys: one for each secret, or none. The one whose secret fitted signs what an answer holds
            signed, unless the challenge has a secret of its own.
        takes_list: a body may be a list of JSON.

        Raises:
            ValueError: an answer is no template.
        """
        self._rules = [
            (tuple(sorted(rule.when, key=_is_costly)), rule, Answer(rule.answer)) for rule in rules
        ]
        self._methods = frozenset(methods)
        self._signature = signature
        self._public = public
        self._keys = keys
        self._takes_list = takes_list

    def find(self, delivery: Delivery) -> int | None:
        """Return the position of the challenge that a delivery is; None where it is none."""
        return self._find(delivery, Message(delivery, b""))

    def _find(self, delivery: Delivery, message: Message) -> int | None:
        if len(delivery.body) > MAX_BODY:
            return None
        for number, (when, _, _) in enumerate(self._rules):
            if all(each.holds(message) for each in when):
                return number
        return None

    def answer(self, delivery: Delivery) -> Answered | None:
        """Return the answer to a challenge; None for what is none, and may hold an event.

        Raises:
            Refusal: its signature is wrong, or it cannot be answered; METHOD_NOT_ALLOWED where it
                is no challenge, and no event by its method.
        """
        # What is parsed to find it is not parsed again for its answer.
        message = Message(delivery, b"")
        number = self._find(delivery, message)
        if number is None:
            if delivery.head.method not in self._methods:
                raise Refusal(Reason.METHOD_NOT_ALLOWED, "it is none of the challenges")
            return None
        _, rule, answer = self._rules[number]
        secret = None
        if rule.signed and self._signature is not None:
            signed = SignedMessage(delivery, self._public, takes_list=self._takes_list)
            secret = self._signature.verify_each(signed, delivery.head.received_at).secret
        key = rule.secret
        if key is None and self._keys:
            # During a rotation the sender knows the secret that it signed with, and no other.
            key = self._keys[secret or 0]
        return Answered(number, answer.render(message, key), secret)


def _is_costly(condition: object) -> bool:
    """Return whether the whole body is parsed for it: it is looked at last."""
    return isinstance(condition, JsonCondition)
