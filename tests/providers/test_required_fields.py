import json
from dataclasses import replace

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import Ack, Delivery, IngestResult, Verdict
from relay.providers import EndpointOptions, Inspector, RequiredField, SampleOrder
from relay.providers.builtin import provider_named
from relay.providers.inline import JsonField
from relay.providers.inline.provider import InlineProvider
from relay.providers.required_fields import requiring
from tests.contracts.provider import NOW, URL, delivery_of, keys_for
from tests.harness.deliveries import AnswerContext
from tests.providers.inline.describe import bound, delivery, described
from tests.providers.test_providers_calls import calls

MSN = RequiredField("/msn", ("123456", "654321"))


def vipps(*must: RequiredField, **changes: str) -> tuple[Inspector, Delivery]:
    """Return an inspector that requires these, and an event of Vipps."""
    provider = provider_named("vipps")
    keys = keys_for(provider)[0]
    sample = provider.sample(SampleOrder(URL, keys.signing, NOW, changes))
    inspector = provider.bind(EndpointOptions((keys.verifying,), must=must))
    return inspector, delivery_of(sample)


def refused(inspector: Inspector, made: Delivery) -> Reason:
    with pytest.raises(Refusal) as caught:
        inspector.verify(made)
    return caught.value.reason


@pytest.mark.parametrize("msn", ["123456", "654321"])
def test_what_names_one_of_the_values_is_taken(msn: str) -> None:
    inspector, made = vipps(MSN, msn=msn)
    assert inspector.verify(made) == vipps()[0].verify(made)


@pytest.mark.parametrize("msn", ["123457", "", " 123456", "123456\n"])
def test_anothers_message_is_foreign(msn: str) -> None:
    inspector, made = vipps(MSN, msn=msn)
    assert refused(inspector, made) is Reason.FIELD_FOREIGN


def test_every_required_field_counts() -> None:
    inspector, made = vipps(MSN, RequiredField("/name", ("CAPTURED",)))
    assert refused(inspector, made) is Reason.FIELD_FOREIGN
    inspector, made = vipps(MSN, RequiredField("/missing", ("x",)))
    assert refused(inspector, made) is Reason.FIELD_FOREIGN


def test_the_signature_comes_first() -> None:
    inspector, made = vipps(MSN, msn="1")
    forged = replace(made, body=made.body.replace(b'"1"', b'"123456"'))
    assert refused(inspector, forged) is Reason.SIGNATURE_MISMATCH


def test_answers_are_those_of_the_provider() -> None:
    inspector, made = vipps(MSN)
    context = AnswerContext("", made.body, NOW)
    result = IngestResult(Verdict.REFUSED, Reason.FIELD_FOREIGN)
    assert inspector.answer(result, context).status == 401
    answered = Ack(204, b"", "")
    assert inspector.proxied_answer(answered, context) == answered
    assert inspector.signs_query


@pytest.mark.parametrize("value", ['"G1"', "7", "7.50", "true"])
def test_values_compare_as_text_as_they_were_written(value: str) -> None:
    must = (RequiredField("/a/0/b", (value.strip('"'),)),)
    inspector = bound(replace(described(scheme="token"), must=must), "secret")
    good, other = f'{{"a": [{{"b": {value}}}]}}', '{"a": [{"b": "other"}, {"b": "G1"}]}'
    headers = {"X-Signature": "secret"}
    assert inspector.verify(delivery(headers, good.encode())).key
    assert refused(inspector, delivery(headers, other.encode())) is Reason.FIELD_FOREIGN
    for body in (b"{}", b'{"a": {}}', b'{"a": [{"b": null}]}', b'{"a": [{"b": ["G1"]}]}'):
        assert refused(inspector, delivery(headers, body)) is Reason.FIELD_FOREIGN


def test_a_body_that_is_no_json_names_nobody() -> None:
    inspector = bound(replace(described(scheme="token"), must=(MSN,)), "secret")
    for body in (b"msn=123456", b""):
        made = delivery({"X-Signature": "secret"}, body)
        assert refused(inspector, made) is Reason.BODY_MALFORMED


def test_the_removal_of_a_consent_names_no_merchant() -> None:
    provider = provider_named("vipps-callback")
    keys = keys_for(provider)[0]
    must = (RequiredField("/merchantSerialNumber", ("123456",)),)
    inspector = provider.bind(EndpointOptions((keys.verifying,), must=must, enforced=True))
    for kind in ("consent", "transaction"):
        order = SampleOrder(URL, keys.signing, NOW, {"callback": kind})
        assert inspector.verify(delivery_of(provider.sample(order))).key
    other = (RequiredField("/merchantSerialNumber", ("7",)),)
    inspector = provider.bind(EndpointOptions((keys.verifying,), must=other, enforced=True))
    sample = provider.sample(SampleOrder(URL, keys.signing, NOW, {}))
    assert refused(inspector, delivery_of(sample)) is Reason.FIELD_FOREIGN


