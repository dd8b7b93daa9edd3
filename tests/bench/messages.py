"""The requests that are sent: signed as the providers sign them, and each one different."""

import hashlib
import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from relay.core.clock import SystemClock
from relay.core.request import Headers
from relay.core.secret import Secret
from relay.providers import Provider, Sample, SampleOrder
from relay.providers.builtin import provider_named
from tests.harness.wire import request

MIDTRANS_KEY: Final = "SB-Mid-server-0123456789abcdefABCDEF"
VIPPS_SECRET: Final = "c2VjcmV0LW9mLXRoZS1iZW5jaA=="

#: An address that Midtrans lists for HTTP notifications, one for BI-SNAP, and one of Vipps.
MIDTRANS_CLIENT, SNAP_CLIENT, VIPPS_CLIENT = "103.208.23.6", "8.215.30.222", "104.45.17.199"

PATH: Final = "/hook"
SNAP_PREFIX: Final = "/snap"
VIPPS_PATH: Final = "/vipps"
HOST: Final = "relay.example.com"
VIPPS_URL: Final = f"http://{HOST}{VIPPS_PATH}"

_ORDERS: Final = 1000
_MARK: Final = "############"


@dataclass(frozen=True, slots=True)
class Stock:
    """Requests in a file, all of one length.

    mark: where in each the counter goes that makes it unique; None: each is unique by itself, and
        there are no more than `count`.
    """

    path: Path
    count: int
    length: int
    mark: int | None = None

    def repeated(self, used: int) -> int:
        """Return how many of the first `used` requests were not unique."""
        return 0 if self.mark is not None else max(0, used - self.count)


def midtrans(directory: Path) -> Stock:
    """Make notifications of a payment with bodies of 1.4 kB.

    Midtrans signs order id, status code and amount, so the transaction id can be a counter: the
    event key holds it, and no two events are the same.
    """
    dice = Random(7)
    requests = [_midtrans(number, dice) for number in range(_ORDERS)]
    mark = requests[0].index(_MARK.encode())
    if any(each.index(_MARK.encode()) != mark for each in requests):
        raise ValueError("the counter must stand at one place in all requests")
    return _stock(directory / "midtrans.requests", requests, mark)


def snap(directory: Path, count: int) -> tuple[Stock, Path]:
    """Make so many QRIS notifications of BI-SNAP; also return the file of the public key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = directory / "snap.pem"
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    sample = _sample("midtrans-snap", SNAP_PREFIX, private.decode())
    requests = [_snap(sample, key, number) for number in range(count)]
    return _stock(directory / "snap.requests", requests), public


def vipps(directory: Path, count: int) -> Stock:
    """Make so many messages of the Vipps MobilePay Webhooks API."""
    samples = (_sample("vipps", VIPPS_PATH, VIPPS_SECRET) for _ in range(count))
    requests = [_sent(each, VIPPS_PATH, VIPPS_CLIENT) for each in samples]
    return _stock(directory / "vipps.requests", requests)


def _stock(path: Path, requests: list[bytes], mark: int | None = None) -> Stock:
    lengths = {len(each) for each in requests}
    if len(lengths) != 1:
        raise ValueError(f"requests of one stock must have one length: {lengths}")
    path.write_bytes(b"".join(requests))
    return Stock(path, len(requests), lengths.pop(), mark)


def _sample(provider: str, path: str, secret: str) -> Sample:
    found: Provider = provider_named(provider)
    url = f"http://{HOST}{path}"
    return found.sample(SampleOrder(url, Secret(secret), SystemClock().now()))


def _sent(sample: Sample, path: str, client: str) -> bytes:
    headers = [("Host", HOST), *sample.headers, ("X-Forwarded-For", client)]
    return request(sample.method, path + sample.suffix, headers, sample.body)


def _snap(sample: Sample, key: rsa.RSAPrivateKey, number: int) -> bytes:
    """Return the sample with another reference: loading the key for each would take minutes."""
    fields = dict(sample.headers)
    message = {**json.loads(sample.body), "originalReferenceNo": f"bench-{number:012d}"}
    body = json.dumps(message, separators=(",", ":")).encode()
    digest = hashlib.sha256(body).hexdigest()
    signed = f"{sample.method}:{sample.suffix}:{digest}:{fields['X-TIMESTAMP']}"
    signature = key.sign(signed.encode(), PKCS1v15(), SHA256())
    fields["X-SIGNATURE"] = b64encode(signature).decode()
    fields["X-EXTERNAL-ID"] = f"{number:020d}"
    changed = Sample(sample.method, sample.suffix, Headers(tuple(fields.items())), body)
    return _sent(changed, SNAP_PREFIX, SNAP_CLIENT)


def _midtrans(number: int, dice: Random) -> bytes:
    order, amount = f"ORD-{number:08d}-sample", f"{dice.randint(10**5, 10**6 - 1)}.00"
    signed = f"{order}200{amount}{MIDTRANS_KEY}"
    message = {
        "transaction_time": "2026-11-21 01:02:03",
        "transaction_status": "settlement",
        "transaction_id": f"00000000-0000-4000-8000-{_MARK}",
        "status_message": "midtrans payment notification",
        "status_code": "200",
        "signature_key": hashlib.sha512(signed.encode()).hexdigest(),
        "settlement_time": "2026-11-21 01:02:09",
        "payment_type": "qris",
        "order_id": order,
        "merchant_id": "G141532850",
        "issuer": "gopay",
        "gross_amount": amount,
        "fraud_status": "accept",
        "currency": "IDR",
        "acquirer": "gopay",
        "shopeepay_reference_number": "",
        "reference_id": f"{dice.getrandbits(128):032x}",
        "expiry_time": "2026-11-21 01:17:03",
        "customer_details": {
            "first_name": "Budi",
            "last_name": "Utomo",
            "email": "budi.utomo@example.com",
            "phone": "+628123456789",
        },
        "metadata": {
            "cart": [f"{dice.getrandbits(64):016x}" for _ in range(12)],
            "note": f"Pembayaran pesanan nomor {order}",
            "channel": "web",
            "extra": {"a": 1, "b": 2.5, "c": None, "d": True},
        },
        "custom_field1": "x" * 90,
        "custom_field2": "y" * 40,
        "custom_field3": "",
    }
    headers = [
        ("Host", HOST),
        ("User-Agent", "Veritrans"),
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
        ("X-Forwarded-For", MIDTRANS_CLIENT),
    ]
    return request("POST", PATH, headers, json.dumps(message).encode())
