"""Writers of Midtrans' messages: HTTP notifications and BI-SNAP."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from random import Random
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.core.secret import Secret
from relay.providers import EndpointOptions
from relay.providers.midtrans import notification, snap
from relay.providers.snap import ACCOUNT, DEBIT, QRIS
from tests.vectors.mutated import Message

# ---- HTTP notifications -----------------------------------------------------------------------

_KEY, _OTHER = "SB-Mid-server-0123456789abcdef", "SB-Mid-server-fedcba9876543210"

_NOTIFIED: Final = [
    notification.PROVIDER.bind(options)
    for options in (
        EndpointOptions(secrets=(Secret(_KEY),)),
        EndpointOptions(secrets=(Secret(_KEY),)),
        EndpointOptions(secrets=(Secret(_OTHER), Secret(_KEY))),
        EndpointOptions(secrets=(Secret(_OTHER),)),
        EndpointOptions(secrets=(Secret(_KEY),), order_id_pattern=r"ORD-[0-9]+|[a-z0-9]+"),
        EndpointOptions(),
    )
]

_ORDERS: Final = ("A", "payment_notif_test_1", "x" * 140, "12200", "2016-10-20 12:39:16 +0700", "")
_CODES: Final = ("200", "200", "200", "201", "407", "99", "2000", "abc")
_AMOUNTS: Final = ("10000.00", "0", "2700", "0.5", "200100", "01.0", "5", "1.000", "22201.00")
_STATUSES: Final = ("settlement", "settlement", "PENDING", "pending", "x:y", "refund", 5, None)
_IDS: Final = ("", "a:b", "é", "z" * 130, 7, None, True, {"x": 1}, 1.5, 10**25)


def notified(dice: Random) -> Message:
    """Write a notification of a payment or of a linked account."""
    fields = _account(dice) if dice.random() < 0.15 else _payment(dice)
    if dice.random() < 0.1:
        fields.pop(dice.choice([*fields]))
    if dice.random() < 0.1:
        fields[dice.choice([*fields])] = dice.choice(_IDS)
    body = _json(dice, fields)
    return Message(dice.choice(_NOTIFIED), body, [("Content-Type", "application/json")])


def _payment(dice: Random) -> dict[str, object]:
    order = dice.choice((*_ORDERS, *[f"ORD-{dice.randrange(10**6)}"] * 6))
    code = dice.choice(_CODES)
    amount = dice.choice((*_AMOUNTS, *[f"{dice.randrange(1, 10**7)}.00"] * 6))
    fields: dict[str, object] = {
        "order_id": order,
        "status_code": code,
        "gross_amount": amount,
        "transaction_status": dice.choice(_STATUSES),
        "transaction_id": dice.choice((*_IDS, *[f"t-{dice.randrange(9)}"] * 12)),
        "signature_key": hashlib.sha512(f"{order}{code}{amount}{_KEY}".encode()).hexdigest(),
    }
    if dice.random() < 0.5:
        fields["fraud_status"] = dice.choice(("accept", "accept", None, "a b", 3))
    if dice.random() < 0.2:
        fields["refund_amount"] = dice.choice(("5.00", 5, 5.25))
    if dice.random() < 0.2:
        entries = [{"refund_key": f"k{dice.randrange(3)}", "n": 1}, "x", {"reason": "none"}]
        fields["refunds"] = dice.choice((dice.sample(entries, 2), {"refund_key": "k"}, None))
    if dice.random() < 0.1:
        fields["account_id"] = "q"
    if dice.random() < 0.3:
        fields["n"] = dice.choice((1.5, 2, 10**20, -0.0, 1e300, [1, {"a": True}], "é\n"))
    return _shuffled(dice, fields)


def _account(dice: Random) -> dict[str, object]:
    account, code = dice.choice(("acc-1", "accPENDING", "é", "")), dice.choice(("200", "201", "9"))
    status = dice.choice(("ENABLED", "PENDING", "DISABLED", "EXPIRED", "UNKNOWN", "12"))
    signed = f"{account}{status}{code}{_KEY}".encode()
    return {
        "account_id": account,
        "account_status": status,
        "status_code": code,
        "signature_key": hashlib.sha512(signed).hexdigest(),
        "channel": dice.choice(("gopay", 1)),
    }


# ---- BI-SNAP ----------------------------------------------------------------------------------

_P = int(
    "e23fd1cdd7c3b1f850cbc5afdf649308064b1864700c5edf59972fe3c6418818e43a8715281dc628e30f1b"
    "6a9d039165ea8e9bf707f5693bc15d675372ec66d86ec650f47753bf0be4abb031bcf43cb9863468b33afe"
    "4faf114ce1140d2800ebf13fda9dae698d859748b707b50d48d088224fe70b33b3a0c87fb7313270005b",
    16,
)
_Q = int(
    "bce416533d042689713cf3941a85994924da612f68475d2565ae3122c2ea7811e802047b57c35c9e87f559"
    "2c38be175df3a227fe4d796362828fcd8ecd3038296b724db49b4fa2fe3034c1e7003ca70c043e5f4b8efd"
    "e3d62ed3f29f8be69762714b8b432521a25b8dce35dd628a7b0b67298a8c45c54f1a47a733420ec8c085",
    16,
)


def private_key(p: int, q: int) -> rsa.RSAPrivateKey:
    """Return the RSA key of two primes: the same one in each run."""
    e = 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key()


_RSA: Final = private_key(_P, _Q)
_PUBLIC: Final = Secret(
    _RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)
_URL: Final = "https://pay.example.com/public/snap"

_SNAP: Final = [
    snap.PROVIDER.bind(options)
    for options in (
        EndpointOptions(secrets=(_PUBLIC,)),
        EndpointOptions(secrets=(_PUBLIC,)),
        EndpointOptions(secrets=(_PUBLIC, _PUBLIC), public_url=_URL),
        EndpointOptions(secrets=(_PUBLIC,), partner_id="G1"),
        EndpointOptions(),
    )
]

_TIMES: Final = (
    *["2026-01-05T19:00:00+07:00"] * 14,
    *("2026-01-05T12:00:00Z", "2026-01-05T12:04:59.123456789Z", "2026-01-05T12:06:00Z"),
    *("2026-01-04T11:59:59Z", "2026-01-04T12:00:01+0000", "2026-01-05T00:30:00-11:30"),
    *(
        "2026-01-05 12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-05T12:00:00",
        "0001-01-01T00:00:00Z",
    ),
    *("9999-12-31T23:59:59-05:00", "2026-01-05T18:00:00+06:60", "2026-01-05T24:00:00Z", ""),
)
_EXTERNAL_IDS: Final = (*["1234567890"] * 4, "ABC-1", "a:b", "x" * 64, "x" * 65, "é", "")


def snapped(dice: Random) -> Message:
    """Write a notification of QRIS, of a debit or of a virtual account."""
    path = dice.choice((QRIS, QRIS, DEBIT, ACCOUNT, "/v1.0/other"))
    body = _json(dice, _snap_fields(dice))
    query = dice.choice(("", "", "", "?a=1"))
    signed_at = dice.choice(_TIMES)
    signed_path = (
        dice.choice((path, path, path, f"/snap{path}", f"/public/snap{path}", "/x")) + query
    )
    signed_body = body
    if dice.random() < 0.2:
        signed_body = json.dumps(
            json.loads(body), ensure_ascii=False, separators=(",", ":")
        ).encode()
    digest = hashlib.sha256(signed_body).hexdigest()
    text = f"POST:{signed_path}:{digest}:{signed_at}".encode()
    signature = b64encode(_RSA.sign(text, PKCS1v15(), SHA256())).decode("ascii")
    fields = [
        ("Content-Type", "application/json"),
        ("X-TIMESTAMP", signed_at),
        ("X-SIGNATURE", signature),
        ("X-PARTNER-ID", dice.choice(("G1", "G1", "G2"))),
        ("X-EXTERNAL-ID", dice.choice(_EXTERNAL_IDS)),
        ("CHANNEL-ID", "12345"),
    ]
    return Message(dice.choice(_SNAP), body, fields, f"/snap{path}{query}", path)


def _snap_fields(dice: Random) -> dict[str, object]:
    fields: dict[str, object] = {
        "originalReferenceNo": dice.choice((f"r-{dice.randrange(9)}", "", "a:b", "é", 5)),
        "latestTransactionStatus": dice.choice(("00", "01", "02", "03", "04", 1, None)),
        "amount": {"value": "12345678.00", "currency": "IDR"},
    }
    if dice.random() < 0.3:
        fields["trxId"] = dice.choice(("t-1", "", None))
    if dice.random() < 0.3:
        fields["paymentRequestId"] = "p-1"
    if dice.random() < 0.4:
        flag = dice.choice(({"paymentFlagStatus": "01"}, {"paymentFlagStatus": None}, {}, "x"))
        fields["additionalInfo"] = flag
    if dice.random() < 0.3:
        fields["n"] = dice.choice((1.5, 2, 10**20, [1, 2.50], "é"))
    return _shuffled(dice, fields)


# ---- bodies -----------------------------------------------------------------------------------


def _shuffled(dice: Random, fields: dict[str, object]) -> dict[str, object]:
    names = [*fields]
    dice.shuffle(names)
    return {name: fields[name] for name in names}


_SEPARATORS: Final[Sequence[tuple[str, str]]] = ((",", ":"), (", ", ": "))


def _json(dice: Random, fields: dict[str, object]) -> bytes:
    indent = 1 if dice.random() < 0.1 else None
    separators = None if indent else dice.choice(_SEPARATORS)
    ascii_only = dice.random() < 0.5
    text = json.dumps(fields, ensure_ascii=ascii_only, indent=indent, separators=separators)
    return text.encode()
