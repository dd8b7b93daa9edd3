import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from relay.core.errors import Reason
from relay.core.request import Delivery, Headers, OnConflict, Verification
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Inspector, Sample, SampleOrder, Window
from relay.providers.midtrans.snap import PROVIDER
from tests.contracts.proof import with_headers
from tests.contracts.provider import delivery_of, outcome

NOW = datetime(2026, 1, 5, 12, 0, 30, tzinfo=UTC)
STAMP = "2026-01-05T19:00:30+07:00"
PREFIX = "https://pay.example.com/hooks/snap"
DEBIT, QRIS, ACCOUNT, LINK = PATHS = (
    "/v1.0/debit/notify",
    "/v1.0/qr/qr-mpm-notify",
    "/v1.0/transfer-va/payment",
    "/v1.0/registration-account/notify",
)
BODY = b'{"originalReferenceNo":"A1","latestTransactionStatus":"00","amount":{"value":"1.00"}}'
SPACED = BODY.replace(b":", b" : ", 1).replace(b",", b",\r\n\t", 1) + b" "


@cache
def rsa_key(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def keys(number: int = 0) -> tuple[Secret, Secret]:
    """Return a private key and its public one."""
    key = rsa_key(number)
    return (
        Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        Secret(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    )


def sign(text: str) -> str:
    signature = rsa_key(0).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return b64encode(signature).decode()


def bind(public_url: str | None = None, window: Window | None = None, **options: Any) -> Inspector:
    return PROVIDER.bind(
        EndpointOptions(secrets=(keys()[1],), public_url=public_url, window=window, **options)
    )


def message(
    body: bytes | Mapping[str, Any] = BODY,
    *,
    path: str = QRIS,
    url: str = PREFIX,
    stamp: str = STAMP,
    signed: bytes | None = None,
    signed_path: str | None = None,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> Delivery:
    """Return a delivery as it arrives below `url`, signed for `signed_path` and `signed`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    digest = hashlib.sha256(raw if signed is None else signed).hexdigest()
    text = f"{method}:{path if signed_path is None else signed_path}:{digest}:{stamp}"
    fields = {
        "X-TIMESTAMP": stamp,
        "X-SIGNATURE": sign(text),
        "X-PARTNER-ID": "",
        "X-EXTERNAL-ID": "12345678901234567890",
        **(headers or {}),
    }
    return delivery_of(Sample("POST", path, Headers(tuple(fields.items())), raw), url, NOW)


def accepted(delivery: Delivery, inspector: Inspector | None = None) -> Verification:
    found = outcome(inspector or bind(), delivery)
    assert isinstance(found, Verification), found
    return found


def without(delivery: Delivery, name: str) -> Delivery:
    return with_headers(delivery, *(f for f in delivery.head.headers if f[0] != name))


# ---- linked accounts ------------------------------------------------------------------------

LINKED = {
    "additionalInfo": {
        "accessToken": "MjAyMjEwMTM2NjE1OGRiMQ==",
        "merchantId": "G123123",
        "subMerchantId": "pop-id",
        "paymentType": "gopay",
        "accountStatus": "ENABLED",
        "statusMessage": "Account linked",
    }
}


def linked(**changes: object) -> Delivery:
    """Return the message of the documentation, with these things changed."""
    body = {"additionalInfo": {**LINKED["additionalInfo"], **changes}}
    return message(body, path=LINK)


def test_a_linked_account() -> None:
    verification = accepted(linked())
    assert verification.key == "88:12345678901234567890:2026-01-05"
    assert verification.tokens == ("/additionalInfo/accessToken",)
    assert verification.signed == ("body",)
    assert accepted(linked(), bind(merchant_id="G123123")) == verification
    assert outcome(bind(merchant_id="G1"), linked()) is Reason.FIELD_FOREIGN
    assert accepted(message(path=DEBIT)).tokens == ()


def test_a_linked_account_is_known_by_its_token_which_is_not_told() -> None:
    first, again = accepted(linked()), accepted(linked(accountStatus="DISABLED"))
    assert first.subject == again.subject
    assert accepted(linked(accessToken="other")).subject != first.subject
    assert first.subject is not None
    assert first.subject.startswith("account:")
    assert "MjAyMjEwMTM2" not in f"{first.subject}{first.key}"
    for missing in ("", None, 7):
        assert accepted(linked(accessToken=missing)).subject is None
    assert accepted(message({"additionalInfo": []}, path=LINK)).subject is None


def test_an_account_that_is_linked_again_is_another_event() -> None:
    later = "2026-01-05T19:00:31+07:00"
    first = accepted(message(LINKED, path=LINK))
    again = accepted(message(LINKED, path=LINK, stamp=later, headers={"X-EXTERNAL-ID": "2"}))
    assert first.replay_digest != again.replay_digest
    assert first.said == again.said


# ---- whose message it is ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (DEBIT, {"merchantId": "G1"}),
        (QRIS, {"merchantId": "G1", "additionalInfo": {"merchantId": "G2"}}),
        (ACCOUNT, {"partnerServiceId": "  088899", "additionalInfo": {"merchantId": "G1"}}),
        (ACCOUNT, {"partnerServiceId": "      G1"}),
    ],
)
def test_a_message_names_its_merchant(path: str, named: dict[str, object]) -> None:
    body = {"originalReferenceNo": "A1", **named}
    assert accepted(message(body, path=path), bind(merchant_id="G1")).key
    assert outcome(bind(merchant_id="G9"), message(body, path=path)) is Reason.FIELD_FOREIGN


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"merchantId": "g1"},
        {"merchantId": "G1 "},
        {"merchantId": ["G1"]},
        {"merchantId": None, "additionalInfo": ["G1"]},
        {"additionalInfo": {"subMerchantId": "G1"}},
        {"partnerServiceId": "G 1"},
        {"partnerServiceId": 1},
        {"merchantId": "G2", "additionalInfo": {"merchantId": "G1"}},
        {"merchantId": ["G2"], "additionalInfo": {"merchantId": "G1"}},
    ],
)
def test_a_message_that_does_not_is_foreign(named: dict[str, object]) -> None:
    body = {"originalReferenceNo": "A1", **named}
    for path in (DEBIT, QRIS, ACCOUNT):
        assert outcome(bind(merchant_id="G1"), message(body, path=path)) is Reason.FIELD_FOREIGN
        assert accepted(message(body, path=path)).key


# ---- what is found --------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "service"), [(DEBIT, "56"), (QRIS, "52"), (ACCOUNT, "25")])
def test_a_message(path: str, service: str) -> None:
    verification = accepted(message(path=path))
    assert verification.key == f"{service}:12345678901234567890:2026-01-05"
    assert verification.subject == "A1"
    assert verification.signed == ("body",)
    assert verification.secret == 0
    assert verification.on_conflict is OnConflict.REFUSE
    assert not verification.is_initial


def test_the_content_is_what_the_body_says() -> None:
    first, same = accepted(message()), accepted(message(SPACED))
    other = accepted(message(BODY.replace(b'"00"', b'"03"')))
    assert first.content == same.content
    assert first.content != other.content
    assert first.key == other.key


def test_a_message_under_another_id_is_the_same_event() -> None:
    first = accepted(message())
    replayed = accepted(message(SPACED, headers={"X-EXTERNAL-ID": "another"}))
    restamped = accepted(message(stamp="2026-01-05T19:00:00+07:00"))
    assert first.key != replayed.key
    assert first.replay_digest == replayed.replay_digest == restamped.replay_digest


def test_another_state_or_another_service_is_another_event() -> None:
    first = accepted(message()).replay_digest
    assert first is not None
    assert accepted(message(BODY.replace(b'"00"', b'"03"'))).replay_digest != first
    assert accepted(message(path=DEBIT)).replay_digest != first


def test_what_names_no_payment_is_the_same_event_at_the_same_time_alone() -> None:
    nameless = BODY.replace(b"originalReferenceNo", b"nothing")
    first = accepted(message(nameless))
    assert (
        accepted(message(nameless, headers={"X-EXTERNAL-ID": "2"})).replay_digest
        == first.replay_digest
    )
    later = accepted(message(nameless, stamp="2026-01-05T19:00:00+07:00"))
    assert later.replay_digest != first.replay_digest


@pytest.mark.parametrize(
    ("stamp", "day"),
    [
        ("2026-01-05T19:00:30+07:00", "2026-01-05"),
        ("2026-01-05T12:00:30Z", "2026-01-05"),
        ("2026-01-05T16:59:59.999999999Z", "2026-01-05"),
        ("2026-01-05T17:00:00Z", "2026-01-06"),
        ("2026-01-05T00:00:00+07:00", "2026-01-05"),
        ("2026-01-04T23:59:59+07:00", "2026-01-04"),
        ("2026-01-05T02:00:00+09:00", "2026-01-05"),
        ("2026-01-05T01:59:59+09:00", "2026-01-04"),
        ("2026-01-04T12:00:00-05:00", "2026-01-05"),
    ],
)
def test_the_day_of_an_id_is_jakartas(stamp: str, day: str) -> None:
    unlimited = bind(window=Window(None, None))
    assert accepted(message(stamp=stamp), unlimited).key == f"52:12345678901234567890:{day}"


@pytest.mark.parametrize(
    "external",
    ["1", "0", "20251010111230999500166931000229476ABCDEF", "x" * 64, "a b", "a:b", "#%"],
)
def test_an_id_is_text(external: str) -> None:
    found = accepted(message(headers={"X-EXTERNAL-ID": external})).key
    assert found.endswith(":2026-01-05")
    assert found.count(":") == 2


@pytest.mark.parametrize("external", ["", "x" * 65, "a\tb", "\xe9", "\x7f"])
def test_an_id_that_is_none(external: str) -> None:
    found = outcome(bind(), message(headers={"X-EXTERNAL-ID": external}))
    assert found is Reason.FIELD_INVALID


def test_an_id_is_there_exactly_once() -> None:
    good = message()
    twice = with_headers(good, *good.head.headers, ("X-External-Id", "2"))
    for bad in (without(good, "X-EXTERNAL-ID"), twice):
        assert outcome(bind(), bad) is Reason.FIELD_INVALID


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        ({"originalReferenceNo": "R", "trxId": "T", "paymentRequestId": "P"}, "R"),
        ({"trxId": "T", "paymentRequestId": "P"}, "T"),
        ({"paymentRequestId": "P"}, "P"),
        ({"originalReferenceNo": "", "trxId": 7, "paymentRequestId": "a:b é"}, "a%3Ab %C3%A9"),
        ({}, None),
        ({"originalReferenceNo": ["R"]}, None),
    ],
)
def test_what_a_message_is_about(body: dict[str, object], subject: str | None) -> None:
    assert accepted(message(body)).subject == subject


@pytest.mark.parametrize(
    ("body", "opening"),
    [
        ({"latestTransactionStatus": "03"}, True),
        ({"latestTransactionStatus": "00"}, False),
        ({"latestTransactionStatus": "08"}, False),
        ({"latestTransactionStatus": 3}, False),
        ({"additionalInfo": {"paymentFlagStatus": "01"}}, True),
        ({"additionalInfo": {"paymentFlagStatus": "02"}}, True),
        ({"additionalInfo": {"paymentFlagStatus": "03"}}, True),
        ({"additionalInfo": {"paymentFlagStatus": "07"}}, False),
        ({"additionalInfo": {"paymentFlagStatus": "00"}, "latestTransactionStatus": "03"}, False),
        ({"additionalInfo": "x", "latestTransactionStatus": "03"}, True),
        ({}, False),
    ],
)
def test_a_pending_payment_opens_its_subject(body: dict[str, object], opening: bool) -> None:
    assert accepted(message(body)).is_initial is opening


@pytest.mark.parametrize("body", [b"{}", b'{"qris":[],"unknown":{"a":null}}', b' {"a":1} '])
def test_no_field_is_needed(body: bytes) -> None:
    accepted(message(body))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b'"{}"', b"{", b'{"a":1}x', b'{"a":1,"a":2}', b"\xff", b'{"a":NaN}'),
        # The documentation's QRIS sample, and its answer for a VA: commas and a brace are missing.
        b'{"qris":{"issuerName":"gopay" "acquirerName":"gopay"}}',
        b'{"virtualAccountData":{"trxId":"1"}',
    ],
)
def test_a_signed_body_that_is_no_json_object(body: bytes) -> None:
    assert outcome(bind(), message(body)) is Reason.BODY_MALFORMED


# ---- what was signed ------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("url", [PREFIX, "https://pay.example.com", "http://10.0.0.1:8080/a/b/c"])
def test_the_appended_path_or_the_whole_one(path: str, url: str) -> None:
    whole = url.split("/", 3)[3] if url.count("/") > 2 else ""
    accepted(message(path=path, url=url))
    accepted(message(path=path, url=url, signed_path=f"/{whole}{path}".replace("//", "/")))


@pytest.mark.parametrize(
    ("public_url", "prefix"),
    [
        ("https://shop.example.com/payments/midtrans", "/payments/midtrans"),
        ("https://shop.example.com/payments/", "/payments"),
        ("https://shop.example.com/", ""),
        ("https://shop.example.com", ""),
        ("https://shop.example.com:8443/%41;b", "/%41;b"),
    ],
)
def test_the_configured_prefix_as_well(public_url: str, prefix: str) -> None:
    inspector = bind(public_url)
    accepted(message(signed_path=prefix + QRIS), inspector)
    accepted(message(), inspector)
    accepted(message(signed_path="/hooks/snap" + QRIS), inspector)


def test_the_configured_prefix_is_not_signed_unless_it_is_configured() -> None:
    elsewhere = message(signed_path="/payments" + QRIS)
    assert outcome(bind(), elsewhere) is Reason.SIGNATURE_MISMATCH
    other = bind("https://shop.example.com/payment")
    assert outcome(other, elsewhere) is Reason.SIGNATURE_MISMATCH


def test_a_query_is_signed_too() -> None:
    context = QRIS + "?a=%2F&b"
    accepted(message(path=context))
    accepted(message(path=context, signed_path="/hooks/snap" + context))
    accepted(message(path=context, signed_path="/p" + context), bind("https://shop.example.com/p"))
    assert outcome(bind(), message(path=context, signed_path=QRIS)) is Reason.SIGNATURE_MISMATCH
    assert outcome(bind(), message(signed_path=context)) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    "signed_path",
    [
        *(
            "",
            "/",
            QRIS + "/",
            QRIS[1:],
            QRIS.upper(),
            DEBIT,
            LINK,
            "/snap" + QRIS,
            "//hooks/snap" + QRIS,
        ),
        *(PREFIX + QRIS, "/hooks%2Fsnap" + QRIS, QRIS + "?", "/v1.0/qr/qr%2Dmpm-notify"),
    ],
)
def test_no_other_path(signed_path: str) -> None:
    assert outcome(bind(), message(signed_path=signed_path)) is Reason.SIGNATURE_MISMATCH


def test_the_method_is_signed() -> None:
    for method in ("post", "PUT", ""):
        assert outcome(bind(), message(method=method)) is Reason.SIGNATURE_MISMATCH


def test_the_bytes_as_they_came_or_minified() -> None:
    accepted(message(SPACED))
    accepted(message(SPACED, signed=BODY))
    assert outcome(bind(), message(BODY, signed=SPACED)) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    ("body", "signed"),
    [
        (b'{"n": 1.0}', b'{"n":1}'),
        (b'{"n": 1.0}', b'{"n":1.00}'),
        (b'{"u": "a\\/b"}', b'{"u":"a/b"}'),
        (b'{"u": "\xc3\xa9"}', b'{"u":"\\u00e9"}'),
        (b'{"b": 1, "a": 2}', b'{"a":2,"b":1}'),
        (b'{"a": " x"}', b'{"a":"x"}'),
        (b'{"a": {}}', b'{"a":[]}'),
    ],
)
def test_a_body_that_was_written_anew_is_another_one(body: bytes, signed: bytes) -> None:
    assert outcome(bind(), message(body, signed=signed)) is Reason.SIGNATURE_MISMATCH


def test_the_hash_is_in_lower_case_and_the_separators_are_colons() -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    good = message()
    for text in (
        f"POST:{QRIS}:{digest.upper()}:{STAMP}",
        f"POST\u201c:{QRIS}:{digest}:{STAMP}",
        f"POST{QRIS}{digest}{STAMP}",
        f"POST:{QRIS}:{digest}:{STAMP}\n",
        f"POST:{QRIS}:{digest}:2026-01-05T12:00:30Z",
        f"POST:{QRIS}:{BODY.decode()}:{STAMP}",
    ):
        signature = sign(text)
        bad = without(good, "X-SIGNATURE")
        bad = with_headers(bad, *bad.head.headers, ("X-SIGNATURE", signature))
        assert outcome(bind(), bad) is Reason.SIGNATURE_MISMATCH, text


def test_what_is_not_ascii_was_not_signed() -> None:
    good = message()
    for target in ("/hooks/snap" + QRIS + "?\xe9", "/hooks/snap" + QRIS + "?\udce9"):
        bad = replace(good, head=replace(good.head, target=target))
        assert outcome(bind(), bad) is Reason.SIGNATURE_MISMATCH


def test_any_of_several_keys_by_any_path_and_spelling() -> None:
    options = EndpointOptions(
        secrets=(keys(1)[1], keys()[1], keys(2)[1]), public_url="https://shop.example.com/p"
    )
    inspector = PROVIDER.bind(options)
    for path in ("/p" + QRIS, QRIS, "/hooks/snap" + QRIS):
        for signed in (SPACED, BODY):
            assert accepted(message(SPACED, signed_path=path, signed=signed), inspector).secret == 1


@pytest.mark.parametrize("name", ["X-SIGNATURE", "X-TIMESTAMP"])
def test_a_header_of_the_signature_is_there_exactly_once(name: str) -> None:
    good = message()
    twice = with_headers(good, *good.head.headers, (name.title(), "x"))
    empty = with_headers(without(good, name), *without(good, name).head.headers, (name, ""))
    for bad in (without(good, name), twice, empty):
        assert outcome(bind(), bad) is Reason.SIGNATURE_MISSING


def test_the_documentations_sample_signature_is_none() -> None:
    bad = message(headers={"X-SIGNATURE": "da1fa417c72d6b91c257e01e54fac824"})
    assert outcome(bind(), bad) is Reason.SIGNATURE_MISMATCH


# ---- time -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-01-05T19:00:30+07:00",
        "2026-01-05T19:00:30+0700",
        "2026-01-05T12:00:30Z",
        "2026-01-05T12:00:30.1Z",
        "2026-01-05T12:00:30.196Z",
        "2026-01-05T12:00:30.123456789Z",
        "2026-01-05T19:00:30.123456789+07:00",
        "2026-01-05T07:00:30-05:00",
        "2026-01-05T17:45:30+05:45",
        "2026-01-06T11:59:30+23:59",
        "2026-01-04T12:01:30-2359",
    ],
)
def test_a_time_in_the_forms_that_are_seen(stamp: str) -> None:
    accepted(message(stamp=stamp))


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-01-05T19:00:30",
        "2026-01-05 19:00:30+07:00",
        "2026-01-05T19:00+07:00",
        "2026-01-05",
        "20260105T120030Z",
        "2026-W02-1T12:00:30Z",
        "2026-01-05T12:00:30.1234567890Z",
        "2026-01-05T12:00:30.Z",
        "2026-01-05T12:00:30,1Z",
        "2026-01-05t12:00:30z",
        "2026-01-05T12:00:30Z+07:00",
        "2026-01-05T12:00:30 +07:00",
        "2026-13-05T12:00:30Z",
        "2026-02-30T12:00:30Z",
        "2026-01-05T25:00:30Z",
        "2026-01-05T12:00:60Z",
        "2026-01-05T12:00:30+24:00",
        "2026-01-05T12:00:30+0760",
        "2026-01-05T19:00:30+06:60",
        "2026-01-05T19:00:30+0660",
        "2026-01-05T19:00:30+07:99",
        "2026-01-05T12:00:30-24:00",
        "2026-01-05T12:00:30+30:00",
        "2026-01-05T12:00:30+7:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1767614430",
        "Mon, 05 Jan 2026 12:00:30 GMT",
        "2026-01-05T12:00:30\u00b2",
        "now",
    ],
)
def test_what_is_no_time(stamp: str) -> None:
    assert outcome(bind(), message(stamp=stamp)) is Reason.TIMESTAMP_INVALID
    assert (
        outcome(PROVIDER.bind(EndpointOptions()), message(stamp=stamp)) is Reason.TIMESTAMP_INVALID
    )


@pytest.mark.parametrize(
    ("away", "found"),
    [
        (-timedelta(hours=24), None),
        (-timedelta(hours=24, seconds=1), Reason.TIMESTAMP_OUTSIDE_WINDOW),
        (timedelta(minutes=5), None),
        (timedelta(minutes=5, seconds=1), Reason.TIMESTAMP_OUTSIDE_WINDOW),
    ],
)
def test_the_usual_window(away: timedelta, found: Reason | None) -> None:
    delivery = message(stamp=(NOW + away).isoformat())
    assert (outcome(bind(), delivery) is found) is (found is not None)
    if found is None:
        accepted(delivery)


def test_a_window_of_ones_own() -> None:
    narrow = bind(window=Window(past=timedelta(seconds=1), future=timedelta()))
    accepted(message(stamp="2026-01-05T12:00:29Z"), narrow)
    for stamp in ("2026-01-05T12:00:28Z", "2026-01-05T12:00:31Z"):
        found = outcome(narrow, message(stamp=stamp))
        assert found is Reason.TIMESTAMP_OUTSIDE_WINDOW
    for stamp in ("1999-01-01T00:00:00Z", "2999-01-01T00:00:00Z"):
        accepted(message(stamp=stamp), bind(window=Window(None, None)))


def test_the_window_is_told_only_of_what_was_signed() -> None:
    old = message(stamp="2020-01-01T00:00:00+07:00", signed=b"other")
    assert outcome(bind(), old) is Reason.SIGNATURE_MISMATCH


# ---- partner --------------------------------------------------------------------------------


def test_a_partner_counts_only_when_configured() -> None:
    for partner in ("", "G1", "anything at all"):
        accepted(message(headers={"X-PARTNER-ID": partner}))
    accepted(without(message(), "X-PARTNER-ID"))


def test_a_configured_partner_is_the_only_one() -> None:
    inspector = bind(partner_id="G1")
    good = message(headers={"X-PARTNER-ID": "G1"})
    accepted(good, inspector)
    for partner in ("G2", "g1", "G11", "G"):
        bad = message(headers={"X-PARTNER-ID": partner})
        assert outcome(inspector, bad) is Reason.SIGNATURE_MISMATCH
    twice = with_headers(good, *good.head.headers, ("X-PARTNER-ID", "G2"))
    for bad in (message(), without(good, "X-PARTNER-ID"), twice):
        assert outcome(inspector, bad) is Reason.SIGNATURE_MISSING


def test_a_configured_partner_counts_without_secrets_too() -> None:
    inspector = PROVIDER.bind(EndpointOptions(partner_id="G1"))
    assert outcome(inspector, message()) is Reason.SIGNATURE_MISSING
    accepted(message(headers={"X-PARTNER-ID": "G1"}), inspector)


# ---- without secrets ------------------------------------------------------------------------


def test_an_unsigned_time_may_be_any() -> None:
    unsigned = PROVIDER.bind(EndpointOptions())
    delivery = without(message(stamp="2020-01-01T00:00:00+07:00"), "X-SIGNATURE")
    assert accepted(delivery, unsigned).key == "52:12345678901234567890:2020-01-01"


# ---- configuration --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (EndpointOptions(secrets=(Secret(""),)), "secrets.0: is empty; give the public key"),
        (
            EndpointOptions(secrets=(Secret("a-server-key"),)),
            "secrets.0: line 1: neither PEM nor Base64",
        ),
        (EndpointOptions(order_id_pattern=".*"), "order_id_pattern: "),
        (EndpointOptions(callback="checkout"), "callback: "),
        (EndpointOptions(public_url="https://pay.example.com/snap?a=1"), "public_url: "),
        (EndpointOptions(public_url="https://pay.example.com/snap#a"), "public_url: "),
        (EndpointOptions(public_url="https://pay.example.com/sn ap"), "public_url: "),
        (EndpointOptions(public_url="https://pay.example.com/\xe9"), "public_url: "),
        (EndpointOptions(public_url="/snap"), "public_url: "),
        (EndpointOptions(public_url="ftp://pay.example.com/snap"), "public_url: "),
        (EndpointOptions(public_url=PREFIX + QRIS), "public_url: Midtrans appends"),
        (EndpointOptions(public_url=PREFIX + QRIS + "/"), "public_url: Midtrans appends"),
    ],
)
def test_a_term_that_cannot_be_used(options: EndpointOptions, said: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(said)):
        PROVIDER.bind(options)


def test_the_key_that_is_none_is_counted() -> None:
    private, public = keys()
    with pytest.raises(ValueError, match=r"^secrets\.2: line 1: a PRIVATE KEY"):
        PROVIDER.bind(EndpointOptions(secrets=(public, public, private)))


# ---- samples --------------------------------------------------------------------------------


def order(secret: Secret | None = None, **changes: str) -> SampleOrder:
    return SampleOrder(PREFIX, secret or keys()[0], NOW, changes)


@pytest.mark.parametrize("path", PATHS)
def test_a_sample_of_each_path(path: str) -> None:
    sample = PROVIDER.sample(order(path=path))
    assert sample.suffix == path
    first = accepted(delivery_of(sample, PREFIX, NOW))
    second = accepted(delivery_of(PROVIDER.sample(order(path=path)), PREFIX, NOW))
    assert first.key != second.key
    assert first.subject != second.subject


def test_a_sample_is_qris_unless_asked_otherwise() -> None:
    sample = PROVIDER.sample(order())
    assert sample.suffix == QRIS
    assert sample.headers.values("X-TIMESTAMP") == (STAMP,)
    assert sample.headers.values("X-SIGNATURE")[0].endswith("==")
    assert b" " not in sample.body


def test_fields_and_headers_of_a_sample_can_be_set() -> None:
    changes = {
        "path": DEBIT,
        "X-EXTERNAL-ID": "7",
        "X-PARTNER-ID": "G7",
        "CHANNEL-ID": "7",
        "originalReferenceNo": "R7",
        "latestTransactionStatus": "03",
    }
    sample = PROVIDER.sample(SampleOrder(PREFIX, keys()[0], NOW, changes))
    verification = accepted(delivery_of(sample, PREFIX, NOW), bind(partner_id="G7"))
    assert (verification.key, verification.subject) == ("56:7:2026-01-05", "R7")
    assert verification.is_initial
    assert sample.headers.values("CHANNEL-ID") == ("7",)


@pytest.mark.parametrize("name", ["X-TIMESTAMP", "X-SIGNATURE", "amount", ""])
def test_what_cannot_be_set_in_a_sample(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: cannot be set"):
        PROVIDER.sample(SampleOrder(PREFIX, keys()[0], NOW, {name: "x"}))


def test_only_a_private_rsa_key_signs_a_sample() -> None:
    for secret in (Secret("server-key"), keys()[1]):
        with pytest.raises(ValueError, match="not a private RSA key in PEM"):
            PROVIDER.sample(order(secret))
    with pytest.raises(ValueError, match=r"^path: there are: /v1"):
        PROVIDER.sample(order(path="/v1.0/debit/notify/"))
