"""A token in the body or the query: verified, and masked in everything that goes further."""

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import form
from relay.core.errors import Reason, Refusal
from relay.core.request import Delivery, Verification
from relay.providers.inline import (
    Description,
    Field,
    FormField,
    HeaderField,
    JsonField,
    QueryField,
    Source,
)
from relay.providers.inline.provider import InlineProvider
from relay.providers.inline.token_masks import masked_form
from tests.providers.inline.describe import bound, delivery, described

TOKEN = "canary/ü 7"
EACH = JsonField("/value/*/clientState")


def token(source: Source, *key: Field, **rule: Any) -> Description:
    return described(event_key=key, scheme="token", source=source, **rule)


def verify(
    source: Source, body: bytes = b"{}", target: str = "/hook", *secrets: str
) -> Verification:
    return bound(token(source), *(secrets or (TOKEN,))).verify(delivery(body=body, target=target))


def refused(source: Source, body: bytes = b"{}", target: str = "/hook") -> Reason:
    with pytest.raises(Refusal) as refusal:
        verify(source, body, target)
    assert TOKEN not in str(refusal.value)
    return refusal.value.reason


def kept(verified: Verification) -> Delivery:
    assert verified.kept is not None
    return verified.kept


def notifications(*tokens: object) -> bytes:
    return orjson.dumps(
        {"value": [{"id": at, "clientState": each} for at, each in enumerate(tokens)]}
    )


# ---- what is kept ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "body", "shown"),
    [
        (JsonField("/t"), b'{"n": 1.50, "t": "canary/\\u00fc 7"}', b'{"n":1.50,"t":"***"}'),
        (JsonField("/0/t"), b'[{"t": "canary/\xc3\xbc 7", "n": 1.0}]', b'[{"t":"***","n":1.0}]'),
        (JsonField("/*/t"), b'[{"t": "canary/\xc3\xbc 7"}]', b'[{"t":"***"}]'),
        (JsonField("/a/0/t"), b'{"a": [{"t": "canary\\/\xc3\xbc 7"}]}', b'{"a":[{"t":"***"}]}'),
        (FormField("t"), b"a=1&t=canary%2f%C3%BC+7&b=%20", b"a=1&t=***&b=%20"),
        (FormField("t"), b"&&t=canary%2f%C3%BC+7&&b=1&", b"&&t=***&&b=1&"),
        (FormField("a b"), b"x=&a+b=canary%2F%c3%bc%207", b"x=&a+b=***"),
    ],
)
def test_the_body_is_kept_with_a_mask(source: Source, body: bytes, shown: bytes) -> None:
    found = verify(source, body)
    assert found.secret == 0
    assert found.signed == ()
    assert kept(found).body == shown
    assert kept(found).body_sha256 == hashlib.sha256(shown).digest()
    name = source.pointer if isinstance(source, JsonField) else source.name  # type: ignore[union-attr]
    assert found.redacted == (name,)
    assert found.key == f"sha256:{hashlib.sha256(shown).hexdigest()}"


def test_each_element_has_the_token_and_is_masked() -> None:
    found = verify(EACH, notifications(TOKEN, TOKEN))
    assert orjson.loads(kept(found).body) == {
        "value": [{"id": 0, "clientState": "***"}, {"id": 1, "clientState": "***"}]
    }
    assert found.redacted == ("/value/*/clientState",)


def test_the_query_is_kept_with_a_mask_and_the_upstream_is_told_of_no_field() -> None:
    found = verify(QueryField("t"), b"{}", "/hook?a=1&t=canary%2F%C3%BC+7")
    assert kept(found).head.target == "/hook?a=1&t=***"
    assert (kept(found).body, found.redacted) == (b"{}", ())


def test_the_same_event_under_another_token_is_the_same() -> None:
    one = verify(JsonField("/t"), b'{"id": 1, "t": "first"}', "/hook", "first", "second")
    other = verify(JsonField("/t"), b'{"id": 1, "t": "second"}', "/hook", "first", "second")
    assert (one.secret, other.secret) == (0, 1)
    assert (one.key, one.content) == (other.key, other.content)


def test_a_token_in_a_header_field_leaves_the_body_as_it_is() -> None:
    inspector = bound(token(HeaderField("X-Token")), "key")
    found = inspector.verify(delivery({"X-Token": "key"}, b'{"a": 1}'))
    assert (found.kept, found.redacted) == (None, ())


@pytest.mark.parametrize(
    ("source", "body"),
    [(JsonField("/t"), b'{"t": "***", "id": "7"}'), (FormField("t"), b"id=7&t=***")],
)
def test_what_was_kept_without_its_token_is_told_to_have_been_masked(
    source: Source, body: bytes
) -> None:
    found = bound(token(source)).verify(delivery(body=body))
    assert (found.redacted != (), kept(found).body.replace(b" ", b"")) == (
        True,
        body.replace(b" ", b""),
    )
    assert found.secret is None


def test_an_unsigned_message_without_a_token_is_kept_as_it_is() -> None:
    assert bound(token(JsonField("/t"))).verify(delivery(body=b'{"a": 1}')).kept is None
    assert bound(token(QueryField("t"))).verify(delivery(body=b'{"a": 1}')).kept is None


# ---- what is refused ------------------------------------------------------------------------

