import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv6Address
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.event import Event, Lease, event_of
from relay.core.request import Headers, VerifiedDelivery
from relay.core.secret import Secret
from relay.delivery.http import Origin, encode
from relay.delivery.request import RequestWriter, Target
from relay.signatures.shared_secret import Signer
from tests.harness.deliveries import EVENT, lease_of, verified

NOW = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
SECRET = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def fields(lease: Lease, now: datetime, signer: Signer | None) -> Headers:
    """Return the fields that stand in the lines between Host and Content-Length."""
    head, _, _ = RequestWriter("http://h", signer).write(lease, now).partition(b"\r\n\r\n")
    _, _, *lines, length = head.decode("latin-1").split("\r\n")
    assert length == f"Content-Length: {len(lease.event.body)}"
    pairs = [line.partition(": ") for line in lines]
    return Headers(tuple((name, value) for name, _, value in pairs))


def sent(event: Event, signer: Signer | None = None) -> Headers:
    return fields(lease_of(event), NOW, signer)


def carrying(*headers: tuple[str, str]) -> Event:
    return replace(EVENT, headers=Headers(headers))


# ---- what is sent ---------------------------------------------------------------------------


def test_an_ordinary_event_has_exactly_these_fields() -> None:
    assert list(sent(EVENT)) == [
        ("Content-Type", "application/json"),
        ("User-Agent", "Veritrans"),
        ("webhook-id", "evt_0197a3f2"),
        ("webhook-timestamp", "1767616200"),
        ("Relay-Endpoint", "midtrans"),
        ("Relay-Provider", "midtrans"),
        ("Relay-Environment", "production"),
        ("Relay-Event-Key", "order-1%20settlement%20200"),
        ("Relay-Client-Address", "192.0.2.7"),
        ("Relay-Attempt", "8"),
        ("Relay-Received-At", "2026-01-05T12:00:00.000000Z"),
        ("Relay-Signed", "body"),
    ]


def test_a_signer_signs_what_is_sent() -> None:
    signer = Signer([SECRET])
    headers = sent(EVENT, signer)
    assert headers.values("webhook-signature") == (
        signer.sign("evt_0197a3f2", 1767616200, EVENT.body),
    )


def test_a_later_attempt_keeps_the_id_and_renews_time_and_signature() -> None:
    signer = Signer([SECRET])
    first = fields(lease_of(), NOW, signer)
    later = fields(lease_of(turn=2), NOW + timedelta(hours=1), signer)
    assert first.values("webhook-id") == later.values("webhook-id")
    assert later.values("webhook-timestamp") == ("1767619800",)
    assert first.values("webhook-signature") != later.values("webhook-signature")
    assert later.values("Relay-Attempt") == ("9",)


def test_a_conflict_and_a_late_event_are_marked() -> None:
    headers = sent(replace(EVENT, conflicts_with="evt_first", out_of_order=True))
    assert headers.values("Relay-Conflict") == ("evt_first",)
    assert headers.values("Relay-Repeats") == ()
    assert headers.values("Relay-Out-Of-Order") == ("true",)


def test_a_repeat_is_marked() -> None:
    headers = sent(replace(EVENT, repeats="evt_first"))
    assert headers.values("Relay-Repeats") == ("evt_first",)
    assert headers.values("Relay-Conflict") == ()


def test_what_was_masked_is_named() -> None:
    headers = sent(replace(EVENT, redacted=("/a/token", "/b")))
    assert headers.values("Relay-Redacted") == ("/a/token, /b",)
    assert sent(replace(EVENT, tokens=("/a/token",))).values("Relay-Redacted") == ()


def test_what_the_provider_confirmed_is_told() -> None:
    headers = fields(replace(lease_of(), confirmed="settlement"), NOW, None)
    assert headers.values("Relay-Confirmed") == ("settlement",)


