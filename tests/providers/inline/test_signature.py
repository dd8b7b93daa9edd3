"""A rule with its secrets."""

import hmac
import json
from datetime import timedelta

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.core.urls import signed_url
from relay.providers import Window
from relay.providers.inline import HeaderField, HeaderFields, JsonField, TimeRule
from relay.providers.inline.signature import WINDOW, SignatureCheck, Verified, time_of
from relay.providers.inline.signed_times import write_time
from tests.providers.inline.describe import AT, described, message

KEYED = described(format="t={timestamp},v1={signature}", signed="{timestamp}.{body}").signature
SECRETS = (Secret("old"), Secret("new"))


def mac(key: bytes, text: bytes) -> str:
    return hmac.digest(key, text, "sha256").hex()


def keyed(seconds: int, *keys: bytes) -> dict[str, str]:
    at = write_time(AT + timedelta(seconds=seconds), "s")
    entries = ",".join(f"v1={mac(key, at.encode() + b'.{}')}" for key in keys)
    return {"X-Signature": f"t={at},{entries}"}


def test_any_of_several_signatures_may_fit_any_of_several_secrets() -> None:
    check = SignatureCheck(KEYED, SECRETS, WINDOW)
    for keys, position in (((b"old",), 0), ((b"x", b"new"), 1), ((b"new", b"old", b"x"), 1)):
        found = check.verify(message(keyed(0, *keys)), AT)
        assert found == Verified(position, ("body",), ambiguous=False)
    with pytest.raises(Refusal) as caught:
        check.verify(message(keyed(0, b"x", b"y")), AT)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH


def test_the_window_is_the_endpoints() -> None:
    narrow = SignatureCheck(KEYED, SECRETS, Window(timedelta(seconds=1), None))
    narrow.verify(message(keyed(999999, b"old")), AT)
    narrow.verify(message(keyed(-1, b"old")), AT)
    with pytest.raises(Refusal) as caught:
        narrow.verify(message(keyed(-2, b"old")), AT)
    assert caught.value.reason is Reason.TIMESTAMP_OUTSIDE_WINDOW


def test_the_signature_is_looked_at_before_the_time() -> None:
    check = SignatureCheck(KEYED, SECRETS, WINDOW)
    with pytest.raises(Refusal) as caught:
        check.verify(message(keyed(-999999, b"x")), AT)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    signed = {"X-Signature": f"t=soon,v1={mac(b'old', b'soon.{}')}"}
    with pytest.raises(Refusal) as caught:
        check.verify(message(signed), AT)
    assert caught.value.reason is Reason.TIMESTAMP_INVALID


def test_a_time_inside_the_body() -> None:
    rule = described(time=TimeRule(JsonField("/at"), "iso8601")).signature
    check = SignatureCheck(rule, SECRETS, WINDOW)
    body = b'{"at": "2026-01-05T12:00:00Z"}'
    check.verify(message({"X-Signature": mac(b"old", body)}, body), AT)
    with pytest.raises(Refusal) as caught:
        check.verify(message({"X-Signature": mac(b"old", b"{}")}), AT)
    assert caught.value.reason is Reason.SIGNATURE_MISSING


def test_what_is_covered_is_told() -> None:
    rule = described(source=JsonField("/sig"), signed="{json:/a/b}{json:/c}").signature
    body = b'{"a": {"b": "x"}, "c": "y", "sig": "%s"}' % mac(b"new", b"xy").encode()
    found = SignatureCheck(rule, SECRETS, WINDOW).verify(message(body=body), AT)
    assert found == Verified(1, ("a/b", "c"), ambiguous=True)


def test_when_the_time_is_read_as_seconds() -> None:
    assert time_of(KEYED) == TimeRule(None, "s")
    given = TimeRule(HeaderField("X-Time"), "ms")
    assert time_of(described(time=given).signature) == given
    assert time_of(described().signature) is None


def test_an_id_that_holds_its_own_end_is_refused_although_it_is_signed() -> None:
    rule = described(signed="{header:X-Id}.{body}").signature
    check = SignatureCheck(rule, SECRETS, WINDOW)
    good = message({"X-Id": "a", "X-Signature": mac(b"old", b"a.b.{}")}, b"b.{}")
    assert check.verify(good, AT).signed == ("body",)
    with pytest.raises(Refusal) as caught:
        check.verify(message({"X-Id": "a.b", "X-Signature": mac(b"old", b"a.b.{}")}), AT)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH


