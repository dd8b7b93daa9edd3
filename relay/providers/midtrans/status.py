"""Midtrans' GET status: reading the answer, and whether it agrees with a notification. No I/O.

The answer is signed as a notification is, by the values of now: over order id, status code and
amount, so its signature tells nothing of the state. The state is believed because we asked for it,
over TLS. A transaction that is not there is answered with HTTP 200 and a body that says 404.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Final, Protocol

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.secret import Secret
from relay.core.strict_json import JsonObject
from relay.signatures.shared_secret import Digest

# ---- which state can follow which -----------------------------------------------------------
# From Midtrans' page on the status cycle. What it does not say: how an authorization ends other
# than by capture, and what follows a part of an amount that was refunded or charged back. Where it
# is silent, what looks like progress is taken for it: the rest of an amount can still go either
# way.

_AFTER_SETTLEMENT: Final = frozenset(
    # Some banks take a settlement back within minutes: `deny`.
    {"refund", "partial_refund", "chargeback", "partial_chargeback", "deny"}
)

_AFTER_A_PART: Final = frozenset({"refund", "partial_refund", "chargeback", "partial_chargeback"})

#: What can come directly after each state; nothing, where it is the end.
NEXT: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "authorize": frozenset({"capture", "cancel", "expire"}),
        # A card that its bank asks about first (3-D Secure) is pending before it is captured.
        "pending": frozenset(
            {"settlement", "expire", "cancel", "deny", "capture", "authorize", "failure"}
        ),
        # A challenged capture is approved or denied.
        "capture": frozenset({"settlement", "cancel", "deny"}),
        "settlement": _AFTER_SETTLEMENT,
        "partial_refund": _AFTER_A_PART,
        "partial_chargeback": _AFTER_A_PART,
        "deny": frozenset(),
        "cancel": frozenset(),
        "expire": frozenset(),
        "failure": frozenset(),
        "refund": frozenset(),
        "chargeback": frozenset(),
    }
)


def can_become(earlier: str, later: str) -> bool:
    """Tell whether a transaction that was in one state can be in the other now.

    States are in lower case. One that is not known here can only be itself.
    """
    reached = {earlier}
    ahead = [earlier]
    while ahead:
        for state in NEXT.get(ahead.pop(), frozenset()) - reached:
            reached.add(state)
            ahead.append(state)
    return later in reached


# What fraud detection makes of a card. What is challenged, a person or time decides; what is
# denied stays so.
_ACCEPTED: Final = "accept"
_CHALLENGED: Final = "challenge"
_DENIED: Final = "deny"

# Fraud detection has yet to judge, or to judge again.
_UNJUDGED: Final = frozenset({"pending", "authorize"})

# The money is there, or will be.
_PAID: Final = frozenset({"capture", "settlement"})


def fraud_can_become(state: str, fraud: str, later_state: str, later: str) -> bool:
    """Tell whether a fraud status that was said with one state can be another with the later one.

    All in lower case. `later_state` can follow `state`. Empty where nothing is said of fraud:
    many notifications say nothing, and mean `accept`; an API that says nothing contradicts nothing.
    """
    fraud = fraud or _ACCEPTED
    if later in {"", fraud}:
        return True
    if state != later_state and state in _UNJUDGED:
        return True
    if fraud == _CHALLENGED:
        return later in {_ACCEPTED, _DENIED}
    # Midtrans can cancel what turns out to be fraud, after it was accepted.
    return fraud == _ACCEPTED and later == _DENIED and later_state not in _PAID


# ---- answers --------------------------------------------------------------------------------

#: There is no way to ask for such an id.
UNASKABLE: Final = "unaskable"

#: The answer is not one of this API's.
MALFORMED: Final = "malformed answer"

_OK: Final = 200
_CODE: Final = re.compile(r"[1-5][0-9]{2}")
_STATE: Final = re.compile(r"[a-z_]{1,64}")
_SIGNED: Final = ("order_id", "status_code", "gross_amount")
_UNSIGNED: Final = ("transaction_status", "transaction_id", "signature_key")
_OPTIONAL: Final = ("fraud_status", "currency")


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is said of a transaction, by a notification or by an answer.

    state, fraud: in lower case. transaction_id, signature, fraud and currency are empty where they
        are not said. body: the whole of it, as it came.
    """

    order_id: str
    transaction_id: str
    amount: str
    code: str
    state: str
    signature: str
    fraud: str = ""
    currency: str = ""
    body: bytes = field(default=b"", repr=False, compare=False)

    @property
    def name(self) -> str:
        """What to ask for: the transaction where there is one, since an order id may be shared."""
        return self.transaction_id or self.order_id

    def signer(self, secrets: tuple[Secret, ...]) -> int | None:
        """Return the position of the secret that signed this; None when it is none of these."""
        covered = (self.order_id + self.code + self.amount).encode()
        try:
            return Digest("sha512", secrets).verify(covered, self.signature)
        except Refusal:
            return None


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such transaction, or not yet."""


@dataclass(frozen=True, slots=True)
class Limited:
    """We ask too often."""

    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing could be learnt; `cause` says why, in few words.

    refused: the API is there, and does not take the key.
    """

    cause: str
    refused: bool = False


