"""BI-SNAP, the national standard of Indonesia for payment APIs: what its senders have in common.

A sender is given one URL prefix and appends a path to it, which tells the service. Messages are
signed with the sender's private key (asymmetric), or with a shared secret and an access token that
the sender has asked for before (symmetric); the same paths, header fields and answers belong to
both. A `Dialect` says what one sender does of it; `provider` builds a provider of a dialect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Final

# ---- paths, header fields, time -------------------------------------------------------------

DEBIT: Final = "/v1.0/debit/notify"
QRIS: Final = "/v1.0/qr/qr-mpm-notify"
ACCOUNT: Final = "/v1.0/transfer-va/payment"
INQUIRY: Final = "/v1.0/transfer-va/inquiry"
LINK: Final = "/v1.0/registration-account/notify"
#: Where a sender that signs with a shared secret asks for the token that it signs with.
ACCESS: Final = "/v1.0/access-token/b2b"

#: Service codes of which something is known; a message of another is one like any.
DEBIT_SERVICE: Final = "56"
QRIS_SERVICE: Final = "52"
ACCOUNT_SERVICE: Final = "25"
INQUIRY_SERVICE: Final = "24"
LINK_SERVICE: Final = "88"
ACCESS_SERVICE: Final = "73"

#: The paths that senders append to a prefix, and the service code of each: those of events.
SERVICES: Final[Mapping[str, str]] = MappingProxyType(
    {
        DEBIT: DEBIT_SERVICE,
        QRIS: QRIS_SERVICE,
        ACCOUNT: ACCOUNT_SERVICE,
        LINK: LINK_SERVICE,
    }
)

#: Services that ask a question: the sender gets the upstream's own answer.
QUESTIONS: Final = frozenset({INQUIRY_SERVICE})

#: Where messages of a service hold the token that a customer's account is used with.
TOKENS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {LINK_SERVICE: ("/additionalInfo/accessToken",)}
)

#: The fields of a virtual account that the answer to its payment repeats.
ECHOED: Final = (
    "partnerServiceId",
    "customerNo",
    "virtualAccountNo",
    "virtualAccountName",
    "trxId",
    "paymentRequestId",
)

TIMESTAMP: Final = "X-TIMESTAMP"
SIGNATURE: Final = "X-SIGNATURE"
PARTNER: Final = "X-PARTNER-ID"
EXTERNAL: Final = "X-EXTERNAL-ID"
CHANNEL: Final = "CHANNEL-ID"
CLIENT: Final = "X-CLIENT-KEY"
AUTHORIZATION: Final = "Authorization"

#: Western Indonesia Time, which has no summer time.
JAKARTA: Final = timezone(timedelta(hours=7))


def stamp(at: datetime) -> str:
    """Return a time as SNAP writes it, such as `2024-03-19T14:30:00+07:00`."""
    return at.astimezone(JAKARTA).isoformat(timespec="seconds")


# ---- dialects -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one sender does of SNAP.

    services: the code of each path that it appends.
        Those of `QUESTIONS` are answered by the upstream.
    symmetric: it signs with a shared secret and an access token, not with a private key.
    token_path: where it asks for that token, below the prefix; None where it needs none.
    echoed: the fields that the answer to a virtual account's payment repeats.
    """

    services: Mapping[str, str] = field(default_factory=lambda: SERVICES)
    symmetric: bool = False
    token_path: str | None = None
    echoed: tuple[str, ...] = ECHOED
