"""What kind of body a description reads, and what its Content-Type has to say."""

import hmac
from typing import Any

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import Headers
from relay.providers import RequiredField
from relay.providers.inline import Field, FormField, HeaderField, JsonField
from relay.providers.inline.bodies import reads_form, reads_json, takes_list, type_check
from relay.providers.media_type import FORM, check_form, check_json
from tests.providers.inline.describe import bound, delivery, described


@pytest.mark.parametrize(
    ("rule", "json", "form", "listed"),
    [
        ({}, False, False, False),
        ({"signed": "{json:/a}"}, True, False, False),
        ({"signed": "{json:/0/a}"}, True, False, True),
        ({"signed": "{json_sorted}"}, True, False, False),
        ({"signed": "{form:a}"}, False, True, False),
        ({"signed": "{md5_hex:form_sorted}"}, False, True, False),
        ({"source": FormField("sign"), "signed": "{form_sorted}"}, False, True, False),
        ({"event_key": (JsonField("/0/id"),)}, True, False, True),
        ({"event_key": (FormField("id"),)}, False, True, False),
    ],
)
def test_what_a_body_is(rule: dict[str, Any], *, json: bool, form: bool, listed: bool) -> None:
    description = described(**rule)
    assert reads_json(description) is json
    assert reads_form(description) is form
    assert takes_list(description) is listed


def test_what_must_have_a_value_is_in_a_body_of_json() -> None:
    required = (RequiredField("/merchantId", ("G1",)),)
    inspector = bound(described(), "key", must=required)

    def judged(body: bytes) -> Reason | None:
        headers = {"X-Signature": hmac.digest(b"key", body, "sha256").hex()}
        try:
            inspector.verify(delivery(headers, body))
        except Refusal as refusal:
            return refusal.reason
        return None

    assert judged(b'{"merchantId": "G1"}') is None
    assert judged(b'{"merchantId": "G2"}') is Reason.FIELD_FOREIGN
    assert judged(b"") is Reason.BODY_MALFORMED
    assert judged(b"merchantId=G1") is Reason.BODY_MALFORMED
    listed = bound(described(), "key", must=(RequiredField("/*/merchantId", ("G1",)),))
    body = b'[{"merchantId": "G1"}]'
    listed.verify(delivery({"X-Signature": hmac.digest(b"key", body, "sha256").hex()}, body))


@pytest.mark.parametrize(
    ("signed", "source", "check"),
    [
        ("{body}", HeaderField("A"), None),
        ("{body_without:/s}", JsonField("/s"), None),
        ("{json:/a}{body}", HeaderField("A"), None),
        ("{json:/a}", HeaderField("A"), check_json),
        ("{sha256_hex:json_sorted}", HeaderField("A"), check_json),
        ("{form:a}", HeaderField("A"), check_form),
        ("{form_sorted}", FormField("s"), check_form),
    ],
)
def test_what_its_type_has_to_be(signed: str, source: Field, check: object) -> None:
    assert type_check(described(signed=signed, source=source)) is check
    assert type_check(described(scheme="token")) is None


@pytest.mark.parametrize(
    "values",
    [(FORM,), (f"{FORM}; charset=UTF-8",), (f'{FORM.upper()} ;charset="utf-8"; x=y',)],
)
def test_what_says_a_form(values: tuple[str, ...]) -> None:
    check_form(Headers(tuple(("Content-Type", value) for value in values)))


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("application/json",),
        ("multipart/form-data; boundary=x",),
        (f"{FORM}; charset=utf-16",),
        (FORM, FORM),
        (f"text/plain, {FORM}",),
    ],
)
def test_what_says_none(values: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as caught:
        check_form(Headers(tuple(("Content-Type", value) for value in values)))
    assert caught.value.reason is Reason.FIELD_INVALID
