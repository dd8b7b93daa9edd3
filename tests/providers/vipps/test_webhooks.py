import hashlib
import hmac
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from relay.core.errors import Reason
from relay.core.request import Delivery, Headers, IngestResult, Verdict, Verification
from relay.core.secret import Secret
from relay.providers import (
    EndpointOptions,
    Inspector,
    Sample,
    SampleOrder,
    Window,
)
from relay.providers.vipps.webhooks import PROVIDER
from tests.contracts.proof import with_headers
from tests.contracts.provider import delivery_of, outcome
from tests.harness.deliveries import AnswerContext

KEY = Secret("A0+AeKBRG2KRGvnNwJpQlb6IJFk48CKXCIcrLoHncVJKDILsQSxS6NWCccwWm6r6FhGKhiHTBsG2wo==")
NOW = datetime(2026, 1, 5, 12, 0, 30, tzinfo=UTC)
URL = "https://pay.example.com/vipps"
EVENT = {
    "msn": "123456",
    "reference": "acme-shop-123",
    "pspReference": "3343121302",
    "name": "AUTHORIZED",
    "amount": {"currency": "NOK", "value": 49900},
    "timestamp": "2026-01-05T12:00:00Z",
    "success": True,
}
SIGNED_HEADERS = "SignedHeaders=x-ms-date;host;x-ms-content-sha256"


def bind(public_url: str | None = None, window: Window | None = None) -> Inspector:
    return PROVIDER.bind(EndpointOptions(secrets=(KEY,), public_url=public_url, window=window))


def signature(
    body: bytes, date: str, host: str = "pay.example.com", path_query: str = "/vipps"
) -> str:
    content = b64encode(hashlib.sha256(body).digest()).decode()
    signed = f"POST\n{path_query}\n{date};{host};{content}"
    return b64encode(hmac.new(KEY.reveal(), signed.encode(), "sha256").digest()).decode()


