"""A description as a provider: the suite of every provider, and what is its own."""

import json
from base64 import b64encode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from relay.core.errors import Reason
from relay.core.request import Delivery, IngestResult, Verdict, Verification
from relay.core.secret import Secret
from relay.providers import AddressList, EndpointOptions, Environment, Provider
from relay.providers.inline import (
    Description,
    Field,
    HeaderField,
    HeaderFields,
    JsonField,
    JwtRule,
    QueryField,
    SignatureRule,
    TimeRule,
)
from relay.providers.inline.bodies import reads_json
from relay.providers.inline.provider import InlineProvider
from tests.contracts.provider import Keys, ProviderContract, keys_for, outcome
from tests.harness.deliveries import AnswerContext
from tests.providers.inline.describe import AT, bound, delivery, described

BASE64 = "whsec_" + b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + b64encode(bytes(24)).decode()
ID: tuple[Field, ...] = (JsonField("/id"),)

AUTHORIZATION = HeaderField("Authorization")

KINDS: dict[str, tuple[Description, str]] = {
    "hex": (described(format="sha256={signature}", event_key=ID), ""),
    "keyed": (
        described(format="t={timestamp},v1={signature}", signed="{timestamp}.{body}", event_key=ID),
        "",
    ),
    "list": (
        described(
            key_encoding="base64",
            strip_prefix="whsec_",
            format="v1,{signature}",
            encoding="base64",
            signed="{header:X-Id}.{timestamp}.{body}",
            time=TimeRule(HeaderField("X-Time"), "s"),
            event_key=ID,
        ),
        BASE64,
    ),
    "request": (
        described(
            algorithm="sha512",
            signed="{method}\n{path_query}\n{header:X-Date}\n{sha256_base64:body}",
            time=TimeRule(HeaderField("X-Date"), "rfc1123"),
            event_key=ID,
        ),
        "",
    ),
    "fields": (
        described(
            scheme="digest",
            source=JsonField("/signature"),
            signed="{json:/id}:{json:/state}:{secret}",
            event_key=(*ID, JsonField("/state")),
        ),
        "",
    ),
    "sorted": (described(signed="{json_sorted}", event_key=ID), ""),
    "without": (
        described(
            source=JsonField("/meta/sign"),
            signed="{body_without:/meta/sign}",
            encoding="base64",
            event_key=ID,
        ),
        "",
    ),
    "hashed": (
        described(signed="{sha512_hex:{json:/id}:{json:/state}}", event_key=ID),
        "",
    ),
    "rsa": (described(scheme="rsa", encoding="base64", event_key=ID), "rsa"),
    "token": (described(scheme="token", format="Bearer {signature}", event_key=ID), ""),
    "base64url": (
        described(algorithm="sha384", encoding="base64url", signed="{method}{body}", event_key=ID),
        "",
    ),
    "md5": (
        described(scheme="digest", algorithm="md5", signed="{secret}{body}", event_key=ID),
        "",
    ),
    "several": (described(source=HeaderFields(("X-One", "X-Two")), event_key=ID), ""),
    "ecdsa": (described(scheme="ecdsa", encoding="base64", event_key=ID), "ecdsa"),
    "basic": (described(scheme="basic", source=AUTHORIZATION, event_key=ID), "pair"),
    "jwt": (
        described(
            scheme="jwt",
            source=AUTHORIZATION,
            jwt=JwtRule(("HS256",), "relay", "sender", body_sha256="request_hash"),
            event_key=ID,
        ),
        "",
    ),
    "jwt of nothing": (
        described(scheme="jwt", source=AUTHORIZATION, jwt=JwtRule(("HS512",)), event_key=ID),
        "",
    ),
    "detached": (
        described(scheme="jwt", jwt=JwtRule(("HS384", "ES256"), detached=True), event_key=ID),
        "",
    ),
}


def new_ec_keys() -> Keys:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Keys(Secret(private), Secret(public))


@pytest.mark.parametrize("kind", KINDS)
class TestInline(ProviderContract):
    @pytest.fixture
    def provider(self, kind: str) -> Provider:
        description, _ = KINDS[kind]
        networks = Environment((AddressList("configuration", ("192.0.2.0/24",)),))
        return InlineProvider(replace(description, environments={"live": networks}))

    @pytest.fixture
    def keys(self, provider: Provider, kind: str) -> tuple[Keys, Keys]:
        match KINDS[kind][1]:
            case "pair":
                pairs = (Secret("relay:canary-right-01"), Secret("relay:canary-wrong-02"))
                return Keys(pairs[0], pairs[0]), Keys(pairs[1], pairs[1])
            case "ecdsa":
                return new_ec_keys(), new_ec_keys()
            case "rsa" | "":
                return keys_for(provider)
        return tuple(Keys(Secret(each), Secret(each)) for each in (BASE64, OTHER))  # type: ignore[return-value]  # two

    def test_the_facts_are_complete(self, provider: Provider, delivery: Delivery) -> None:
        """What was read in a configuration has no document."""
        info = provider.info
        assert delivery.head.method in info.methods
        assert info.document == ""
        for text in (info.title, info.secrets, info.signature, info.event_key, info.answers):
            assert text.strip()


# ---- bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"Hello, World!", b"a=b&c=d", b"", b"\xff\x00", b"[1]"])
def test_a_body_is_json_only_where_its_fields_are_read(body: bytes) -> None:
    plain, fields = described(), described(event_key=ID)
    assert (reads_json(plain), reads_json(fields)) == (False, True)
    found = outcome(bound(plain), delivery(body=body))
    assert isinstance(found, Verification)
    assert found.key.startswith("sha256:")
    assert outcome(bound(fields), delivery(body=body)) is Reason.BODY_MALFORMED