def test_a_path_that_holds_its_own_end_is_refused_unless_the_url_is_configured() -> None:
    rule = described(signed="{path_query}:{body}").signature
    signed = {"X-Signature": mac(b"old", b"/hook?a=1:b:{}")}
    for target, body in (("/hook?a=1:b", b"{}"), ("/hook?a=1", b"b:{}")):
        check = SignatureCheck(rule, SECRETS, WINDOW)
        if ":" not in target:
            assert check.verify(message(signed, body, target=target), AT).signed == ("body",)
            continue
        with pytest.raises(Refusal) as caught:
            check.verify(message(signed, body, target=target), AT)
        assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    known = SignatureCheck(rule, SECRETS, WINDOW, url_known=True)
    public = signed_url("https://pay.example.com/hook?a=1:b")
    assert known.verify(message(signed, public=public), AT).signed == ("body",)


@pytest.mark.parametrize(
    ("time", "form", "body"),
    [
        (TimeRule(JsonField("/t"), "s"), "{signature}", {"t": "\u2603", "sig": "00"}),
        (None, "t={timestamp},v1={signature}", {"t": "1", "sig": "t=\u2603,v1=00"}),
    ],
)
def test_a_time_that_no_time_is_written_in_is_refused(
    time: TimeRule | None, form: str, body: dict[str, str]
) -> None:
    rule = described(
        signed="{timestamp}.{json:/id}", time=time, source=JsonField("/sig"), format=form
    ).signature
    with pytest.raises(Refusal) as caught:
        SignatureCheck(rule, SECRETS, WINDOW).verify(message(body=json.dumps(body).encode()), AT)
    assert caught.value.reason is Reason.TIMESTAMP_INVALID


def test_a_time_inside_the_body_says_nothing_about_the_event() -> None:
    time = TimeRule(JsonField("/t"), "iso8601")
    rule = described(signed="{json:/t}:{json:/a}", time=time).signature
    check = SignatureCheck(rule, SECRETS, WINDOW)
    at = "2026-01-05T12:00:00Z"
    signed = {"X-Signature": mac(b"old", f"{at}:".encode())}
    with pytest.raises(Refusal) as caught:
        check.verify(message(signed, f'{{"t": "{at}", "b": 1}}'.encode()), AT)
    assert caught.value.reason is Reason.FIELD_INVALID


@pytest.mark.parametrize("body", [b"{}", b'{"a": null}', b'{"a": ""}', b'{"b": 1}'])
def test_a_signature_over_none_of_this_body_is_refused(body: bytes) -> None:
    rule = described(format="{signature}", signed="{header:X-Id}:{json:/a}").signature
    check = SignatureCheck(rule, SECRETS, WINDOW)
    headers = {"X-Id": "7", "X-Signature": mac(b"old", b"7:")}
    with pytest.raises(Refusal) as caught:
        check.verify(message(headers, body), AT)
    assert caught.value.reason is Reason.FIELD_INVALID


SEVERAL = described(source=HeaderFields(("X-One", "X-Two")), format="v1={signature}").signature


@pytest.mark.parametrize(
    ("headers", "position"),
    [
        ({"X-One": "v1=" + mac(b"old", b"{}")}, 0),
        ({"X-Two": "v1=" + mac(b"new", b"{}")}, 1),
        ({"X-One": "v1=" + mac(b"x", b"{}"), "X-Two": "v1=" + mac(b"new", b"{}")}, 1),
        ({"X-One": "v2=00", "X-Two": "v1=" + mac(b"old", b"{}")}, 0),
        ({"X-One": "", "X-Two": "v1=" + mac(b"old", b"{}")}, 0),
    ],
)
def test_a_signature_in_any_of_several_fields_fits(headers: dict[str, str], position: int) -> None:
    found = SignatureCheck(SEVERAL, SECRETS, WINDOW).verify(message(headers), AT)
    assert found == Verified(position, ("body",), ambiguous=False)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, Reason.SIGNATURE_MISSING),
        ({"X-One": "", "X-Two": ""}, Reason.SIGNATURE_MISSING),
        ({"X-One": "v1="}, Reason.SIGNATURE_MISSING),
        ({"X-Three": "v1=" + mac(b"old", b"{}")}, Reason.SIGNATURE_MISSING),
        ({"X-One": "v2=00", "X-Two": "v3=00"}, Reason.SIGNATURE_MISMATCH),
        ({"X-One": mac(b"old", b"{}")}, Reason.SIGNATURE_MISMATCH),
        ({"X-One": "v1=" + mac(b"x", b"{}"), "X-Two": "v1=00"}, Reason.SIGNATURE_MISMATCH),
    ],
)
def test_without_a_signature_that_fits_in_any_field_it_is_refused(
    headers: dict[str, str], reason: Reason
) -> None:
    with pytest.raises(Refusal) as caught:
        SignatureCheck(SEVERAL, SECRETS, WINDOW).verify(message(headers), AT)
    assert caught.value.reason is reason