def test_what_was_reconciled_is_marked_and_names_no_client() -> None:
    headers = fields(lease_of(replace(EVENT, reconciled=True)), NOW, None)
    assert headers.values("Relay-Reconciled") == ("true",)
    assert headers.values("Relay-Client-Address") == ()


def test_the_signed_fields_are_a_list() -> None:
    event = replace(EVENT, signed=("order_id", "status_code", "gross_amount", "ambiguous"))
    assert sent(event).values("Relay-Signed") == ("order_id, status_code, gross_amount, ambiguous",)


def test_an_unsigned_event_does_not_claim_to_be_signed() -> None:
    assert sent(replace(EVENT, signed=())).values("Relay-Signed") == ()


def test_the_time_of_receipt_is_utc() -> None:
    jakarta = timezone(timedelta(hours=7))
    event = replace(EVENT, received_at=datetime(2026, 1, 6, 0, 30, 1, 250000, jakarta))
    assert sent(event).values("Relay-Received-At") == ("2026-01-05T17:30:01.250000Z",)


def test_an_ipv6_client_is_shown_short() -> None:
    event = replace(EVENT, client=IPv6Address("2001:db8::1"))
    assert sent(event).values("Relay-Client-Address") == ("2001:db8::1",)


# ---- what the sender said -------------------------------------------------------------------


def test_the_senders_fields_keep_their_spelling_order_and_repetition() -> None:
    given_fields = (("X-TIMESTAMP", "t"), ("Accept", "a"), ("x-external-id", "1"), ("Accept", "b"))
    assert tuple(sent(carrying(*given_fields)))[:4] == given_fields


@pytest.mark.parametrize(
    "name",
    [
        "Relay-Signed",
        "relay-signed",
        "RELAY-CONFLICT",
        "Relay_Signed",
        "relay_Out-Of_Order",
        "Relay-Anything-To-Come",
        "Webhook-Id",
        "webhook_id",
        "webhook-signature",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Transfer_Encoding",
        "Upgrade",
        "Host",
        "Content-Length",
        "Content-Encoding",
        "Expect",
        "Cookie",
        "Forwarded",
        "X-Forwarded-For",
        "X_FORWARDED_HOST",
        "X-Real-IP",
        "Via",
    ],
)
def test_a_sender_cannot_choose_a_field_that_is_believed(name: str) -> None:
    assert sent(carrying((name, "mine"))) == sent(carrying())


@pytest.mark.parametrize(
    "name", ["", " Accept", "Accept ", "Acc\r\nRelay-Signed", "Relay-Signed:", "é"]
)
def test_a_name_that_is_no_token_does_not_pass(name: str) -> None:
    assert sent(carrying((name, "mine"))) == sent(carrying())


@pytest.mark.parametrize(
    "value", ["a\r\nRelay-Signed: body", "a\nb", "a\rb", "a\0b", "a\x7fb", "\x1b[2J"]
)
def test_a_value_with_control_characters_does_not_pass(value: str) -> None:
    assert sent(carrying(("User-Agent", value))) == sent(carrying())


def test_a_tab_and_bytes_beyond_ascii_pass() -> None:
    assert sent(carrying(("User-Agent", "caf\xc3\xa9\t1"))).values("User-Agent") == (
        "caf\xc3\xa9\t1",
    )


@pytest.mark.parametrize(
    ("headers", "remembered"),
    [
        ((("Content-Type", "application/json"), ("User-Agent", "Veritrans")), True),
        ((), True),
        ((("Content-Type", "application/json"), ("X-Signature", "a proof")), False),
        ((("Authorization", "a proof"),), False),
        ((("User-Agent", "x" * 129),), False),
    ],
)
def test_only_fields_that_prove_nothing_are_remembered(
    headers: tuple[tuple[str, str], ...], remembered: bool
) -> None:
    writer = RequestWriter("http://h", None)
    lease = lease_of(carrying(*headers))
    assert writer.write(lease, NOW) == writer.write(lease, NOW)
    assert (headers in writer._sender_lines) == remembered


