"""Header fields and Authorization that each request to an upstream has."""

import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.core.event import Event
from relay.core.request import Headers
from relay.core.secret import Secret
from relay.delivery.answers import kept_answer
from relay.delivery.credentials import Credentials
from relay.delivery.request import RequestWriter
from relay.delivery.sender import HttpSender
from tests.harness.attempting import attempted, forwarded
from tests.harness.clock import ManualClock
from tests.harness.deliveries import EVENT, lease_of, verified
from tests.harness.upstream import Upstream, answer

NOW = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
KEY = Secret("key-of-billing-4711")
BEARER = Secret("a.bearer.token")
#: The example of RFC 7617, 2.1.
TEST_123 = ("test", Secret("123£"))
VIPPS = ("Authorization", "HMAC-SHA256 SignedHeaders=x-ms-date;host&Signature=abc")


def sent(credentials: Credentials | None, event: Event = EVENT) -> Headers:
    """Return the fields of an event's request."""
    raw = RequestWriter("http://h", None, credentials).write(lease_of(event), NOW)
    return fields(raw)


def fields(raw: bytes) -> Headers:
    _, *lines = raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return Headers(tuple((name, value) for name, _, value in (x.partition(": ") for x in lines)))


def carrying(*headers: tuple[str, str]) -> Event:
    return replace(EVENT, headers=Headers(headers))


# ---- what is written ------------------------------------------------------------------------


def test_fields_stand_in_each_request_as_they_are_written() -> None:
    credentials = Credentials({"X-Api-Key": KEY, "x_tenant": Secret("42")})
    headers = sent(credentials)
    assert headers.values("X-Api-Key") == ("key-of-billing-4711",)
    assert headers.values("x_tenant") == ("42",)
    assert len(list(headers)) == len(list(sent(None))) + 2


def test_a_bearer_token() -> None:
    assert sent(Credentials(bearer=BEARER)).values("Authorization") == ("Bearer a.bearer.token",)


def test_basic_credentials_are_utf_8() -> None:
    headers = sent(Credentials(basic=TEST_123))
    assert headers.values("Authorization") == ("Basic dGVzdDoxMjPCow==",)


def test_proxied_requests_have_them_too() -> None:
    writer = RequestWriter("http://h", None, Credentials({"X-Api-Key": KEY}, basic=TEST_123))
    headers = fields(writer.write_proxied(verified(), NOW))
    assert headers.values("X-Api-Key") == ("key-of-billing-4711",)
    assert headers.values("Authorization") == ("Basic dGVzdDoxMjPCow==",)


def test_letters_beyond_ascii_are_sent_in_latin_1() -> None:
    raw = RequestWriter("http://h", None, Credentials({"X-Name": Secret("Zoë")})).write(
        lease_of(), NOW
    )
    assert b"\r\nX-Name: Zo\xeb\r\n" in raw


@pytest.mark.parametrize("value", ["4711 \u20ac", b"4711 \xff"])
def test_what_no_field_carries_is_refused(value: str | bytes) -> None:
    with pytest.raises(ValueError, match="no text in Latin-1") as caught:
        Credentials({"X-Api-Key": Secret(value)})
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", ["X-Api-Key", "x-api-key", "X_Api_Key"])
def test_a_senders_field_of_the_same_name_is_dropped(name: str) -> None:
    event = carrying((name, "of a stranger"), ("User-Agent", "Veritrans"))
    raw = RequestWriter("http://h", None, Credentials({"X-Api-Key": KEY})).write(
        lease_of(event), NOW
    )
    assert b"stranger" not in raw
    assert fields(raw).values("X-Api-Key") == ("key-of-billing-4711",)
    assert fields(raw).values("User-Agent") == ("Veritrans",)


@pytest.mark.parametrize("credentials", [Credentials(bearer=BEARER), Credentials(basic=TEST_123)])
def test_the_proof_of_a_sender_is_dropped_for_our_authorization(credentials: Credentials) -> None:
    event = carrying(VIPPS, ("x-ms-date", "now"))
    assert sent(None, event).values("Authorization") == (VIPPS[1],)
    headers = sent(credentials, event)
    assert len(headers.values("Authorization")) == 1
    assert VIPPS[1] not in headers.values("Authorization")
    assert headers.values("x-ms-date") == ("now",)


def test_a_proof_stays_where_only_other_fields_are_added() -> None:
    event = carrying(VIPPS)
    assert sent(Credentials({"X-Api-Key": KEY}), event).values("Authorization") == (VIPPS[1],)


