"""What Midtrans BI-SNAP's parts share: the paths it appends, its header fields, and its clock."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Final

DEBIT: Final = "/v1.0/debit/notify"
QRIS: Final = "/v1.0/qr/qr-mpm-notify"
ACCOUNT: Final = "/v1.0/transfer-va/payment"

#: The paths that Midtrans appends to a prefix, and the service code of each.
SERVICES: Final[Mapping[str, str]] = MappingProxyType({DEBIT: "56", QRIS: "52", ACCOUNT: "25"})

TIMESTAMP: Final = "X-TIMESTAMP"
SIGNATURE: Final = "X-SIGNATURE"
PARTNER: Final = "X-PARTNER-ID"
EXTERNAL: Final = "X-EXTERNAL-ID"
CHANNEL: Final = "CHANNEL-ID"

#: Western Indonesia Time, which has no summer time.
JAKARTA: Final = timezone(timedelta(hours=7))


def stamp(at: datetime) -> str:
    """Return a time as SNAP writes it, such as `2024-03-19T14:30:00+07:00`."""
    return at.astimezone(JAKARTA).isoformat(timespec="seconds")
