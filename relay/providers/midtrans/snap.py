"""Midtrans BI-SNAP: payment notifications for GoPay, QRIS and bank transfers (VA), linked accounts.

Midtrans is given one URL prefix and appends a path to it. The signature covers the method, that
path, the body and X-TIMESTAMP; it covers neither X-EXTERNAL-ID, which tells one message from the
next, nor X-PARTNER-ID. Midtrans takes exactly 200 for success, and tries again five times over
5 h 42 min after anything else.
"""

from datetime import date
from typing import Final

from relay.providers import (
    AddressList,
    Environment,
    Provider,
    ProviderInfo,
)
from relay.providers.snap import Dialect
from relay.providers.snap.provider import HEADERS, WINDOW, SnapProvider, shapes

# The page has no date of its own: this is the day it was read.
_ORIGIN = "Midtrans, Payment Notification API, 2026-11-21"
# fmt: off
_STAGING = (
    "3.1.141.98", "52.76.190.190", "13.251.192.204", "8.215.39.156", "8.215.77.79",
    "147.139.213.119", "8.215.56.11", "8.215.39.87", "8.215.42.0", "8.215.59.158",
    "149.129.222.246", "8.215.26.108", "8.215.13.84",
)
_SANDBOX = (
    "34.142.147.133", "34.142.169.131", "34.142.231.22", "35.240.161.215", "34.142.227.232",
    "34.124.184.175", "35.197.130.2", "34.142.233.114", "8.215.26.211", "8.215.22.135",
    "8.215.93.92", "8.215.93.214", "8.215.93.76", "8.215.33.37", "8.215.26.148",
    "8.215.194.225", "8.215.12.199", "149.129.255.111",
)
_PRODUCTION = (
    "13.228.166.126", "52.220.80.5", "3.1.123.95", "8.215.30.222", "147.139.209.49",
    "8.215.32.142", "147.139.163.77", "8.215.25.24", "8.215.3.193", "147.139.210.20",
    "149.129.238.95", "8.215.9.206", "147.139.134.22",
)
# fmt: on

DIALECT: Final = Dialect(
    echoed=("partnerServiceId", "customerNo", "virtualAccountNo", "trxId"),
)

INFO: Final = ProviderInfo(
    name="midtrans-snap",
    title="Midtrans BI-SNAP payment notification",
    environments={
        "production": Environment(listings=(AddressList(_ORIGIN, _PRODUCTION),)),
        "sandbox": Environment(listings=(AddressList(_ORIGIN, _SANDBOX),)),
        "staging": Environment(listings=(AddressList(_ORIGIN, _STAGING),)),
    },
    methods=("POST",),
    secrets="the public key that Midtrans shared, in PEM or the Base64 of it",
    signature=(
        "RSA (PKCS#1 v1.5) with SHA-256 in Base64, in X-SIGNATURE, of {method}:{path_query}:"
        "{sha256_hex:minified_body}:{header:X-TIMESTAMP}; the path is what Midtrans appends to"
        " the prefix, or the whole one"
    ),
    event_key=(
        "the service, X-EXTERNAL-ID and the calendar day of X-TIMESTAMP in Jakarta; the same"
        " content under another id is the same event"
    ),
    answers=(
        "200 and responseCode 200xx00 (xx is 56 for debit, 52 for QRIS, 25 for VA, 88 for a linked"
        " account); Midtrans tries again five times over 5 h 42 min after any other status, and"
        " three times within 140 ms where an account was linked"
    ),
    document="https://docs.midtrans.com/reference/payment-notification-api",
    reviewed=date(2026, 11, 21),
    shapes=shapes(DIALECT),
    headers=HEADERS,
    # Retries reach 5 h 42 min, and nobody says whether one is stamped anew.
    window=WINDOW,
)

PROVIDER: Final[Provider] = SnapProvider(INFO, DIALECT, "Midtrans")