def test_an_authorization_wins_over_a_field_of_that_name() -> None:
    credentials = Credentials({"authorization": KEY}, bearer=BEARER)
    assert sent(credentials).values("Authorization") == ("Bearer a.bearer.token",)


def test_one_upstreams_fields_are_not_another_ones() -> None:
    event = carrying(("X-Api-Key", "of the sender"))
    assert sent(Credentials({"X-Api-Key": KEY}), event).values("X-Api-Key") != ("of the sender",)
    assert sent(None, event).values("X-Api-Key") == ("of the sender",)


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Content-Type",
        "Transfer-Encoding",
        "Connection",
        "webhook-id",
        "Webhook_Signature",
        "Relay-Attempt",
        "relay_signed",
        "Content-Encoding",
        "Expect",
        "a b",
        "",
        "X:Y",
        "X\r\nY",
    ],
)
def test_fields_of_relay_and_of_the_connection_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="header field") as caught:
        Credentials({name: KEY})
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("value", ["a\r\nRelay-Signed: body", "a\nb", "a\rb", "a\0b", "\x7f"])
def test_a_value_that_would_end_its_line_is_refused(value: str) -> None:
    for headers, bearer in (({"X-Api-Key": Secret(value)}, None), ({}, Secret(value))):
        with pytest.raises(ValueError, match="line break or another control") as caught:
            Credentials(headers, bearer=bearer)
        assert repr(value) not in repr(caught.value)


# ---- what is hidden -------------------------------------------------------------------------

ALL = Credentials({"X-Api-Key": KEY}, basic=("me", Secret("pass/word-1")))
BASIC = b64encode(b"me:pass/word-1").decode()
ECHOES = [
    "key-of-billing-4711",
    "pass/word-1",
    f"Basic {BASIC}",
    json.dumps({"Authorization": f"Basic {BASIC}"}),
    r'{"password": "pass\/word-1"}',
    "?password=pass%2Fword-1",
]


@pytest.mark.parametrize("echo", ECHOES)
def test_what_is_kept_of_an_answer_holds_none(echo: str) -> None:
    kept = kept_answer(f"you said {echo}!".encode(), EVENT, ALL.secrets()).decode()
    assert holds_none([kept])
    assert kept.startswith("you said ")


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("status", [200, 400])
async def test_a_sender_reads_none_of_an_upstream_that_echoes(echo: str, status: int) -> None:
    head = [("Content-Type", f"text/{echo}")]
    async with Upstream(answer(status, head, f"you said {echo}!".encode())) as upstream:
        sender = HttpSender(
            upstream.url,
            timeout=timedelta(seconds=5),
            concurrency=1,
            clock=ManualClock(NOW),
            credentials=ALL,
        )
        # The second answer is remembered from the first.
        for _ in range(2):
            response = await forwarded(sender, verified())
            assert response.ack is not None
            assert response.ack.status == status
            assert holds_none([response.ack.body.decode(), response.ack.content_type])
            assert response.ack.body.startswith(b"you said ")
        await sender.close()


async def test_other_answers_reach_the_sender_byte_for_byte() -> None:
    body = bytes(range(256)) + b"42 and key-of-billing"
    short = Credentials({"X-Tenant": Secret("42"), "X-Kind": Secret("billing")})
    async with Upstream(answer(200, (), body)) as upstream:
        for credentials in (ALL, short):
            sender = HttpSender(
                upstream.url,
                timeout=timedelta(seconds=5),
                concurrency=1,
                clock=ManualClock(NOW),
                credentials=credentials,
            )
            response = await forwarded(sender, verified())
            assert response.ack is not None
            assert response.ack.body == body
            await sender.close()


async def test_the_outcome_is_that_of_any_other_request() -> None:
    async with Upstream(answer(200), answer(401)) as upstream:
        sender = HttpSender(
            upstream.url,
            timeout=timedelta(seconds=5),
            concurrency=1,
            clock=ManualClock(NOW),
            credentials=Credentials(bearer=BEARER),
        )
        first, second = [await attempted(sender, lease_of()) for _ in range(2)]
        await sender.close()
    assert [(each.name, each.status) for each in (first, second)] == [
        ("delivered", 200),
        ("rejected", 401),
    ]
    assert len(upstream.received) == 2


def test_nothing_of_them_prints() -> None:
    assert holds_none([repr(ALL), str(ALL), f"{ALL.secrets()}", repr(KEY)])


def holds_none(texts: Iterable[str]) -> bool:
    hidden = ("4711", "word-1", BASIC)
    return not [text for text in texts for each in hidden if each in text]
