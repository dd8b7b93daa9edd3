"""What a BI-SNAP message says: its time, its id, what it is about, whom it names.

Nothing of a body is required but that it is an object: fields that differ between senders are read
as far as they are there.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NoReturn

from relay.core import ids
from relay.core.errors import Reason, Refusal
from relay.core.request import Headers
from relay.core.strict_json import JsonObject, JsonValue
from relay.providers import Window
from relay.providers.snap import (
    AUTHORIZATION,
    CLIENT,
    EXTERNAL,
    JAKARTA,
    PARTNER,
    SIGNATURE,
    TIMESTAMP,
)

#: The names of header fields, as their index has them.
KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        name: name.lower()
        for name in (TIMESTAMP, SIGNATURE, PARTNER, EXTERNAL, CLIENT, AUTHORIZATION)
    }
)
#: Signed times that are remembered with what they say; a sender's clock gives few at a time.
_TIMES: Final = 256
_TIME = re.compile(
    # `fromisoformat` reads an offset of +06:60 as +07:00.
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?"
    r"(?:Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)",
    re.ASCII,
)
# "Numeric" by the documentation, but letters are seen too, and 20 digits are no number to keep.
_ID = re.compile(r"[ -~]{1,64}")

_SUBJECTS = ("originalReferenceNo", "trxId", "paymentRequestId")
ACCOUNT_NUMBER: Final = "virtualAccountNo"
REFERENCES: Final = ("originalPartnerReferenceNo", *_SUBJECTS, ACCOUNT_NUMBER)
_INITIAL_STATUSES = frozenset({"01", "02", "03"})  # initiated, paying, pending


# ---- header fields --------------------------------------------------------------------------


def missing(name: str, reason: Reason) -> NoReturn:
    """Raise `Refusal` for a header field that is not there once, or is empty."""
    raise Refusal(reason, f"{name} is not there exactly once")


def external_id(headers: Headers) -> str:
    """Return X-EXTERNAL-ID.

    Raises:
        Refusal: FIELD_INVALID.
    """
    found = headers.single(KEYS[EXTERNAL]) or missing(EXTERNAL, Reason.FIELD_INVALID)
    if not _ID.fullmatch(found):
        raise Refusal(Reason.FIELD_INVALID, f"{EXTERNAL} is not 1 to 64 printable characters")
    return found


@lru_cache(maxsize=_TIMES)
def parse_time(text: str) -> tuple[datetime, str]:
    """Parse X-TIMESTAMP; return it, and its calendar day in Jakarta: a part of the event key.

    Raises:
        Refusal: TIMESTAMP_INVALID.
    """
    if _TIME.fullmatch(text):
        try:
            at = datetime.fromisoformat(text).astimezone(JAKARTA)
            return at, at.date().isoformat()
        except (ValueError, OverflowError):
            pass
    raise Refusal(Reason.TIMESTAMP_INVALID, f"{TIMESTAMP} is not ISO 8601 with an offset")


def check_age(age: timedelta, window: Window) -> None:
    """Raise `Refusal` TIMESTAMP_OUTSIDE_WINDOW unless a signed time so old is within it."""
    if window.past is not None and age > window.past:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, f"{TIMESTAMP} is {age} old")
    if window.future is not None and -age > window.future:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, f"{TIMESTAMP} is {-age} ahead")


# ---- bodies ---------------------------------------------------------------------------------


def replay_digest(service: str, subject: str | None, content: bytes, signed_at: str) -> bytes:
    """Return a digest of one message that does not depend on its X-EXTERNAL-ID.

    That header is not signed: whoever has seen a message could send it again under new ids. Nor
    is it said whether a retry keeps it. What names a payment and says the same of it is the same
    message; what names none has to be of the same time as well.
    """
    named = "" if subject is not None else signed_at
    return hashlib.sha256(f"{service}\n{named}\n".encode() + content).digest()


def subject_of(message: JsonObject) -> str | None:
    """Return what orders the message among others: its payment, if it names one."""
    for name in _SUBJECTS:
        # Of most it is quicker than to ask for what they have.
        value = message[name] if name in message else None  # noqa: SIM401
        if type(value) is str and value:
            return ids.spell(value)
    return None


def trimmed(message: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return a message with the account number that people know: it is padded with blanks."""
    padded = message.get(ACCOUNT_NUMBER)
    return {**message, ACCOUNT_NUMBER: padded.strip(" ")} if isinstance(padded, str) else message


def linked_account(message: JsonObject) -> str | None:
    """Return what a linked account is known by: nothing in its message names it but its token."""
    more = message.get("additionalInfo")
    token = more.get("accessToken") if isinstance(more, dict) else None
    if not isinstance(token, str) or not token:
        return None
    return ids.spell("account", hashlib.sha256(token.encode()).hexdigest()[:32])


def merchants(message: JsonObject) -> Iterator[str]:
    """Yield what names the merchant: its id, and of a virtual account its service.

    The id further in counts where there is none at the top: a merchant writes some of what is
    there. The service is padded with blanks to eight characters. Messages of QRIS name no merchant
    in the documentation of Midtrans, and those of GoPay need not.
    """
    more = message.get("additionalInfo")
    named = message.get("merchantId")
    if not named and isinstance(more, dict):
        named = more.get("merchantId")
    if isinstance(named, str):
        yield named
    service = message.get("partnerServiceId")
    if isinstance(service, str):
        yield service.strip(" ")


def is_initial(message: JsonObject) -> bool:
    """Return whether the message announces a payment that is not over."""
    more = message.get("additionalInfo")
    flag = more.get("paymentFlagStatus") if isinstance(more, dict) else None
    status = message.get("latestTransactionStatus") if flag is None else flag
    return isinstance(status, str) and status in _INITIAL_STATUSES
