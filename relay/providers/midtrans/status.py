"""Midtrans' GET status: parse the answer, and compare it with a notification. No I/O.

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
    """Tell whether a transaction can go from one state to the other, in any number of steps.

    States are in lower case. An unknown state can only stay itself.
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
_BEFORE_FRAUD_CHECK: Final = frozenset({"pending", "authorize"})

# The money is there, or will be.
_PAID: Final = frozenset({"capture", "settlement"})


def fraud_can_become(state: str, fraud: str, later_state: str, later: str) -> bool:
    """Tell whether the fraud status of one state can become that of a later state.

    All in lower case. `later_state` can follow `state`. An empty fraud status in a notification
    means `accept`, as many leave it out; an empty one of the API contradicts nothing.
    """
    fraud = fraud or _ACCEPTED
    if later in {"", fraud}:
        return True
    if state != later_state and state in _BEFORE_FRAUD_CHECK:
        return True
    if fraud == _CHALLENGED:
        return later in {_ACCEPTED, _DENIED}
    # Midtrans can cancel what turns out to be fraud, after it was accepted.
    return fraud == _ACCEPTED and later == _DENIED and later_state not in _PAID


# ---- answers --------------------------------------------------------------------------------

#: The cause when an id cannot stand in a URL of the API.
UNASKABLE: Final = "unaskable"

#: The cause when the answer is not in this API's form.
MALFORMED: Final = "malformed answer"

_OK: Final = 200
_CODE: Final = re.compile(r"[1-5][0-9]{2}")
_STATE: Final = re.compile(r"[a-z_]{1,64}")
_SIGNED: Final = ("order_id", "status_code", "gross_amount")
_UNSIGNED: Final = ("transaction_status", "transaction_id", "signature_key")
_OPTIONAL: Final = ("fraud_status", "currency")


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction, as a notification or an answer of the API describes it.

    state, fraud: in lower case. transaction_id, signature, fraud and currency are empty when they
        are missing. body: the unparsed message.
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
    def query_id(self) -> str:
        """The id to query: the transaction's if there is one, since an order id may be shared."""
        return self.transaction_id or self.order_id

    def signer(self, secrets: tuple[Secret, ...]) -> int | None:
        """Return the position of the secret that signed this; None when none of these did."""
        covered = (self.order_id + self.code + self.amount).encode()
        try:
            return Digest("sha512", secrets).verify(covered, self.signature)
        except Refusal:
            return None


@dataclass(frozen=True, slots=True)
class NotFound:
    """The API knows no such transaction, or not yet."""


@dataclass(frozen=True, slots=True)
class Limited:
    """The API refused for too many requests."""

    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The status is unknown; `cause` says why, in few words.

    refused: the API answered, and did not accept the key.
    """

    cause: str
    refused: bool = False


Answer = Transaction | NotFound | Limited | NoAnswer


@dataclass(frozen=True, slots=True)
class Agrees:
    """The API confirms the notification; the transaction is in `state` now, the same or a later."""

    state: str


@dataclass(frozen=True, slots=True)
class Disagrees:
    """The API contradicts the notification; `reason` says where."""

    reason: str


def notified_transaction(body: bytes) -> Transaction | None:
    """Parse a notification; None when it is about no transaction, such as one of an account."""
    try:
        return _transaction(strict_json.parse_object(body), body)
    except Refusal:
        return None


def parse_answer(http_status: int, body: bytes, retry_after: timedelta | None = None) -> Answer:
    """Parse an answer of the API."""
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


def compare(notified: Transaction, now: Transaction, secret: Secret) -> Agrees | Disagrees:
    """Compare a notification with the API's answer about the same transaction.

    Amounts are compared as text: "10000.00" is what is signed. `secret` is the key of the query.
    The fraud status decides with the state whether a card is paid, and is not signed either. Other
    fields are not compared.
    """
    reason = next(_differences(notified, now, secret), None)
    return Agrees(now.state) if reason is None else Disagrees(reason)


def _differences(notified: Transaction, now: Transaction, secret: Secret) -> Iterator[str]:
    if notified.transaction_id and now.transaction_id != notified.transaction_id:
        yield "transaction_id differs"
    if now.order_id != notified.order_id:
        yield "order_id differs"
    if now.amount != notified.amount:
        yield "gross_amount differs"
    if notified.currency and now.currency and notified.currency != now.currency:
        yield "currency differs"
    if now.signer((secret,)) is None:
        yield "signature_key of the answer is wrong"
    if not can_become(notified.state, now.state):
        yield f"{notified.state} was said, and it is {now.state}"
    if not fraud_can_become(notified.state, notified.fraud, now.state, now.fraud):
        yield f"fraud_status {notified.fraud or 'nothing'} was said, and it is {now.fraud}"


def _transaction(message: JsonObject, body: bytes) -> Transaction | None:
    """Return the transaction in a message, missing optional fields empty; None without one."""
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
    """Queries the status of a transaction (`relay.delivery.confirmation.StatusClient`)."""

    async def ask(self, name: str, secret: Secret) -> Answer:
        """Query once, within a time-out of the implementation's own."""