MISSING, MISMATCH = Reason.SIGNATURE_MISSING, Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    ("source", "body", "reason"),
    [
        (JsonField("/t"), b"{}", MISSING),
        (JsonField("/t"), b'{"t": ""}', MISSING),
        (JsonField("/t"), b'{"t": null}', MISSING),
        (JsonField("/t"), b'{"t": "canary/\xc3\xbc 8"}', MISMATCH),
        (JsonField("/t"), b'{"t": "Canary/\xc3\xbc 7"}', MISMATCH),
        (JsonField("/t"), b'{"t": " canary/\xc3\xbc 7"}', MISMATCH),
        (JsonField("/t"), b'{"t": "***"}', MISMATCH),
        (JsonField("/t"), b'{"t": ["canary/\xc3\xbc 7"]}', Reason.FIELD_INVALID),
        (JsonField("/t"), b'{"t": "canary/\xc3\xbc 7", "T": "x"}', Reason.FIELD_INVALID),
        (JsonField("/t"), b'{"t": "canary/\xc3\xbc 7", "t": "x"}', Reason.BODY_MALFORMED),
        (JsonField("/t"), b"t=canary", Reason.BODY_MALFORMED),
        (FormField("t"), b"a=1", MISSING),
        (FormField("t"), b"t=&a=1", MISSING),
        (FormField("t"), b"t=canary", MISMATCH),
        (FormField("t"), b"t=canary%2F%C3%BC+7&t=canary%2F%C3%BC+7", Reason.FIELD_INVALID),
        (FormField("t"), b'{"t": "canary"}', MISSING),
        (EACH, notifications(), MISSING),
        (EACH, notifications(TOKEN, "other"), MISMATCH),
        (EACH, notifications("other", TOKEN), MISMATCH),
        (EACH, notifications(TOKEN, ""), MISSING),
        (EACH, notifications(TOKEN, None), MISSING),
        (EACH, notifications(*[TOKEN] * 501), Reason.FIELD_INVALID),
        (EACH, b'{"value": {"clientState": "canary/\xc3\xbc 7"}}', MISSING),
        (EACH, b'{"value": [[{"clientState": "canary/\xc3\xbc 7"}]]}', MISSING),
        (JsonField("/value/0/clientState"), notifications(TOKEN, TOKEN), Reason.FIELD_INVALID),
        (JsonField("/value/0/clientState"), notifications(TOKEN, "x"), Reason.FIELD_INVALID),
    ],
)
def test_anything_but_the_token_in_its_place_is_refused(
    source: Source, body: bytes, reason: Reason
) -> None:
    assert refused(source, body) is reason


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/hook", MISSING),
        ("/hook?t=", MISSING),
        ("/hook?T=canary%2F%C3%BC+7", Reason.FIELD_INVALID),
        ("/hook?t=canary", MISMATCH),
        ("/hook?t=canary%2F%C3%BC+7&t=canary%2F%C3%BC+7", Reason.FIELD_INVALID),
        ("/hook?t=canary%2F%C3%BC+7&%74=x", Reason.FIELD_INVALID),
        ("/hook?t=%zz", Reason.BODY_MALFORMED),
    ],
)
def test_anything_but_the_token_in_the_query_is_refused(target: str, reason: Reason) -> None:
    assert refused(QueryField("t"), b"{}", target) is reason


def test_a_signature_is_verified_in_each_element() -> None:
    rule = described(scheme="hmac", source=JsonField("/a/*/s"), signed="{json:/a/*/id}")
    inspector = bound(rule, "key")
    signed = [
        {"id": "1", "s": "d8b51a3e"},
        {"id": "2", "s": "00"},
    ]
    import hmac  # noqa: PLC0415

    for each in signed:
        each["s"] = hmac.new(b"key", each["id"].encode(), "sha256").hexdigest()
    found = inspector.verify(delivery(body=orjson.dumps({"a": signed})))
    assert (found.secret, found.signed) == (0, ("a/*/id",))
    signed[1]["id"] = "3"
    with pytest.raises(Refusal) as refusal:
        inspector.verify(delivery(body=orjson.dumps({"a": signed})))
    assert refusal.value.reason is MISMATCH


@pytest.mark.parametrize(
    ("description", "place"),
    [
        (token(JsonField("/t"), JsonField("/t")), "event_key"),
        (token(JsonField("/a/t"), JsonField("/a")), "event_key"),
        (token(FormField("t"), FormField("t")), "event_key"),
        (token(QueryField("t"), QueryField("t")), "event_key"),
        (token(EACH, JsonField("/value/*/id")), "event_key"),
    ],
)
def test_a_token_names_no_event_and_no_more_do_many_values(
    description: Description, place: str
) -> None:
    with pytest.raises(ValueError, match=f"^{place}: "):
        InlineProvider(description)


def test_a_form_without_the_field_stays_as_it_is() -> None:
    assert masked_form(b"a=1&b", "t") == (b"a=1&b", False)
    assert masked_form(b"a=1&t&%74=2", "t") == (b"a=1&t=***&%74=***", True)
    assert masked_form(b"&&a=1&&t=2&&b=3&", "t") == (b"&&a=1&&t=***&&b=3&", True)


@given(
    st.lists(
        st.sampled_from([b"", b"t=k", b"%74=k", b"T=k", b"a=t", b"=k", b"t", b"t=k=k", b"a+b=k"])
    )
)
def test_of_any_form_no_value_of_the_field_is_left(pairs: list[bytes]) -> None:
    text = b"&".join(pairs)
    shown, found = masked_form(text, "t")
    values = form.parse(text).values("t")
    assert found is bool(values)
    assert form.parse(shown).values("t") == ["***"] * len(values)
    rest = [each for each in form.parse(text).fields if each[0] != "t"]
    assert [each for each in form.parse(shown).fields if each[0] != "t"] == rest
