"""Messages of senders without a published one, signed here in the words of their documents.

Nothing of relay signs them, so that a file that is wrong about its sender is found.
"""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest

from relay.core.request import Delivery, Headers, Verification
from relay.providers import Sample
from tests.contracts.provider import delivery_of, outcome
from tests.senders.files import endpoint, inspector

#: What Basic takes for a user and a password.
KEY = "a-secret:of-this-sender-0123456789"
AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
SECONDS = str(int(AT.timestamp()))
FORM = "application/x-www-form-urlencoded"
BODY = b'{"id":"e-1","note":"Gr\xc3\xb6\xc3\x9fe \\/ x"}'


def _hex(text: bytes, algorithm: str = "sha256") -> str:
    return hmac.new(KEY.encode(), text, algorithm).hexdigest()


def _plain(name: str, value: str, body: bytes = BODY) -> Sample:
    headers = (("Content-Type", "application/json"), (name, value))
    return Sample("POST", "", Headers(headers), body)


def asana() -> Sample:
    return _plain("X-Hook-Signature", _hex(BODY))


def dropbox() -> Sample:
    return _plain("X-Dropbox-Signature", _hex(BODY))


def duitku() -> Sample:
    """md5(merchantCode + amount + merchantOrderId + apiKey)."""
    form = {"merchantCode": "D1", "amount": "150000", "merchantOrderId": "A-7", "resultCode": "00"}
    text = form["merchantCode"] + form["amount"] + form["merchantOrderId"] + KEY
    form["signature"] = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return Sample("POST", "", Headers((("Content-Type", FORM),)), urlencode(form).encode())


def ipaymu() -> Sample:
    """ksort, json_encode of PHP, which escapes slashes and all beyond ASCII; the VA is the key."""
    said: dict[str, object] = {
        "trx_id": 12345678,
        "status_code": 1,
        "Status": "berhasil",
        "url": "https://shop.example.com/notify",
        "buyer_name": "Größe",
        "additional_info": [],
        "is_escrow": False,
        "settlement_date": None,
    }
    sent, signed = (
        json.dumps(each, separators=(",", ":")).replace("/", "\\/").encode()
        for each in (said, dict(sorted(said.items())))
    )
    return _plain("X-Signature", _hex(signed), sent)


def meta() -> Sample:
    return _plain("X-Hub-Signature-256", "sha256=" + _hex(BODY))


def midtrans_iris() -> Sample:
    """SHA512(body + merchant key)."""
    return _plain("Iris-Signature", hashlib.sha512(BODY + KEY.encode()).hexdigest())


def postmark() -> Sample:
    return _plain("Authorization", "Basic " + b64encode(KEY.encode()).decode())


def trello() -> Sample:
    """The HMAC-SHA1 of the body with the callback URL behind it, in Base64."""
    text = BODY + b"https://pay.example.com/trello"
    return _plain("X-Trello-Webhook", b64encode(hmac.digest(KEY.encode(), text, "sha1")).decode())


def tripay() -> Sample:
    return _plain("X-Callback-Signature", _hex(BODY))


def zoom() -> Sample:
    made = _plain("x-zm-signature", "v0=" + _hex(f"v0:{SECONDS}:".encode() + BODY))
    return replace(made, headers=Headers((*made.headers, ("x-zm-request-timestamp", SECONDS))))


SENT: Mapping[str, Callable[[], Sample]] = {
    "asana": asana,
    "dropbox": dropbox,
    "duitku": duitku,
    "ipaymu": ipaymu,
    "meta": meta,
    "midtrans-iris": midtrans_iris,
    "postmark": postmark,
    "trello": trello,
    "tripay": tripay,
    "zoom": zoom,
}


def sent(name: str) -> Delivery:
    return delivery_of(SENT[name](), "https://pay.example.com/hooks", AT)


@pytest.mark.parametrize("name", SENT)
def test_it_is_taken_under_its_key_alone(name: str, tmp_path: Path) -> None:
    found, delivery = endpoint(name, tmp_path), sent(name)
    assert isinstance(outcome(inspector(found, KEY), delivery), Verification)
    assert not isinstance(outcome(inspector(found, KEY + "x"), delivery), Verification)