def test_the_fields_that_are_remembered_are_bounded() -> None:
    writer = RequestWriter("http://h", None)
    for number in range(1000):
        writer.write(lease_of(carrying(("User-Agent", f"sender/{number}"))), NOW)
        assert len(writer._sender_lines) <= 256


_LATIN_1 = st.text(st.characters(max_codepoint=255), max_size=20)


@given(
    headers=st.lists(st.tuples(_LATIN_1, _LATIN_1), max_size=5),
    key=st.text(max_size=300),
    signed=st.lists(st.text(max_size=20), max_size=3),
    endpoint=st.text(max_size=20),
)
def test_nothing_that_is_sent_can_end_a_line(
    headers: list[tuple[str, str]], key: str, signed: list[str], endpoint: str
) -> None:
    event = replace(
        EVENT, headers=Headers(tuple(headers)), key=key, signed=tuple(signed), endpoint=endpoint
    )
    for name, value in sent(event):
        assert re.fullmatch(r"[!-9;-~]+", name)
        assert not set(value) & set(map(chr, (*range(9), *range(10, 32), 127)))
        if name.startswith("Relay-"):
            assert value.isascii()


# ---- the bytes ------------------------------------------------------------------------------


def written_field_by_field(url: str, lease: Lease, now: datetime, signer: Signer | None) -> bytes:
    """Return the request as a list of fields says it, each checked with the others at the end."""
    event = lease.event
    plain = {name: name.lower().replace("_", "-") for name, _ in event.headers}
    passing = [
        (name, value)
        for name, value in event.headers
        if re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
        and not plain[name].startswith(("relay-", "webhook-", "proxy-", "x-forwarded-"))
        and plain[name] not in BELIEVED
        and not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)
    ]
    seconds = int(now.timestamp())
    optional: dict[str, str | None] = {
        "webhook-signature": signer.sign(event.id, seconds, event.body) if signer else None,
        "Relay-Client-Address": None if event.reconciled else str(event.client),
        "Relay-Signed": ", ".join(event.signed) or None,
        "Relay-Conflict": event.conflicts_with,
        "Relay-Repeats": event.repeats,
        "Relay-Redacted": ", ".join(event.redacted) or None,
        "Relay-Out-Of-Order": "true" if event.out_of_order else None,
        "Relay-Confirmed": lease.confirmed,
        "Relay-Reconciled": "true" if event.reconciled else None,
    }
    own = {
        "webhook-id": event.id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": optional["webhook-signature"],
        "Relay-Endpoint": event.endpoint,
        "Relay-Provider": event.provider,
        "Relay-Environment": event.environment,
        "Relay-Event-Key": quote(event.key, safe=""),
        "Relay-Client-Address": optional["Relay-Client-Address"],
        "Relay-Attempt": str(lease.attempt),
        "Relay-Received-At": f"{event.received_at:%Y-%m-%dT%H:%M:%S.%f}Z",
        **dict(list(optional.items())[2:]),
    }
    added = [(name, value) for name, value in own.items() if value is not None]
    origin = Origin.of(url)
    target = origin.target(Target(url).of(event.suffix))
    return encode(event.method, target, origin.authority, [*passing, *added], event.body)


BELIEVED = {"connection", "host", "content-length", "via", "cookie", "x-real-ip"}