Answer = Transaction | NotFound | Limited | NoAnswer


@dataclass(frozen=True, slots=True)
class Agrees:
    """The transaction is what it was said to be, or has moved on from there to `state`."""

    state: str


@dataclass(frozen=True, slots=True)
class Disagrees:
    """What the provider says now contradicts what was said in its name."""

    reason: str


def notified(body: bytes) -> Transaction | None:
    """Return what a notification says; None when it is about no transaction, as of an account."""
    try:
        return _transaction(strict_json.parse_object(body), body)
    except Refusal:
        return None


def read(http_status: int, body: bytes, retry_after: timedelta | None = None) -> Answer:
    """Return what an answer of the API says."""
    if http_status != _OK:
        # A redirect too: the key is for this host and no other.
        return _without_transaction(str(http_status), "http", retry_after)
    try:
        message = strict_json.parse_object(body)
    except Refusal:
        return NoAnswer(MALFORMED)
    found = _transaction(message, body)
    if found is not None:
        return found
    code = message.get("status_code")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return NoAnswer(MALFORMED)
    return _without_transaction(code, "status_code", retry_after)


def _without_transaction(code: str, where: str, retry_after: timedelta | None) -> Answer:
    if code == "404":
        return NotFound()
    if code == "429":
        return Limited(retry_after)
    return NoAnswer(f"{where} {code}", refused=code in {"401", "403"})


def compare(said: Transaction, now: Transaction, secret: Secret) -> Agrees | Disagrees:
    """Return whether what the API says of a transaction now bears out what was said of it.

    Amounts are compared as text: "10000.00" is what is signed. `secret` is the key that was used.
    What fraud detection thinks of a card decides with the state whether it is paid, and is signed
    as little. The other fields are not borne out.
    """
    reason = next(_differences(said, now, secret), None)
    return Agrees(now.state) if reason is None else Disagrees(reason)


def _differences(said: Transaction, now: Transaction, secret: Secret) -> Iterator[str]:
    if said.transaction_id and now.transaction_id != said.transaction_id:
        yield "transaction_id differs"
    if now.order_id != said.order_id:
        yield "order_id differs"
    if now.amount != said.amount:
        yield "gross_amount differs"
    if said.currency and now.currency and said.currency != now.currency:
        yield "currency differs"
    if now.signer((secret,)) is None:
        yield "signature_key of the answer is wrong"
    if not can_become(said.state, now.state):
        yield f"{said.state} was said, and it is {now.state}"
    if not fraud_can_become(said.state, said.fraud, now.state, now.fraud):
        yield f"fraud_status {said.fraud or 'nothing'} was said, and it is {now.fraud}"


def _transaction(message: JsonObject, body: bytes) -> Transaction | None:
    """Return the transaction in a message, its optional fields empty; None where there is none."""
    signed = [message.get(name) for name in _SIGNED]
    others = [message.get(name, "") for name in _UNSIGNED]
    # JSON's null is as good as nothing said.
    optional = ["" if message.get(name) is None else message[name] for name in _OPTIONAL]
    texts = [each for each in (*signed, *others, *optional) if isinstance(each, str)]
    if len(texts) != len(signed) + len(others) + len(optional):
        return None
    order_id, code, amount, state, transaction_id, signature, fraud, currency = texts
    state, fraud = state.lower(), fraud.lower()
    if not order_id or not _STATE.fullmatch(state) or (fraud and not _STATE.fullmatch(fraud)):
        return None
    return Transaction(
        order_id, transaction_id, amount, code, state, signature, fraud, currency, body
    )


class StatusApi(Protocol):
    """Answers what the status of a transaction is (`relay.delivery.confirmation.StatusClient`)."""

    async def ask(self, name: str, secret: Secret) -> Answer:
        """Ask once; the time that it may take is the implementation's."""