@pytest.mark.parametrize(
    "description",
    [
        described(signed="{json:/a}"),
        described(signed="{minified_body}"),
        described(signed="{sha256_hex:minified_body}"),
        described(source=JsonField("/s"), signed="{json:/a}"),
        described(time=TimeRule(JsonField("/t"), "s")),
    ],
)
def test_what_reads_fields(description: Description) -> None:
    assert reads_json(description)


def test_bodies_that_parse_alike_say_the_same() -> None:
    inspector = bound(described())
    one, other, third = (
        inspector.verify(delivery(body=body)).content
        for body in (b'{"a": 1, "b": 2}', b'{"b":2,"a":1}', b'{"a":1,"b":3}')
    )
    assert one == other
    assert one != third


# ---- event keys -------------------------------------------------------------------------------


def key(description: Description, headers: dict[str, str], body: object) -> str:
    return bound(description).verify(delivery(headers, json.dumps(body).encode())).key


def test_event_keys() -> None:
    header = described(event_key=(HeaderField("X-Id"),))
    fields = described(event_key=(JsonField("/id"), JsonField("/data/0/state")))
    assert key(header, {"x-id": "a:b"}, {}) == "a%3Ab"
    assert key(fields, {}, {"id": 5, "data": [{"state": "paid"}]}) == "5:paid"
    assert key(described(), {}, {}).startswith("sha256:")


def test_a_missing_identity_never_refuses() -> None:
    header = described(event_key=(HeaderField("X-Id"),))
    fields = described(event_key=(JsonField("/id"), JsonField("/state")))
    assert key(header, {}, {}).startswith("sha256:")
    assert key(header, {"X-Id": ""}, {}).startswith("sha256:")
    assert key(header, {"X-Id": "1", "x-id": "2"}, {}).startswith("sha256:")
    for body in ({"id": "1"}, {"id": "1", "state": ""}, {"id": "1", "state": {}}):
        assert key(fields, {}, body).startswith("sha256:")


# ---- lists ------------------------------------------------------------------------------------


def test_a_list_that_must_hold_one_entry() -> None:
    description = replace(described(), single="/data/items")
    assert reads_json(description)
    judge = bound(description)
    for items, taken in (
        ([1], True),
        ([{}], True),
        ([], False),
        ([1, 2], False),
        ({"0": 1}, False),
        ("x", False),
        (None, False),
    ):
        found = outcome(judge, delivery(body=json.dumps({"data": {"items": items}}).encode()))
        assert isinstance(found, Verification) if taken else found is Reason.FIELD_INVALID, items
    assert outcome(judge, delivery(body=b"[1]")) is Reason.BODY_MALFORMED


# ---- terms and facts --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["order_id_pattern", "partner_id", "callback"])
def test_terms_of_other_providers_have_no_meaning(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        bound(described(), **{name: "x"})


def test_a_signed_url_has_to_be_configured() -> None:
    signs_url = described(signed="{public_url}{body}")
    with pytest.raises(ValueError, match=r"^public_url: is signed"):
        bound(signs_url, "key")
    for signed in ("{host}\n{body}", "{path_query}{body}", "{path}{json:/a}"):
        with pytest.raises(ValueError, match=r"^public_url: is signed"):
            bound(described(signed=signed), "key")
        bound(described(signed=signed), "key", public_url="https://pay.example.com/x")
    with pytest.raises(ValueError, match=r"^public_url: write the URL"):
        bound(signs_url, "key", public_url="pay.example.com")
    bound(signs_url, "key", public_url="https://pay.example.com/x")
    bound(signs_url)


def headers(rule: SignatureRule, *event_key: Field) -> tuple[str, ...]:
    description = Description("x", rule, {"live": Environment()}, event_key=event_key)
    return InlineProvider(description).info.headers


def test_what_was_signed_passes_on_and_a_token_does_not() -> None:
    signed = "{header:X-Id}{header:host}{timestamp}{body}"
    time = TimeRule(HeaderField("X-Time"), "s")
    rule = SignatureRule("hmac", HeaderField("X-Sig"), signed=signed, time=time)
    assert set(headers(rule, HeaderField("x-id"))) == {"X-Sig", "x-id", "X-Time"}
    token = SignatureRule("token", HeaderField("X-Token"))
    assert headers(token, HeaderField("X-Id")) == ("X-Id",)


def test_answers_are_plain() -> None:
    inspector = bound(described())
    context = AnswerContext("", b"", AT)
    assert inspector.answer(IngestResult(Verdict.ACCEPTED), context).body == b"OK"
    refused = IngestResult(Verdict.REFUSED, Reason.METHOD_NOT_ALLOWED)
    assert inspector.answer(refused, context).headers == (("Allow", "POST"),)


def test_without_a_signed_time_there_is_no_window() -> None:
    assert InlineProvider(described()).info.window is None
    assert InlineProvider(KINDS["keyed"][0]).info.window is not None


def test_unsigned_deliveries_have_to_be_wanted() -> None:
    verification = InlineProvider(described()).bind(EndpointOptions()).verify(delivery())
    assert (verification.signed, verification.secret) == ((), None)


def test_a_query_is_signed_where_the_template_has_it() -> None:
    assert bound(described(signed="{path_query}\n{body}"), "key").signs_query
    for signed in ("{body}", "{path}\n{body}"):
        assert not bound(described(signed=signed), "key").signs_query
    assert not bound(described(signed="{public_url}{body}")).signs_query
    assert not bound(described(scheme="token"), "key").signs_query
    assert not bound(described(scheme="token", source=QueryField("t")), "key").signs_query
    assert bound(described(source=QueryField("s")), "key").signs_query
    assert bound(described(event_key=(QueryField("id"),)), "key").signs_query
    named = replace(described(), references=(QueryField("id"),))
    assert bound(named, "key").signs_query