_NAMES = st.sampled_from(
    ["Content-Type", "User-Agent", "X-Signature", "x_real_ip", "Host", "Webhook-Id", "a b", "é", ""]
)
_VALUES = st.sampled_from(
    ["application/json", "caf\xe9", "a\tb", "a\r\nb", "\0", "", "\u20ac", "x" * 99]
)
_LEASES = st.builds(
    replace,
    st.builds(
        lease_of,
        st.builds(
            replace,
            st.just(EVENT),
            id=st.sampled_from(["evt_1", "evt_0197a3f2-7c1d", "evt\r\n", "evt\0"]),
            key=st.sampled_from(["order-1:settlement:200", "a b/c", "é\n", ""]),
            method=st.sampled_from(
                ["POST", "GET", "HEAD", "DELETE", "PO ST", "P\nT", "é", "\u20ac"]
            ),
            suffix=st.sampled_from(["", "", "/a/b?x=%2F", "?q", "/../a", "/a\n"]),
            headers=st.lists(st.tuples(_NAMES, _VALUES), max_size=4).map(
                lambda pairs: Headers(tuple(pairs))
            ),
            client=st.sampled_from([EVENT.client, IPv6Address("2001:db8::1")]),
            received_at=st.timedeltas(timedelta(-20_000), timedelta(50_000)).map(NOW.__add__),
            signed=st.sampled_from([(), ("body",), ("order_id", "status_code")]),
            conflicts_with=st.sampled_from([None, None, "evt_0", "evt\n"]),
            out_of_order=st.booleans(),
            reconciled=st.booleans(),
            body=st.sampled_from([b"", b"{}", b"\r\n\r\n\0"]),
        ),
        st.integers(1, 50),
    ),
    confirmed=st.sampled_from([None, "settlement"]),
)


@settings(max_examples=2000)
@given(
    url=st.sampled_from(["http://h", "http://h:8080/hooks?t=1", "https://[::1]/a/"]),
    lease=_LEASES,
    signer=st.sampled_from([None, Signer([SECRET])]),
)
def test_a_request_has_the_bytes_of_its_fields(
    url: str, lease: Lease, signer: Signer | None
) -> None:
    try:
        expected = written_field_by_field(url, lease, NOW, signer)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - which part is said for people only
            RequestWriter(url, signer).write(lease, NOW)
        return
    writer = RequestWriter(url, signer)
    assert writer.write(lease, NOW) == expected
    # The second one rests on what is remembered.
    assert writer.write(lease, NOW) == expected


_METHODS = st.sampled_from(["POST", "GET", "HEAD", "P\nT"])
_DELIVERIES = st.builds(
    verified,
    event_id=st.sampled_from(["evt_1", "evt\n"]),
    key=st.sampled_from(["order-1:settlement:200", "a b/c", "\ud800", "", "k" * 300]),
    body=st.sampled_from([b"", b"{}", b"\r\n\r\n\0"]),
    ambiguous=st.booleans(),
    headers=st.lists(st.tuples(_NAMES, _VALUES), max_size=4).map(
        lambda pairs: Headers(tuple(pairs))
    ),
    path=st.just("/snap/v1/a?x=%2F"),
    remainder=st.sampled_from(["", "", "/v1/a", "/../a"]),
    redacted=st.sampled_from([(), ("/value/*/clientState",), ("a\r\nb", "/ü")]),
)


@settings(max_examples=1000)
@given(
    delivery=_DELIVERIES,
    method=_METHODS,
    reconciled=st.booleans(),
    signer=st.sampled_from([None, Signer([SECRET])]),
)
def test_a_delivery_is_passed_on_with_the_bytes_of_its_event(
    delivery: VerifiedDelivery, method: str, reconciled: bool, signer: Signer | None
) -> None:
    received = delivery.delivery
    received = replace(received, head=replace(received.head, method=method))
    delivery = replace(delivery, delivery=received, reconciled=reconciled)
    lease = replace(lease_of(event_of(delivery)), attempt=1)
    try:
        expected = RequestWriter("http://h/base", signer).write(lease, NOW)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - as for its event
            RequestWriter("http://h/base", signer).write_proxied(delivery, NOW)
        return
    writer = RequestWriter("http://h/base", signer)
    assert writer.write_proxied(delivery, NOW) == expected
    # The second one rests on what is remembered.
    assert writer.write_proxied(delivery, NOW) == expected