def message(
    event: object = EVENT,
    *,
    date: str | None = None,
    host: str = "pay.example.com",
    path_query: str = "/vipps",
    url: str = URL,
) -> Delivery:
    """Return a delivery as it arrives at `url`, signed for `host` and `path_query`."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    signed_at = format_datetime(NOW, usegmt=True) if date is None else date
    fields = (
        ("x-ms-date", signed_at),
        ("x-ms-content-sha256", b64encode(hashlib.sha256(body).digest()).decode()),
        ("Authorization", authorization(signature(body, signed_at, host, path_query))),
    )
    return delivery_of(Sample("POST", "", Headers(fields), body), url, NOW)


def authorization(mac: str, scheme: str = "HMAC-SHA256", headers: str = SIGNED_HEADERS) -> str:
    return f"{scheme} {headers}&Signature={mac}"


def changed(delivery: Delivery, name: str, value: str) -> Delivery:
    fields = ((key, value if key == name else item) for key, item in delivery.head.headers)
    return with_headers(delivery, *fields)


def accepted(event: object = EVENT) -> Verification:
    found = outcome(bind(), message(event))
    assert isinstance(found, Verification)
    return found


# ---- what is found --------------------------------------------------------------------------


def test_a_payment_event() -> None:
    verification = accepted()
    assert verification.key == "123456:3343121302:AUTHORIZED"
    assert verification.subject == "123456:acme-shop-123"
    assert verification.signed == ("body",)
    assert verification.secret == 0
    assert not verification.is_initial


def test_a_created_payment_opens_its_subject() -> None:
    assert accepted({**EVENT, "name": "CREATED"}).is_initial


def test_two_partial_captures_of_one_payment_are_two_events() -> None:
    captured = {**EVENT, "name": "CAPTURED"}
    first, second = accepted(captured), accepted({**captured, "pspReference": "3343121303"})
    assert first.key != second.key
    assert first.subject == second.subject


def test_two_sales_units_may_use_the_same_references() -> None:
    first, second = accepted(), accepted({**EVENT, "msn": "654321"})
    assert first.key != second.key
    assert first.subject != second.subject


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"agreementId": "agr_1", "eventType": "recurring.agreement-activated.v1"},
        {**EVENT, "pspReference": None},
        {**EVENT, "pspReference": 7},
        {**EVENT, "pspReference": ""},
        {**EVENT, "name": ["AUTHORIZED"]},
        {"pspReference": "1"},
        {"name": "AUTHORIZED"},
    ],
)
def test_an_event_without_an_identity_is_known_by_its_body(event: dict[str, object]) -> None:
    expected = hashlib.sha256(json.dumps(event).encode()).hexdigest()
    assert accepted(event).key == f"sha256:{expected}"


def test_missing_references_never_refuse() -> None:
    verification = accepted({"pspReference": "1", "name": "AUTHORIZED"})
    assert verification.key == ":1:AUTHORIZED"
    assert verification.subject is None


AGREEMENT = {
    "agreementId": "agr_1",
    "agreementUUID": "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d",
    "eventType": "recurring.agreement-activated.v1",
    "occurred": "2026-01-01T10:00:00Z",
    "msn": "123456",
}
CHARGE = {
    **{name: AGREEMENT[name] for name in ("agreementId", "occurred", "msn")},
    "chargeId": "chr_7",
    "eventType": "recurring.charge-reserved.v1",
    "amount": 49900,
}


@pytest.mark.parametrize("state", ["activated", "rejected", "stopped", "expired"])
def test_an_agreement_is_the_subject_of_its_events(state: str) -> None:
    verification = accepted({**AGREEMENT, "eventType": f"recurring.agreement-{state}.v1"})
    assert verification.subject == "123456:agreement:agr_1"
    assert verification.is_initial is (state == "activated")


@pytest.mark.parametrize(
    "state", ["reserved", "captured", "canceled", "refunded", "failed", "creation-failed"]
)
def test_a_charge_is_a_subject_of_its_own(state: str) -> None:
    verification = accepted({**CHARGE, "eventType": f"recurring.charge-{state}.v1"})
    assert verification.subject == "123456:charge:agr_1:chr_7"
    assert verification.is_initial is (state == "reserved")


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        # No charge was made.
        ({**CHARGE, "chargeId": None}, "123456:agreement:agr_1"),
        ({**CHARGE, "chargeId": 7}, "123456:agreement:agr_1"),
        ({**CHARGE, "agreementId": ""}, None),
        (
            {**AGREEMENT, "eventType": "donations.agreement.amount-changed.v1"},
            "123456:agreement:agr_1",
        ),
        ({"auth_req_id": "qwieuhwqiuhdiuwqh123"}, ":login:qwieuhwqiuhdiuwqh123"),
        ({"merchantQrId": "qr-1", "msn": "12345", "customerToken": "AAAA="}, "12345:qr:qr-1"),
        ({"msn": "12345", "eventType": "of.another.kind.v1"}, None),
        ({"agreementId": ["agr_1"], "msn": 7}, None),
    ],
)
def test_every_kind_of_event_has_its_subject(event: dict[str, object], subject: str | None) -> None:
    assert accepted(event).subject == subject


def test_a_reference_is_no_agreement() -> None:
    payment, agreement = accepted({**EVENT, "reference": "agr_1"}), accepted(AGREEMENT)
    assert payment.subject != agreement.subject


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"{", b"", b'{"a":1,"a":1}', b"\xef\xbb\xbf{}"])
def test_a_signed_body_that_is_no_event_is_malformed(body: bytes) -> None:
    assert outcome(bind(), message(body)) is Reason.BODY_MALFORMED


def test_the_signature_is_checked_before_the_body_is_read() -> None:
    delivery = replace(message(), body=b"{")
    assert outcome(bind(), delivery) is Reason.SIGNATURE_MISMATCH


# ---- the signature --------------------------------------------------------------------------


def test_the_secret_is_text_and_is_not_decoded() -> None:
    assert PROVIDER.bind(EndpointOptions(secrets=(KEY,))).verify(message()).secret == 0


def test_the_hash_of_the_body_is_compared_as_well() -> None:
    """The signature covers the header with the hash, so alone it would let any body through."""
    delivery = message()
    assert outcome(bind(), replace(delivery, body=delivery.body + b" ")) is (
        Reason.SIGNATURE_MISMATCH
    )


@pytest.mark.parametrize("scheme", ["HMAC-SHA256", "hmac-sha256", "Hmac-Sha256"])
def test_the_scheme_has_no_case(scheme: str) -> None:
    delivery = message()
    mac = delivery.head.headers.values("Authorization")[0].partition("Signature=")[2]
    found = outcome(bind(), changed(delivery, "Authorization", authorization(mac, scheme)))
    assert isinstance(found, Verification)


@pytest.mark.parametrize(
    "form",
    [
        "{mac}",
        "HMAC-SHA256 {mac}",
        "HMAC-SHA256 Signature={mac}",
        "HMAC-SHA256 Signature={mac}&SignedHeaders=x-ms-date;host;x-ms-content-sha256",
        "HMAC-SHA512 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={mac}",
        "Bearer SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={mac}",
        "HMAC-SHA256  SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={mac}",
        "HMAC-SHA256,SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={mac}",
        "HMAC-SHA256 SignedHeaders=&Signature={mac}",
        "HMAC-SHA256 SignedHeaders=x-ms-date&Signature={mac}",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host&Signature={mac}",
        "HMAC-SHA256 SignedHeaders=host;x-ms-date;x-ms-content-sha256&Signature={mac}",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256;a&Signature={mac}",
        "HMAC-SHA256 SignedHeaders=X-MS-DATE;host;x-ms-content-sha256&Signature={mac}",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&a=b&Signature={mac}",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={mac}&a=b",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={mac} ",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=x&Signature={mac}",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=é{mac}",
    ],
)
def test_an_authorization_of_another_form_is_refused(form: str) -> None:
    delivery = message()
    mac = delivery.head.headers.values("Authorization")[0].partition("Signature=")[2]
    found = outcome(bind(), changed(delivery, "Authorization", form.format(mac=mac)))
    assert found is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("name", ["x-ms-date", "x-ms-content-sha256"])
def test_a_signed_header_that_is_not_ascii_is_refused(name: str) -> None:
    assert outcome(bind(), changed(message(), name, "\xff")) is Reason.SIGNATURE_MISMATCH


def test_a_target_that_is_not_ascii_is_refused() -> None:
    delivery = message()
    for target in ("/vipps?\u20ac", "/vipps?\udcff"):
        moved = replace(delivery, head=replace(delivery.head, target=target))
        assert outcome(bind(), moved) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("hosts", [(), ("pay.example.com", "pay.example.com")])
def test_one_host_is_needed_where_no_public_url_is_set(hosts: tuple[str, ...]) -> None:
    delivery = message()
    _, *others = delivery.head.headers
    found = outcome(bind(), with_headers(delivery, *(("Host", h) for h in hosts), *others))
    assert found is Reason.SIGNATURE_MISMATCH


def test_another_method_was_not_signed() -> None:
    delivery = message()
    moved = replace(delivery, head=replace(delivery.head, method="PUT"))
    assert outcome(bind(), moved) is Reason.SIGNATURE_MISMATCH


# ---- the URL that was signed ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("public_url", "host", "path_query"),
    [
        ("https://pay.example.com/vipps", "pay.example.com", "/vipps"),
        ("https://pay.example.com:443/vipps", "pay.example.com", "/vipps"),
        ("http://pay.example.com:80/vipps", "pay.example.com", "/vipps"),
        ("https://pay.example.com:8443/vipps", "pay.example.com:8443", "/vipps"),
        ("https://pay.example.com:80/vipps", "pay.example.com:80", "/vipps"),
        ("https://PAY.example.com/Vipps/", "pay.example.com", "/Vipps/"),
        ("https://pay.example.com", "pay.example.com", "/"),
        ("https://pay.example.com?a=b", "pay.example.com", "/?a=b"),
        ("https://pay.example.com/v?shop=1&x=%2F", "pay.example.com", "/v?shop=1&x=%2F"),
        ("https://pay.example.com/v?", "pay.example.com", "/v?"),
        ("https://[2001:db8::1]:8443/v", "[2001:db8::1]:8443", "/v"),
    ],
)
def test_a_public_url_is_what_was_signed(public_url: str, host: str, path_query: str) -> None:
    arrived = message(host=host, path_query=path_query, url="http://10.0.0.7:8080/inner?y=1")
    assert isinstance(outcome(bind(public_url), arrived), Verification)


def test_beside_a_public_url_the_received_one_does_not_count() -> None:
    assert outcome(bind("https://other.example.com/vipps"), message()) is Reason.SIGNATURE_MISMATCH
    assert outcome(bind(URL + "?shop=1"), message()) is Reason.SIGNATURE_MISMATCH
    assert isinstance(outcome(bind(URL), message()), Verification)


@pytest.mark.parametrize("query", ["?a=b", "?a=%2f", "?", "?a=b?c"])
def test_without_one_the_query_is_that_which_arrived(query: str) -> None:
    signed = message(path_query="/vipps" + query, url=URL + query)
    assert isinstance(outcome(bind(), signed), Verification)
    assert outcome(bind(), message(url=URL + query)) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    "public_url",
    [
        "",
        "pay.example.com/vipps",
        "/vipps",
        "ftp://pay.example.com/",
        "https:///vipps",
        "https://user@pay.example.com/",
        "https://pay.example.com/#x",
        "https://pay.example.com/ x",
        "https://pay.example.com/\n",
        "https://pay.example.com:99999/",
        "https://pay.example.com:x/",
        "https://[::1/",
        "https://pay.example.com/\u00e9",
        "https://\u00e9.example.com/",
    ],
)
def test_a_public_url_that_cannot_have_been_registered_is_a_mistake(public_url: str) -> None:
    with pytest.raises(ValueError, match=r"^public_url: "):
        bind(public_url)


# ---- time -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "window", "reason"),
    [
        (timedelta(0), None, None),
        (timedelta(days=7), None, None),
        (timedelta(days=7, seconds=1), None, Reason.TIMESTAMP_OUTSIDE_WINDOW),
        (timedelta(minutes=-5), None, None),
        (timedelta(minutes=-5, seconds=-1), None, Reason.TIMESTAMP_OUTSIDE_WINDOW),
        (timedelta(days=9999), Window(None, None), None),
        (timedelta(days=-9999), Window(None, None), None),
        (timedelta(days=9999), Window(None, timedelta(0)), None),
        (timedelta(seconds=-1), Window(None, timedelta(0)), Reason.TIMESTAMP_OUTSIDE_WINDOW),
        (timedelta(seconds=2), Window(timedelta(seconds=1), None), Reason.TIMESTAMP_OUTSIDE_WINDOW),
    ],
)
def test_the_signed_time_lies_in_the_window(
    age: timedelta, window: Window | None, reason: Reason | None
) -> None:
    delivery = message(date=format_datetime(NOW - age, usegmt=True))
    found = outcome(bind(window=window), delivery)
    assert (None if isinstance(found, Verification) else found) is reason


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 05 Jan 2026 12:00:30 +0000",
        "Mon, 05 Jan 2026 12:00:30 UTC",
        "Mon, 05 Jan 2026 12:00:30 gmt",
        "Mon, 05 Jan 2026 12:00:30",
        "05 Jan 2026 12:00:30 GMT",
        "Tue, 05 Jan 2026 12:00:30 GMT",
        "mon, 05 jan 2026 12:00:30 GMT",
        "Mon, 5 Jan 2026 12:00:30 GMT",
        "Mon, 05 Jan 26 12:00:30 GMT",
        "Mon, 05 Foo 2026 12:00:30 GMT",
        "Mon, 32 Jan 2026 12:00:30 GMT",
        "Mon, 05 Jan 2026 24:00:30 GMT",
        "Mon, 05 Jan 2026 12:60:30 GMT",
        "Mon, 05 Jan 2026 12:00:60 GMT",
        "Mon, 05 Jan 0000 12:00:30 GMT",
        "Mon,05 Jan 2026 12:00:30 GMT",
        " Mon, 05 Jan 2026 12:00:30 GMT",
        "Mon, 05 Jan 2026 12:00:30 GMT (x)",
        "Monday, 05-Jan-26 12:00:30 GMT",
        "2026-01-05T12:00:30Z",
        "1767614430",
        "x",
    ],
)
def test_a_signed_date_of_another_form_is_unreadable(date: str) -> None:
    assert outcome(bind(window=Window(None, None)), message(date=date)) is Reason.TIMESTAMP_INVALID


def test_a_forged_message_learns_nothing_of_the_time() -> None:
    for date in ("x", format_datetime(NOW - timedelta(days=99), usegmt=True)):
        assert outcome(bind(), changed(message(), "x-ms-date", date)) is Reason.SIGNATURE_MISMATCH


# ---- configuration, answers, samples --------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (EndpointOptions(secrets=(KEY, Secret(" "))), "secrets.1: "),
        (EndpointOptions(secrets=(KEY,), order_id_pattern=".*"), "order_id_pattern: "),
        (EndpointOptions(secrets=(KEY,), partner_id="x"), "partner_id: "),
    ],
)
def test_an_unusable_term_is_named(options: EndpointOptions, named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(named)}"):
        PROVIDER.bind(options)


def test_the_answer_to_a_success_is_ok() -> None:
    ack = bind().answer(IngestResult(Verdict.ACCEPTED), AnswerContext("", b"", NOW))
    assert (ack.status, ack.body) == (200, b"OK")


def sample(changes: Mapping[str, str], url: str = URL, at: datetime = NOW) -> Sample:
    return PROVIDER.sample(SampleOrder(url, KEY, at, changes))


def test_a_sample_takes_changes_and_signs_them() -> None:
    made = sample({"pspReference": "1", "name": "CAPTURED", "msn": "42", "reference": "r"})
    verification = outcome(bind(), delivery_of(made, URL, NOW))
    assert isinstance(verification, Verification)
    assert (verification.key, verification.subject) == ("42:1:CAPTURED", "42:r")


@pytest.mark.parametrize("name", ["amount", "success", "unknown", "x-ms-date"])
def test_other_fields_of_a_sample_cannot_be_set(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        sample({name: "1"})


def test_a_sample_is_signed_for_the_url_it_goes_to() -> None:
    for url in ("http://127.0.0.1:8080/vipps?shop=1", "https://pay.example.com/"):
        assert isinstance(outcome(bind(), delivery_of(sample({}, url), url, NOW)), Verification)


def test_a_sample_is_dated_in_gmt_wherever_it_is_made() -> None:
    made = sample({}, at=NOW.astimezone(timezone(timedelta(hours=7))))
    assert made.headers.values("x-ms-date") == ("Mon, 05 Jan 2026 12:00:30 GMT",)
    assert json.loads(made.body)["timestamp"] == "2026-01-05T12:00:30Z"
