import hashlib
import hmac
from dataclasses import replace

import pytest

from relay.core.request import OnReplay, Verification
from relay.providers.inline import Description, Field, FormField, HeaderField, JsonField, QueryField
from relay.providers.inline.provider import InlineProvider
from relay.providers.inline.replays import can_replay
from tests.providers.inline.describe import bound, delivery, described

ID = HeaderField("X-Id")
TOPIC = HeaderField("X-Topic")


def verified(description: Description, text: bytes, body: bytes, **headers: str) -> Verification:
    """Return what is found of a body whose signature covers this text."""
    mac = hmac.digest(b"key", text, hashlib.sha256).hex()
    fields = {"X-Signature": mac} | {name.replace("_", "-"): headers[name] for name in headers}
    return bound(description, "key").verify(delivery(fields, body))


@pytest.mark.parametrize(
    ("signed", "event_key", "expected"),
    [
        ("{body}", (ID,), True),
        ("{sha256_hex:body}", (ID,), True),
        ("{method}{path}{minified_body}", (ID,), True),
        ("{header:X-Other}.{body}", (ID,), True),
        ("{header:x-id}.{body}", (ID,), False),
        ("{body}", (), False),
        ("{sha256_hex:body}", (), False),
        ("{body}", (QueryField("id"),), True),
        ("{query:id}.{body}", (QueryField("id"),), False),
        # Other white space, other keys first, other fields: other bytes under one signature.
        ("{minified_body}", (), True),
        ("{json_sorted}", (), True),
        ("{json_sorted}", (JsonField("/id"),), False),
        ("{md5_hex:form_sorted}", (FormField("id"),), True),
        ("{form_sorted}{sha256_hex:body}", (FormField("id"),), False),
        ("{body}", (JsonField("/id"),), False),
        ("{json:/id}", (ID,), False),
    ],
)
def test_what_can_come_again_under_another_key(
    signed: str, event_key: tuple[Field, ...], expected: bool
) -> None:
    description = described(signed=signed, event_key=event_key)
    assert can_replay(description) is expected
    assert not can_replay(described(scheme="token", event_key=event_key))


def test_the_signed_bytes_are_known_under_another_key() -> None:
    description = described(event_key=(ID,))
    one, two = (verified(description, b"{}", b"{}", X_Id=each) for each in "12")
    assert one.key != two.key
    assert one.replay_digest == two.replay_digest is not None
    assert one.on_replay is OnReplay.REPEATS
    nameless = verified(description, b"{}", b"{}")
    assert nameless.replay_digest == one.replay_digest
    assert verified(description, b"{ }", b"{ }", X_Id="1").replay_digest != one.replay_digest


def test_what_is_signed_besides_the_body_counts() -> None:
    description = described(signed="{header:X-Other}.{body}", event_key=(ID,))
    found = {
        verified(
            description, f"{other}.".encode() + b"{}", b"{}", X_Id=key, X_Other=other
        ).replay_digest
        for key, other in (("1", "a"), ("2", "a"), ("3", "b"))
    }
    assert len(found) == 2


def test_distinct_values_make_another_event() -> None:
    described_so = replace(
        described(event_key=(ID,)), on_replay=OnReplay.DUPLICATE, distinct=(TOPIC,)
    )
    created, again, paid, nothing = (
        verified(described_so, b"{}", b"{}", X_Id=str(number), **topic)
        for number, topic in enumerate(
            ({"X_Topic": "created"}, {"X_Topic": "created"}, {"X_Topic": "paid"}, {})
        )
    )
    assert created.on_replay is OnReplay.DUPLICATE
    assert created.replay_digest == again.replay_digest
    assert len({created.replay_digest, paid.replay_digest, nothing.replay_digest}) == 3
    assert "X-Topic" in InlineProvider(described_so).info.headers


def test_without_a_signature_nothing_is_known_again() -> None:
    found = bound(described(event_key=(ID,))).verify(delivery({"X-Id": "1"}))
    assert found.replay_digest is None


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (described(event_key=(JsonField("/id"),)), "repeats: nothing comes again"),
        (described(), "repeats: nothing comes again"),
        (described(signed="{json:/id}", event_key=(ID,)), "repeats: a signature that does not"),
        (described(scheme="token", event_key=(ID,)), "repeats: a token signs nothing"),
    ],
)
def test_repeats_say_nothing_where_there_are_none(description: Description, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InlineProvider(replace(description, on_replay=OnReplay.DUPLICATE))
    InlineProvider(description)


def test_distinct_values_need_duplicates_and_are_not_the_key() -> None:
    description = described(event_key=(ID,))
    with pytest.raises(ValueError, match="distinct: tells duplicates apart"):
        InlineProvider(replace(description, distinct=(TOPIC,)))
    told = replace(description, on_replay=OnReplay.DUPLICATE, distinct=(HeaderField("x-id"),))
    with pytest.raises(ValueError, match="distinct: x-id is the event key itself"):
        InlineProvider(told)


def test_a_form_that_is_split_otherwise_is_known_again() -> None:
    description = described(signed="{form_sorted}", event_key=(FormField("id"),))
    mac = hmac.digest(b"key", b"amount1id12state3", hashlib.sha256).hex()
    fields = {"X-Signature": mac, "Content-Type": "application/x-www-form-urlencoded"}
    one, other = (
        bound(description, "key").verify(delivery(fields, body))
        for body in (b"amount=1&id=12&state=3", b"amount=1&id1=2&state=3")
    )
    assert (one.key, one.signed, one.ambiguous) == ("12", ("body",), True)
    assert other.key != one.key
    assert other.replay_digest == one.replay_digest is not None
