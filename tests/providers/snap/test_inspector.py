"""What a symmetric signature is taken for, and what not; asymmetric ones are tried by Midtrans'."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.core.errors import Reason
from relay.core.request import Delivery, Headers, Verification
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Inspector, Sample
from relay.providers.snap import ACCESS, ACCOUNT, QRIS, SERVICES
from tests.contracts.proof import with_headers
from tests.contracts.provider import NOW, delivery_of, outcome
from tests.providers.snap.dialects import ASYMMETRIC, LIFE, WithToken

PREFIX = "https://pay.example.com/hooks/bank"
STAMP = "2026-01-05T19:00:00+07:00"
BODY = b'{"trxId":"A1","latestTransactionStatus":"00","amount":{"value":"1.00"}}'
SPACED = BODY.replace(b":", b" : ", 1) + b"\r\n"
SECRET = Secret("a-secret-of-both-sides")
PROVIDER = WithToken()
TOKEN = PROVIDER.token.reveal().decode()


def bind(public_url: str | None = None, **options: str) -> Inspector:
    return PROVIDER.bind(EndpointOptions((SECRET,), public_url, **options))  # type: ignore[arg-type]


def message(
    body: bytes = BODY,
    *,
    path: str = QRIS,
    signed_path: str | None = None,
    signed: bytes | None = None,
    stamp: str = STAMP,
    token: str = TOKEN,
    signed_token: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Delivery:
    digest = hashlib.sha256(body if signed is None else signed).hexdigest()
    between = token if signed_token is None else signed_token
    where = path if signed_path is None else signed_path
    text = f"POST:{where}:{between}:{digest}:{stamp}"
    mac = hmac.digest(SECRET.reveal(), text.encode(), "sha512")
    fields = {
        "X-TIMESTAMP": stamp,
        "X-SIGNATURE": b64encode(mac).decode(),
        "X-PARTNER-ID": "G1",
        "X-EXTERNAL-ID": "1",
        "Authorization": f"Bearer {token}",
        **(headers or {}),
    }
    return delivery_of(Sample("POST", path, Headers(tuple(fields.items())), body), PREFIX, NOW)


def accepted(delivery: Delivery, inspector: Inspector | None = None) -> Verification:
    found = outcome(inspector or bind(), delivery)
    assert isinstance(found, Verification), found
    return found


@pytest.mark.parametrize("path", SERVICES)
def test_a_message_of_each_service(path: str) -> None:
    found = accepted(message(path=path))
    assert found.key == f"{SERVICES[path]}:1:2026-01-05"
    assert (found.signed, found.secret) == (("body",), 0)
    assert TOKEN not in repr(found)


def test_the_appended_path_or_the_whole_one_or_the_public_one() -> None:
    accepted(message(signed_path="/hooks/bank" + QRIS))
    public = bind("https://shop.example.com/payments")
    accepted(message(signed_path="/payments" + QRIS), public)
    assert outcome(bind(), message(signed_path="/payments" + QRIS)) is Reason.SIGNATURE_MISMATCH
    assert outcome(bind(), message(signed_path=ACCOUNT)) is Reason.SIGNATURE_MISMATCH


def test_the_bytes_as_they_came_or_minified() -> None:
    accepted(message(SPACED))
    accepted(message(SPACED, signed=SPACED.replace(b" ", b"").strip()))
    assert outcome(bind(), message(BODY, signed=SPACED)) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    "value",
    [
        *("", "Bearer", "Bearer ", "{token}", "Basic {token}", "Token {token}"),
        "Bearer{token}",
    ],
)
def test_an_authorization_that_is_no_bearer(value: str) -> None:
    found = outcome(bind(), message(headers={"Authorization": value.format(token=TOKEN)}))
    assert found is Reason.SIGNATURE_MISSING


def test_a_bearer_in_any_case() -> None:
    accepted(message(headers={"Authorization": f"bearer {TOKEN}"}))


@pytest.mark.parametrize("token", ["other", "{} ", " {}", "{}x", "x{}"])
def test_a_token_that_was_not_issued(token: str) -> None:
    found = outcome(bind(), message(token=token.format(TOKEN)))
    assert found is Reason.SIGNATURE_MISMATCH


def test_a_token_that_is_not_the_signed_one() -> None:
    other = PROVIDER.issued.issue(NOW)
    assert outcome(bind(), message(signed_token=other)) is Reason.SIGNATURE_MISMATCH
    assert outcome(bind(), message(signed_token="")) is Reason.SIGNATURE_MISMATCH
    accepted(message(token=other))


def test_a_token_is_good_for_its_life() -> None:
    def later(time: timedelta) -> Delivery:
        sent = message(stamp=(NOW + time).isoformat())
        return replace(sent, head=replace(sent.head, received_at=NOW + time))

    accepted(later(LIFE - timedelta(seconds=1)))
    assert outcome(bind(), later(LIFE)) is Reason.SIGNATURE_MISMATCH


def test_an_asymmetric_message_is_no_symmetric_one() -> None:
    """What is signed without a token is not taken, though the secret is right."""
    digest = hashlib.sha256(BODY).hexdigest()
    mac = hmac.digest(SECRET.reveal(), f"POST:{QRIS}:{digest}:{STAMP}".encode(), "sha512")
    bare = message(headers={"X-SIGNATURE": b64encode(mac).decode()})
    assert outcome(bind(), bare) is Reason.SIGNATURE_MISMATCH
    gone = (field for field in bare.head.headers if field[0] != "Authorization")
    assert outcome(bind(), with_headers(bare, *gone)) is Reason.SIGNATURE_MISSING


def test_whose_message_it_is() -> None:
    assert outcome(bind(partner_id="G2"), message()) is Reason.SIGNATURE_MISMATCH
    accepted(message(), bind(partner_id="G1"))
    named = BODY.replace(b"{", b'{"merchantId":"M1",', 1)
    accepted(message(named), bind(merchant_id="M1"))
    assert outcome(bind(merchant_id="M2"), message(named)) is Reason.FIELD_FOREIGN
    assert outcome(bind(merchant_id="M1"), message()) is Reason.FIELD_FOREIGN


def test_a_question_for_a_token_is_no_message() -> None:
    for inspector in (bind(), PROVIDER.bind(EndpointOptions())):
        assert outcome(inspector, message(path=ACCESS)) is Reason.UNKNOWN_ENDPOINT
    unsigned = ASYMMETRIC.bind(EndpointOptions())
    assert accepted(message(path=ACCESS), unsigned).key.startswith("00:")