# ---- the event key --------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_key_can_be_decoded(key: str) -> None:
    (encoded,) = sent(replace(EVENT, key=key)).values("Relay-Event-Key")
    assert len(encoded) <= 256
    assert key.startswith(unquote(encoded, errors="strict"))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a" * 300, "a" * 256),
        ("a" * 254 + " b", "a" * 254),
        ("a" * 250 + "é", "a" * 250 + "%C3%A9"),
        ("a" * 251 + "é", "a" * 251),
        ("a/b?c&d%20\r\n", "a%2Fb%3Fc%26d%2520%0D%0A"),
        ("\ud800", "%3F"),
    ],
)
def test_a_key_is_encoded_and_cut_between_characters(key: str, expected: str) -> None:
    assert sent(replace(EVENT, key=key)).values("Relay-Event-Key") == (expected,)


# ---- where it goes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "suffix", "expected"),
    [
        ("http://h:8080/hooks", "", "http://h:8080/hooks"),
        ("http://h:8080/hooks/", "", "http://h:8080/hooks/"),
        ("http://h", "/v1.0/debit/notify", "http://h/v1.0/debit/notify"),
        ("http://h/hooks", "/v1.0/debit/notify", "http://h/hooks/v1.0/debit/notify"),
        ("http://h/hooks/", "/v1.0/debit/notify", "http://h/hooks/v1.0/debit/notify"),
        ("https://h/a", "/b?x=1&y=%2F+%zz", "https://h/a/b?x=1&y=%2F+%zz"),
        ("https://h/a?t=1", "/b?t=2", "https://h/a/b?t=1&t=2"),
        ("https://h/a?t=1", "", "https://h/a?t=1"),
        ("https://h/a?t=1", "?u=2", "https://h/a?t=1&u=2"),
        ("https://h/a?t=1&", "?u=2", "https://h/a?t=1&u=2"),
        ("https://h/a?t=1&", "", "https://h/a?t=1&"),
        ("http://h?x=1", "", "http://h?x=1"),
        ("http://h?x=1", "/b", "http://h/b?x=1"),
        ("http://h/a?", "", "http://h/a"),
        ("http://h/a?", "?u=2", "http://h/a?u=2"),
        ("http://h/i.php?r=a/b|c%2F;d?e", "/b", "http://h/i.php/b?r=a/b|c%2F;d?e"),
        ("http://[::1]:80/a", "/b-c_d~.e/", "http://[::1]:80/a/b-c_d~.e/"),
    ],
)
def test_the_suffix_is_appended_character_by_character(
    url: str, suffix: str, expected: str
) -> None:
    assert Target(url).of(suffix) == expected


@pytest.mark.parametrize(
    "suffix",
    [
        "b",
        ".evil.example/",
        "@evil.example/",
        ":81/",
        "//evil.example",
        "/a//b",
        "/..",
        "/../admin",
        "/a/./b",
        "/a/..",
        "/%2e%2e/admin",
        "/..%2fadmin",
        "/..;/admin",
        "/a\\..\\b",
        "/a b",
        "/a#b",
        "/a?b#c",
        "/a?b c",
        "/a?b\r\nHost: evil",
        "/a\r\n",
        "/a\n",
        "/a?\n",
        "/a\0",
        "/é",
        "/a?é",
    ],
)
def test_a_suffix_that_leaves_the_upstream_is_refused(suffix: str) -> None:
    with pytest.raises(ValueError, match="not a path below"):
        Target("http://h/hooks").of(suffix)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:8080/hooks",
        "/hooks",
        "ftp://h/",
        "file:///etc/passwd",
        "http://",
        "http:///hooks",
        "http://h:0/",
        "http://h:99999/",
        "http://h:x/",
        "http://user:password@h/",
        "http://h/a#b",
        "http://h/a b",
        "http://h/\r\n",
        "http://h/é",
        "http://[::1/",
    ],
)
def test_a_url_that_nothing_can_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - urlsplit words some of them
        Target(url)
