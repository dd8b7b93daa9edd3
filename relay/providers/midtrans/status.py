"""Midtrans' GET status: parse the answer, and compare it with a notification. No I/O.

The answer is signed as a notification is, by the values of now: over order id, status code and
amount, so its signature tells nothing of the state. The state is believed because we asked for it,
over TLS. A transaction that is not there is answered with HTTP 200 and a body that says 404.

The API spells some facts otherwise than its notifications do: amounts as numbers, digits of a
signature in upper case, and for DANA and some banks the transaction id in `order_id`. Some answers
have no signature, others no transaction id.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Protocol

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.secret import Secret
from relay.core.strict_json import JsonObject, JsonValue
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
_AMOUNT: Final = re.compile(r"[0-9]{1,64}(?:\.[0-9]{1,64})?(?:[eE][+-]?[0-9]{1,2})?")
_SIGNED: Final = ("order_id", "status_code", "gross_amount")
_OPTIONAL: Final = (
    *("transaction_status", "transaction_id", "signature_key", "fraud_status", "currency"),
)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction, as a notification or an answer of the API describes it.

    state, fraud: in lower case. transaction_id, signature, fraud and currency are empty when they
        are missing. order_id, code, amount: as text, also where they are numbers in the message.
    body: the unparsed message.
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

    @property
    def is_paid(self) -> bool:
        """Whether it says that the money is there: settled, or captured and accepted."""
        accepted = self.fraud in {"", _ACCEPTED}
        return self.state == "settlement" or (self.state == "capture" and accepted)

    @property
    def names_itself_twice(self) -> bool:
        """Whether `order_id` holds the transaction id, as answers about DANA and some banks do."""
        return self.order_id == self.transaction_id

    def signer(self, secrets: tuple[Secret, ...]) -> int | None:
        """Return the position of the secret that signed this; None when none of these did."""
        covered = (self.order_id + self.code + self.amount).encode()
        try:
            return Digest("sha512", secrets).verify(covered, self.signature.lower())
        except Refusal:
            return None

    def signed_with(self, secret: Secret) -> "Transaction":
        """Return this with the signature that the secret makes."""
        covered = (self.order_id + self.code + self.amount).encode() + secret.reveal()
        return replace(self, signature=hashlib.sha512(covered).hexdigest())

    def is_signed_over(self, order_id: str, secrets: tuple[Secret, ...]) -> bool:
        """Return whether the signature is that of this order id, however the amount is written."""
        return any(
            replace(self, order_id=order_id, amount=amount).signer(secrets) is not None
            for amount in _spellings(self.amount)
        )


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


@dataclass(frozen=True, slots=True)
class NotYet:
    """The API knows an earlier state, one that the notified state can follow: `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unlinked:
    """Nothing differs, but the answer does not tie the notified order to the transaction."""


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
    code = _text(message.get("status_code"))
    if code is None or not _CODE.fullmatch(code):
        return NoAnswer(MALFORMED)
    return _without_transaction(code, "status_code", retry_after)


def _without_transaction(code: str, where: str, retry_after: timedelta | None) -> Answer:
    if code == "404":
        return NotFound()
    if code == "429":
        return Limited(retry_after)
    return NoAnswer(f"{where} {code}", refused=code in {"401", "403"})


def compare(
    notified: Transaction, now: Transaction, secrets: tuple[Secret, ...], *, by_order: bool = False
) -> Agrees | Disagrees | NotYet | Unlinked:
    """Compare a notification with the API's answer about the same transaction.

    Amounts are compared as numbers. The fraud status decides with the state whether a card is
    paid, and is not signed either. Other fields are not compared.

    secrets: the keys that may sign an answer. by_order: the API was asked by the order id, not by
        the transaction id.
    """
    difference = next(_differences(notified, now, secrets), None)
    step = _missing_step(notified, now)
    if difference is None and step is not None and not _is_behind(now, notified):
        difference = step
    if difference is not None:
        return Disagrees(difference)
    if not _is_linked(notified, now, secrets, by_order=by_order):
        return Unlinked()
    return Agrees(now.state) if step is None else NotYet(step)


def _differences(
    notified: Transaction, now: Transaction, secrets: tuple[Secret, ...]
) -> Iterator[str]:
    if notified.transaction_id and now.transaction_id not in {"", notified.transaction_id}:
        yield "transaction_id differs"
    if now.order_id == notified.order_id:
        if now.signature and not now.is_signed_over(now.order_id, secrets):
            yield "signature_key of the answer is wrong"
    elif now.order_id not in {notified.transaction_id or now.transaction_id} - {""}:
        yield "order_id differs"
    if not is_same_amount(now.amount, notified.amount):
        yield "gross_amount differs"
    if notified.currency and now.currency and notified.currency != now.currency:
        yield "currency differs"


def _missing_step(earlier: Transaction, later: Transaction) -> str | None:
    """Return why the later state cannot follow the earlier one, nor be the same; None if it can."""
    if not can_become(earlier.state, later.state):
        return f"{earlier.state} was said, and it is {later.state}"
    if not fraud_can_become(earlier.state, earlier.fraud, later.state, later.fraud):
        return f"fraud_status {earlier.fraud or 'nothing'} was said, and it is {later.fraud}"
    return None


def _is_behind(now: Transaction, notified: Transaction) -> bool:
    """Tell whether the API may only be late: the notified state can follow the one that it knows.

    Not when the signed code is none of a payment: then the unsigned state was altered on its way.
    """
    if notified.is_paid and notified.code != str(_OK):
        return False
    said = replace(notified, fraud=notified.fraud or _ACCEPTED)
    return _missing_step(now, said) is None


def _is_linked(
    notified: Transaction, now: Transaction, secrets: tuple[Secret, ...], *, by_order: bool
) -> bool:
    """Tell whether an answer without differences ties the notified order to the transaction.

    An answer that has the transaction id for an order id says nothing of the order, unless it is
    signed over it or was asked for by it. One that was asked for by the order has to name the
    transaction.
    """
    if not notified.transaction_id:
        return True
    if notified.names_itself_twice:
        # Whichever of the two the answer means.
        return False
    if by_order:
        return notified.transaction_id in {now.transaction_id, now.order_id}
    return now.order_id == notified.order_id or now.is_signed_over(notified.order_id, secrets)


def is_same_amount(one: str, other: str) -> bool:
    """Tell whether two texts are the same amount: `10000` is `10000.00`."""
    if one == other:
        return True
    if not (_AMOUNT.fullmatch(one) and _AMOUNT.fullmatch(other)):
        return False
    return Decimal(one) == Decimal(other)


def _spellings(amount: str) -> tuple[str, ...]:
    """Return an amount as it is written, and as a notification would write it."""
    return (amount, f"{Decimal(amount):.2f}") if _AMOUNT.fullmatch(amount) else (amount,)


# ---- an answer as a notification ------------------------------------------------------------


def as_notification(
    answer: Transaction, asked: str, *, secrets: tuple[Secret, ...], used: Secret
) -> bytes | None:
    """Return an answer as the notification that its transaction would have had; None if of another.

    It is the body as it came unless it spells something otherwise than a notification does. Then
    the order id, the transaction id and the texts of numbers are put right, and what relay has
    learnt from the API itself is signed with the first secret, where no signature of the API fits.

    asked: the order or transaction id that was asked for. secrets: of the endpoint, at least one.
    used: the key that the API was asked with.
    """
    order_id, transaction_id = answer.order_id, answer.transaction_id
    everyone = (*secrets, used)
    if asked not in {order_id, transaction_id}:
        if answer.names_itself_twice or answer.is_signed_over(asked, everyone):
            order_id, transaction_id = asked, transaction_id or order_id
        elif transaction_id:
            return None
        else:
            transaction_id = asked
    elif answer.names_itself_twice:
        # Asked for by the transaction id, and the order has no name.
        return None
    message = strict_json.parse_object(answer.body)
    changed: dict[str, JsonValue] = {"order_id": order_id, "status_code": answer.code}
    if transaction_id:
        changed["transaction_id"] = transaction_id
    known = replace(answer, order_id=order_id, signature=answer.signature.lower())
    fitting = (replace(known, amount=amount) for amount in _spellings(answer.amount))
    signed = next((each for each in fitting if each.signer(secrets) is not None), None)
    if signed is None and (
        not answer.signature or answer.is_signed_over(answer.order_id, everyone)
    ):
        signed = replace(known, amount=_spellings(answer.amount)[-1]).signed_with(secrets[0])
    if signed is not None:
        changed |= {"gross_amount": signed.amount, "signature_key": signed.signature}
    if all(message.get(name) == value for name, value in changed.items()):
        return answer.body
    return strict_json.dump(message | changed)


# ---- transactions in messages ---------------------------------------------------------------


def _transaction(message: JsonObject, body: bytes) -> Transaction | None:
    """Return the transaction in a message, missing optional fields empty; None without one."""
    signed = [_text(message.get(name)) for name in _SIGNED]
    # JSON's null is as good as nothing said.
    others = ["" if message.get(name) is None else message[name] for name in _OPTIONAL]
    texts = [each for each in (*signed, *others) if isinstance(each, str)]
    if len(texts) != len(signed) + len(others):
        return None
    order_id, code, amount, state, transaction_id, signature, fraud, currency = texts
    state, fraud = state.lower(), fraud.lower()
    if not order_id or not _STATE.fullmatch(state) or (fraud and not _STATE.fullmatch(fraud)):
        return None
    return Transaction(
        order_id, transaction_id, amount, code, state, signature, fraud, currency, body
    )


def _text(value: JsonValue) -> str | None:
    """Return a text or the text of a number; None for any other value."""
    return value if isinstance(value, str) else strict_json.number_text(value)


class StatusApi(Protocol):
    """Queries the status of a transaction (`relay.delivery.confirmation.StatusClient`)."""

    async def ask(self, name: str, secret: Secret) -> Answer:
        """Query once, within a time-out of the implementation's own."""