# ---- what is not signed, anybody could write ------------------------------------------------


def test_only_signed_fields_of_midtrans_can_be_required() -> None:
    provider = provider_named("midtrans")
    keys = keys_for(provider)[0].verifying
    provider.bind(EndpointOptions((keys,), must=(RequiredField("/order_id", ("a",)),)))
    must = (RequiredField("/order_id", ("a",)), RequiredField("/merchant_id", ("M1",)))
    with pytest.raises(ValueError, match=r"must\.1: /merchant_id is not signed"):
        provider.bind(EndpointOptions((keys,), must=must))
    # Without a signature the address vouches for all of it.
    provider.bind(EndpointOptions((), must=must))


def test_only_signed_fields_of_a_described_sender_can_be_required() -> None:
    fields = described(signed="{json:/id}.{json:/merchant/id}", source=JsonField("/signature"))
    for pointer in ("/id", "/merchant/id"):
        bound(replace(fields, must=(RequiredField(pointer, ("a",)),)), "secret")
    unsigned = (RequiredField("/merchant", ("a",)),)
    with pytest.raises(ValueError, match=r"must\.0: /merchant is not signed"):
        InlineProvider(replace(fields, must=unsigned))
    with pytest.raises(ValueError, match=r"must\.0: /merchant is not signed.*/id, /merchant/id"):
        bound(fields, "secret", must=unsigned)
    bound(described(signed="{body}"), "secret", must=unsigned)


def test_a_sample_names_the_right_one() -> None:
    provider = InlineProvider(replace(described(), must=(RequiredField("/a/id", ("x", "y")),)))
    keys = keys_for(provider_named("vipps"))[0]
    sample = provider.sample(SampleOrder(URL, keys.signing, NOW))
    assert json.loads(sample.body)["a"] == {"id": "x"}
    assert provider.bind(EndpointOptions((keys.verifying,))).verify(delivery_of(sample)).key


def test_a_large_body_is_parsed_once() -> None:
    members = b",".join(b'"%x":{"a":1.0}' % number for number in range(6000))
    description = described(signed="{body}", event_key=(JsonField("/id"),))
    made = delivery(body=b'{"id":"1","must":"yes","z":{%b}}' % members)
    inner = bound(description)
    required = requiring(inner, [RequiredField("/must", ("yes",))])
    # The parser calls a function for each object.
    once, _ = calls(lambda: inner.verify(made))
    assert once > 6000
    assert calls(lambda: required.verify(made))[0] < once + 100


@pytest.mark.parametrize(
    ("pointer", "body", "refused"),
    [
        ("/a/*/shop", b'{"t": "k", "a": [{"shop": "1"}, {"shop": "2"}]}', None),
        ("/a/*/shop", b'{"t": "k", "a": [{"shop": "1"}, {"shop": "3"}]}', Reason.FIELD_FOREIGN),
        ("/a/*/shop", b'{"t": "k", "a": [{"shop": "1"}, {}]}', Reason.FIELD_FOREIGN),
        ("/a/*/shop", b'{"t": "k", "a": []}', Reason.FIELD_FOREIGN),
        ("/a/*/shop", b'{"t": "k", "a": {"shop": "1"}}', Reason.FIELD_FOREIGN),
        ("/a/0/shop", b'{"t": "k", "a": [{"shop": "1"}]}', None),
        ("/a/0/shop", b'{"t": "k", "a": [{"shop": "1"}, {"shop": "1"}]}', Reason.FIELD_INVALID),
        ("/a/*/0", b'{"t": "k", "a": [["1"], ["1", "1"]]}', Reason.FIELD_INVALID),
        ("/a/*", b'{"t": "k", "a": [' + b'"1",' * 500 + b'"1"]}', Reason.FIELD_INVALID),
    ],
)
def test_each_element_that_a_star_stands_for_has_the_value(
    pointer: str, body: bytes, refused: Reason | None
) -> None:
    token = described(scheme="token", source=JsonField("/t"))
    judge = bound(token, "k", must=(RequiredField(pointer, ("1", "2")),))
    if refused is None:
        judge.verify(delivery(body=body))
        return
    with pytest.raises(Refusal) as refusal:
        judge.verify(delivery(body=body))
    assert refusal.value.reason is refused
