"""What Midtrans' GET status answers, and whether it agrees with a notification. No I/O.

The answer is signed as a notification is, by the values of now: over order id, status code and
amount, so its signature tells nothing of the state. The state is believed because we asked for it,
over TLS. A transaction that is not there is answered with HTTP 200 and a body that says 404.
"""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from relay import strictjson
from relay.confirm.states import can_become
from relay.errors import Refusal
from relay.schemes.digest import Digest
from relay.secret import Secret
from relay.strictjson import JsonObject

#: There is no way to ask for such an id.
UNASKABLE: Final = "unaskable"

#: The answer is not one of this API's.
MALFORMED: Final = "malformed answer"

_OK: Final = 200
_CODE: Final = re.compile(r"[1-5][0-9]{2}")
_STATE: Final = re.compile(r"[a-z_]{1,64}")
_SIGNED: Final = ("order_id", "status_code", "gross_amount")


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is said of a transaction, by a notification or by an answer.

    state: in lower case. body: the whole of it, as it came.
    """

    order_id: str
    transaction_id: str
    amount: str
    code: str
    state: str
    signature: str
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
        return _transaction(strictjson.parse_object(body), body)
    except Refusal:
        return None


def read(http_status: int, body: bytes, retry_after: timedelta | None = None) -> Answer:
    """Return what an answer of the API says."""
    if http_status != _OK:
        # A redirect too: the key is for this host and no other.
        return _without_transaction(str(http_status), "http", retry_after)
    try:
        message = strictjson.parse_object(body)
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
    """
    if said.transaction_id and now.transaction_id != said.transaction_id:
        return Disagrees("transaction_id differs")
    if now.order_id != said.order_id:
        return Disagrees("order_id differs")
    if now.amount != said.amount:
        return Disagrees("gross_amount differs")
    if now.signer((secret,)) is None:
        return Disagrees("signature_key of the answer is wrong")
    if not can_become(said.state, now.state):
        return Disagrees(f"{said.state} was said, and it is {now.state}")
    return Agrees(now.state)


def _transaction(message: JsonObject, body: bytes) -> Transaction | None:
    """Return the transaction in a message, its optional fields empty; None where there is none."""
    order_id, code, amount = (message.get(name) for name in _SIGNED)
    state = message.get("transaction_status")
    transaction_id = message.get("transaction_id", "")
    signature = message.get("signature_key", "")
    if not (
        isinstance(order_id, str)
        and isinstance(code, str)
        and isinstance(amount, str)
        and isinstance(state, str)
        and isinstance(transaction_id, str)
        and isinstance(signature, str)
    ):
        return None
    state = state.lower()
    if not order_id or not _STATE.fullmatch(state):
        return None
    return Transaction(order_id, transaction_id, amount, code, state, signature, body)
