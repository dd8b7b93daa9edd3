"""References: which ids each provider names of a message, of one that is refused, too."""

import json
from dataclasses import replace

import pytest

from relay.core.request import MAX_REFERENCE, Delivery, Headers, References, references
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Inspector, SampleOrder, snap
from relay.providers.builtin import provider_named
from relay.providers.inline import HeaderField, JsonField
from relay.providers.inline.provider import InlineProvider
from tests.contracts.provider import NOW, URL, delivery_of, keys_for
from tests.providers.inline.describe import bound, delivery, described


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("x", True),
        ("", False),
        ("x" * MAX_REFERENCE, True),
        ("x" * (MAX_REFERENCE + 1), False),
        ("\U0001f600" * 32, True),
        ("\U0001f600" * 32 + "x", False),
        ("é" * 64, True),
        ("é" * 65, False),
        ("a\0b", True),
        (7, False),
        (None, False),
        (["x"], False),
    ],
)
def test_only_short_text_is_a_reference(value: object, kept: bool) -> None:
    found = {"other": "y", "id": value}
    assert references(found, ("id", "missing")) == ((("id", value),) if kept else ())  # type: ignore[arg-type]


def sampled(name: str, **changes: str) -> tuple[Inspector, Delivery]:
    provider = provider_named(name)
    keys = keys_for(provider)[0]
    sample = provider.sample(SampleOrder(URL, keys.signing, NOW, changes))
    kind = changes.get("callback")
    callback = kind if kind in provider.info.callbacks else None
    options = EndpointOptions((keys.verifying,), callback=callback, enforced=True)
    return provider.bind(options), delivery_of(sample)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        (
            "midtrans",
            {"order_id": "ORDER-1", "transaction_id": "b0a2"},
            (("order_id", "ORDER-1"), ("transaction_id", "b0a2")),
        ),
        (
            "vipps",
            {"reference": "acme-1", "pspReference": "7686"},
            (("reference", "acme-1"), ("pspReference", "7686")),
        ),
        ("vipps-callback", {"orderId": "acme-2"}, (("orderId", "acme-2"),)),
        (
            "vipps-callback",
            {"callback": "shippingDetails", "orderId": "acme-3"},
            (("orderId", "acme-3"),),
        ),
        ("vipps-callback", {"callback": "consent", "userId": "u-1"}, (("userId", "u-1"),)),
        (
            "vipps-callback",
            {"callback": "checkout", "reference": "acme-4"},
            (("reference", "acme-4"),),
        ),
    ],
)
def test_a_provider_names_the_ids_that_people_hold(
    name: str, changes: dict[str, str], expected: References
) -> None:
    inspector, message = sampled(name, **changes)
    assert inspector.verify(message).references == expected
    # So it does when nothing is right but the text.
    forged = replace(message.head, headers=Headers())
    assert inspector.references(replace(message, head=forged)) == expected


@pytest.mark.parametrize("path", [snap.DEBIT, snap.QRIS, snap.ACCOUNT])
def test_snap_names_the_ids_of_its_service(path: str) -> None:
    inspector, message = sampled("midtrans-snap", path=path)
    body = json.loads(message.body)
    names = {
        *("originalPartnerReferenceNo", "originalReferenceNo", "trxId"),
        *("paymentRequestId", "virtualAccountNo"),
    }
    expected = {(name, body[name].strip()) for name in names if body.get(name)}
    assert expected
    assert set(inspector.verify(message).references) == expected
    assert set(inspector.references(message)) == expected


def test_a_padded_account_number_is_trimmed() -> None:
    inspector, message = sampled("midtrans-snap", path=snap.ACCOUNT)
    body = json.loads(message.body) | {"virtualAccountNo": "   12340001 "}
    padded = replace(message, body=json.dumps(body).encode())
    assert ("virtualAccountNo", "12340001") in inspector.references(padded)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff", b'{"a": "' + b"x" * 70_000])
def test_what_cannot_be_parsed_has_no_references(body: bytes) -> None:
    for name in ("midtrans", "midtrans-snap", "vipps"):
        inspector, message = sampled(name)
        assert inspector.references(replace(message, body=body)) == ()


# ---- described senders ----------------------------------------------------------------------


NAMED = (JsonField("/data/id"), JsonField("/id"), HeaderField("X-Order"), JsonField("/number"))


def test_a_described_sender_says_where_its_references_stand() -> None:
    inspector = bound(replace(described(), references=NAMED))
    body = b'{"id": "evt_1", "number": 1001, "data": {"id": "ch_1"}}'
    message = delivery({"X-Order": "A-7"}, body)
    # Of two names that end alike the second one is shown whole.
    expected = (("id", "ch_1"), ("/id", "evt_1"), ("X-Order", "A-7"), ("number", "1001"))
    assert inspector.verify(message).references == expected
    assert inspector.references(message) == expected


def test_a_body_that_is_no_json_has_the_references_of_its_header() -> None:
    inspector = bound(replace(described(), references=NAMED))
    message = delivery({"X-Order": "A-7"}, b"a=b&c=d")
    assert inspector.verify(message).references == (("X-Order", "A-7"),)


def test_a_token_is_no_reference() -> None:
    description = described(scheme="token", source=HeaderField("X-Token"))
    with pytest.raises(ValueError, match="references: is the token itself"):
        InlineProvider(replace(description, references=(HeaderField("x-token"),)))


def test_a_reference_has_a_short_name() -> None:
    long = replace(described(), references=(JsonField("/" + "x" * MAX_REFERENCE),))
    with pytest.raises(ValueError, match=r"references\.0: is longer than 128 bytes"):
        InlineProvider(long).bind(EndpointOptions((Secret("key"),)))
