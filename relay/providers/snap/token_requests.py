"""Answer senders that ask for an access token (B2B), which they sign their messages with.

The question is signed with the sender's private key, over its client id and the time alone: who has
seen one can ask again within minutes, and is answered a few times. What is issued is of use only
together with the secret that messages are signed with.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from relay.core import strict_json
from relay.core.errors import Reason, Refusal
from relay.core.request import Ack, Delivery
from relay.core.secret import Secret
from relay.providers import Answered, IssuedTokens, Window
from relay.providers.snap import ACCESS_SERVICE, CLIENT, SIGNATURE, TIMESTAMP, stamp
from relay.providers.snap.contents import KEYS, check_age, missing, parse_time
from relay.signatures import OnSigned, SignedText, ignore_signed
from relay.signatures.public_key import Rsa

#: How far the time of a question may lie from now: it is asked afresh each time.
_PAST: Final = timedelta(minutes=5)
_WINDOW: Final = Window(past=_PAST, future=_PAST)
GRANT: Final = "client_credentials"
#: Answers to one question: a sender may ask several times within its second.
MAX_ANSWERS: Final = 20


class TokenRequests:
    """Verifies questions for a token, and answers them. `issued` has what was given."""

    def __init__(self, client_id: str, keys: Sequence[Secret], issued: IssuedTokens) -> None:
        """Parse the keys.

        Raises:
            relay.signatures.public_key.UnusableKey: one of them is no public RSA key.
        """
        self._client_id = client_id
        self._rsa = Rsa(keys)
        self._issued = issued
        self._answered: dict[bytes, tuple[datetime, int]] = {}

    def answer(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Ack:
        """Return the answer with a new token, as `judged` does."""
        return self.judged(delivery, on_signed)[0]

    def judged(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> tuple[Ack, int]:
        """Return the answer with a new token, and the position of the key that fitted.

        Raises:
            Refusal: the question is not the client's own, or too old; or too many are asked, or the
                same one too often.
        """
        headers, received_at = delivery.head.headers, delivery.head.received_at
        client, signed_at, signature = (
            headers.single(KEYS[name]) or missing(name, Reason.SIGNATURE_MISSING)
            for name in (CLIENT, TIMESTAMP, SIGNATURE)
        )
        if client != self._client_id:
            raise Refusal(Reason.SIGNATURE_MISMATCH, f"{CLIENT} is not tokens.client_id")
        at, _ = parse_time(signed_at)
        text = token_text(client, signed_at)
        if on_signed is not ignore_signed:
            on_signed(SignedText((text,), signature))
        position = self._rsa.verify(text, signature)
        check_age(received_at - at, _WINDOW)
        message = strict_json.parse_object(delivery.body, delivery.json_limits)
        if message.get("grantType") != GRANT:
            raise Refusal(Reason.FIELD_INVALID, f"grantType is not {GRANT}")
        answered = self._answers(text, received_at)
        if answered >= MAX_ANSWERS:
            raise Refusal(Reason.TIMESTAMP_INVALID, f"{MAX_ANSWERS} answers to this question")
        fields = {
            "responseCode": f"200{ACCESS_SERVICE}00",
            "responseMessage": "Successful",
            "accessToken": self._issued.issue(received_at),
            "tokenType": "Bearer",
            "expiresIn": str(int(self._issued.life.total_seconds())),
        }
        self._answered[text] = (at, answered + 1)
        told = ((TIMESTAMP, stamp(received_at)), (CLIENT, client))
        body = json.dumps(fields, separators=(",", ":")).encode()
        return Ack(200, body, "application/json", told), position

    def _answers(self, text: bytes, now: datetime) -> int:
        """Return how often this question was answered."""
        if text not in self._answered:
            # What is too old is refused by its time.
            self._answered = {
                each: found for each, found in self._answered.items() if now - found[0] <= _PAST
            }
        return self._answered.get(text, (now, 0))[1]


class TokenChallenges:
    """The questions for an access token as challenges: answered at once, and no event."""

    def __init__(self, path: str, requests: TokenRequests) -> None:
        self._path = path
        self._requests = requests

    def find(self, delivery: Delivery) -> int | None:
        return 0 if delivery.remainder == self._path else None

    def answer(self, delivery: Delivery) -> Answered | None:
        if self.find(delivery) is None:
            return None
        ack, position = self._requests.judged(delivery)
        return Answered(0, ack, key=f"tokens.keys.{position}")


def token_text(client_id: str, signed_at: str) -> bytes:
    """Return what a question for a token is signed over."""
    return f"{client_id}|{signed_at}".encode("latin-1")
