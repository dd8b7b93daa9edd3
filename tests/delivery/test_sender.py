import asyncio
import gzip
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from relay.core.event import Delivered, Event, Outcome, ProxyResponse, Rejected, Unreachable
from relay.core.request import Ack, Headers
from relay.core.secret import Secret
from relay.delivery.http import client_context
from relay.delivery.sender import (
    HttpSender,
    parse_retry_after,
)
from relay.signatures.shared_secret import Signer
from tests.harness.attempting import Forwarded, attempted, forwarded
from tests.harness.clock import ManualClock
from tests.harness.deliveries import EVENT, lease_of, verified
from tests.harness.upstream import (
    Behaviour,
    RefusingPort,
    Upstream,
    answer,
    close,
    half_close,
    hang,
    repeat,
    reset,
    send,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TIMEOUT = 0.3
LOOPBACK = IPv4Address("127.0.0.1")


@asynccontextmanager
async def forwarding(
    url: str, within: float = 5.0, signer: Signer | None = None
) -> AsyncIterator[Callable[[Event], Awaitable[Outcome]]]:
    sender = HttpSender(
        url,
        timeout=timedelta(seconds=within),
        concurrency=4,
        clock=ManualClock(NOW),
        signer=signer,
    )
    try:
        yield lambda event: attempted(sender, lease_of(event))
    finally:
        await sender.close()


async def one_attempt(
    behaviour: Behaviour, within: float = 5.0, *, at_once: bool = False
) -> Outcome:
    async with (
        Upstream(behaviour, at_once=at_once) as upstream,
        forwarding(upstream.url, within) as forward,
    ):
        return await forward(EVENT)


# ---- what arrives ---------------------------------------------------------------------------

ALL_BYTES = bytes(range(256)) * 200


@pytest.mark.parametrize("body", [b"", b"{}", b'{"a": 1.0,\r\n "a":\t2}', ALL_BYTES])
async def test_exactly_the_bytes_of_the_body_arrive(body: bytes) -> None:
    async with Upstream() as upstream, forwarding(upstream.url) as forward:
        assert await forward(replace(EVENT, body=body)) == Delivered(200)
    assert upstream.received[0].body == body


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "GET", "PATCH"])
async def test_the_method_arrives(method: str) -> None:
    async with Upstream() as upstream, forwarding(upstream.url) as forward:
        await forward(replace(EVENT, method=method))
    assert upstream.received[0].method == method


async def test_path_and_query_arrive_as_they_are_written() -> None:
    async with (
        Upstream() as upstream,
        forwarding(upstream.url + "/a%2fb/%C3%A9//c;d") as forward,
    ):
        await forward(replace(EVENT, suffix="/v1.0/debit/notify?x=%2F+a&&b='\"%zz=[]|"))
    assert (
        upstream.received[0].target == "/a%2fb/%C3%A9//c;d/v1.0/debit/notify?x=%2F+a&&b='\"%zz=[]|"
    )


async def test_nothing_but_our_header_fields_arrives() -> None:
    signer = Signer([Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")])
    async with Upstream() as upstream, forwarding(upstream.url, signer=signer) as forward:
        await forward(EVENT)
    names = [name for name, _ in upstream.received[0].headers]
    assert names == [
        "Host",
        "Content-Type",
        "User-Agent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "Relay-Endpoint",
        "Relay-Provider",
        "Relay-Environment",
        "Relay-Event-Key",
        "Relay-Client-Address",
        "Relay-Attempt",
        "Relay-Received-At",
        "Relay-Signed",
        "Content-Length",
    ]


async def test_no_field_is_made_up_when_the_sender_sent_none() -> None:
    async with Upstream() as upstream, forwarding(upstream.url) as forward:
        await forward(replace(EVENT, headers=Headers()))
    for name in ("User-Agent", "Accept", "Accept-Encoding", "Content-Type", "Cookie"):
        assert upstream.received[0].values(name) == []


async def test_header_values_arrive_byte_for_byte() -> None:
    headers = Headers(
        (("X-Utf-8", "caf\xc3\xa9"), ("X-Latin", "caf\xe9"), ("X-Two", "1"), ("X-Two", "2"))
    )
    async with Upstream() as upstream, forwarding(upstream.url) as forward:
        await forward(replace(EVENT, headers=headers))
    assert b"\r\nX-Utf-8: caf\xc3\xa9\r\nX-Latin: caf\xe9\r\n" in upstream.received[0].head
    assert upstream.received[0].values("X-Two") == ["1", "2"]


async def test_the_environment_cannot_reroute_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    with RefusingPort() as nowhere:
        monkeypatch.setenv("HTTP_PROXY", nowhere)
        monkeypatch.setenv("http_proxy", nowhere)
        assert await one_attempt(answer(200)) == Delivered(200)


async def test_cookies_are_not_kept() -> None:
    cookie = answer(200, [("Set-Cookie", "a=b; Path=/")])
    async with Upstream(cookie) as upstream, forwarding(upstream.url) as forward:
        await forward(EVENT)
        await forward(EVENT)
    assert upstream.received[1].values("Cookie") == []


async def test_a_connection_is_used_again() -> None:
    async with Upstream(answer(200, body=b"x" * 60_000)) as upstream:
        async with forwarding(upstream.url) as forward:
            for _ in range(3):
                assert await forward(EVENT) == Delivered(200)
        assert upstream.connections == 1


# ---- answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_2xx_is_delivered(status: int) -> None:
    assert await one_attempt(answer(status)) == Delivered(status)


@pytest.mark.parametrize("status", [300, 304, 400, 404, 410, 429, 500, 503, 599])
async def test_every_other_answer_is_rejected(status: int) -> None:
    assert await one_attempt(answer(status)) == Rejected(status)


async def test_an_early_hint_is_no_answer() -> None:
    hint = send(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", answer(200))
    assert await one_attempt(hint) == Delivered(200)


async def test_switching_protocols_is_no_delivery() -> None:
    switch = send(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", hang)
    assert await one_attempt(switch, TIMEOUT) == Rejected(101)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(status: int) -> None:
    async with Upstream() as elsewhere:
        redirect = answer(status, [("Location", elsewhere.url)])
        assert await one_attempt(redirect) == Rejected(status)
        assert await one_question(redirect) == ProxyResponse(Rejected(status))
        assert elsewhere.connections == 0


@pytest.mark.parametrize("status", [301, 429, 503])
async def test_retry_after_is_reported(status: int) -> None:
    assert await one_attempt(answer(status, [("Retry-After", "120")])) == Rejected(
        status, timedelta(seconds=120)
    )


async def test_a_compressed_answer_is_left_alone() -> None:
    headers = [("Content-Encoding", "gzip")]
    good, broken = answer(200, headers, gzip.compress(b"ok")), answer(200, headers, b"not gzip")
    async with Upstream(broken, good, broken) as upstream:
        async with forwarding(upstream.url) as forward:
            for _ in range(3):
                assert await forward(EVENT) == Delivered(200)
        # Unpacking the broken ones would have cost the connection.
        assert upstream.connections == 1


async def test_a_huge_answer_is_not_read_to_the_end() -> None:
    sent = 0

    async def huge(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(bytes(64 * 1024))
            await writer.drain()
            sent += 64 * 1024

    async with Upstream(huge, answer(200)) as upstream, forwarding(upstream.url) as forward:
        assert await forward(EVENT) == Delivered(200)
        assert await forward(EVENT) == Delivered(200)
        assert upstream.connections == 2
    # What filled the buffers of two sockets, not the gigabyte.
    assert sent < 50_000_000


@pytest.mark.parametrize(
    "behaviour", [close, reset, hang, repeat(b"x", 0.02)], ids=["close", "reset", "hang", "drip"]
)
async def test_the_head_is_the_answer_whatever_becomes_of_the_body(behaviour: Behaviour) -> None:
    began = time.monotonic()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    bodies = [chunked, chunked + b"4\r\nsome\r\n", b"HTTP/1.1 200 OK\r\n\r\nsome"]
    for head in bodies[:1] if behaviour is not close else bodies:
        outcome = await one_attempt(send(head, behaviour), TIMEOUT)
        # RST may overtake the head that was sent before it.
        assert outcome in (
            [Delivered(200), Unreachable("reset")] if behaviour is reset else [Delivered(200)]
        )
    assert time.monotonic() - began < TIMEOUT + 0.5


@pytest.mark.parametrize(
    "behaviour", [close, reset, hang, repeat(b"x", 0.02)], ids=["close", "reset", "hang", "drip"]
)
@pytest.mark.parametrize("status", [b"200 OK", b"201 Created"])
async def test_a_length_that_is_announced_and_not_sent_is_a_reset(
    behaviour: Behaviour, status: bytes
) -> None:
    began = time.monotonic()
    cut = send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 1000\r\n\r\nsome", behaviour)
    assert await one_attempt(cut, TIMEOUT) == Unreachable("reset")
    assert time.monotonic() - began < TIMEOUT + 0.5


async def test_a_broken_length_is_tried_again_on_another_connection() -> None:
    cut = send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", close)
    async with Upstream(cut, answer(200)) as upstream, forwarding(upstream.url) as forward:
        assert await forward(EVENT) == Unreachable("reset")
        assert await forward(EVENT) == Delivered(200)


async def test_an_answer_that_has_no_body_owes_none() -> None:
    for status in (b"204 No Content", b"205 Reset Content"):
        head = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
        assert isinstance(await one_attempt(send(head, close), TIMEOUT), Delivered)
    lengthy = b"HTTP/1.1 204 No Content\r\nContent-Length: 1000\r\n\r\n"
    assert await one_attempt(send(lengthy, close), TIMEOUT) == Delivered(204)


async def test_an_answer_without_a_body_ends_with_its_head_whatever_it_announces() -> None:
    unchanged = send(b"HTTP/1.1 304 No\r\nContent-Length: 1000\r\n\r\n", hang)
    async with Upstream(unchanged) as upstream, forwarding(upstream.url) as forward:
        began = time.monotonic()
        assert await forward(EVENT) == Rejected(304)
        assert time.monotonic() - began < 1


async def test_a_head_request_is_answered_by_a_head() -> None:
    length = send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", hang)
    async with Upstream(length) as upstream, forwarding(upstream.url) as forward:
        began = time.monotonic()
        assert await forward(replace(EVENT, method="HEAD", body=b"")) == Delivered(200)
        assert time.monotonic() - began < 1


async def test_an_answer_that_comes_before_the_request_is_written_is_the_answer() -> None:
    too_large = send(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", hang)
    async with (
        Upstream(too_large, at_once=True) as upstream,
        forwarding(upstream.url) as forward,
    ):
        assert await forward(replace(EVENT, body=bytes(30_000_000))) == Rejected(413)
        assert await forward(replace(EVENT, body=bytes(30_000_000))) == Rejected(413)
        # Half a request lies on the first one.
        assert upstream.connections == 2


# ---- answers to pass back -------------------------------------------------------------------


@asynccontextmanager
async def sending(url: str, clock: ManualClock | None = None) -> AsyncIterator[HttpSender]:
    sender = HttpSender(
        url, timeout=timedelta(seconds=5), concurrency=1, clock=clock or ManualClock(NOW)
    )
    try:
        yield sender
    finally:
        await sender.close()


async def one_question(behaviour: Behaviour, within: float = 5.0) -> ProxyResponse:
    async with Upstream(behaviour) as upstream:
        sender = HttpSender(
            upstream.url,
            timeout=timedelta(seconds=within),
            concurrency=1,
            clock=ManualClock(NOW),
        )
        try:
            return await forwarded(sender, verified())
        finally:
            await sender.close()


@pytest.mark.parametrize("status", [200, 202, 299, 400, 401, 404, 429, 499])
async def test_status_type_and_body_are_what_can_be_passed_back(status: int) -> None:
    fields = [("Content-Type", "text/xml; charset=utf-8"), ("X-Other", "1"), ("Retry-After", "9")]
    answered = await one_question(answer(status, fields, b"<a/>\0\xff"))
    assert answered.ack == Ack(status, b"<a/>\0\xff", "text/xml; charset=utf-8")
    if status < 300:
        assert answered.outcome == Delivered(status)
    else:
        assert answered.outcome == Rejected(status, timedelta(seconds=9))


@pytest.mark.parametrize(
    ("behaviour", "ack"),
    [
        (answer(204), Ack(204, b"", "")),
        (answer(200), Ack(200, b"", "")),
        (answer(404, [("Content-Type", "text/html")]), Ack(404, b"", "text/html")),
        (answer(200, body=b"x"), Ack(200, b"x", "application/octet-stream")),
        (
            answer(200, [("Content-Type", "caf\xe9")], b"x"),
            Ack(200, b"x", "application/octet-stream"),
        ),
        (
            send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", hang),
            Ack(200, b"x", "application/octet-stream"),
        ),
        (
            send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nx", close),
            Ack(200, b"x", "text/plain"),
        ),
        (
            answer(200, [("Content-Encoding", "identity")], b"x"),
            Ack(200, b"x", "application/octet-stream"),
        ),
        (answer(200, [("Content-Encoding", "gzip")]), Ack(200, b"", "")),
    ],
    ids=[
        "204",
        "empty",
        "empty but named",
        "unnamed",
        "unnameable",
        "chunked",
        "until closed",
        "identity",
        "nothing encoded",
    ],
)
async def test_an_answer_is_passed_back_as_it_can_be(behaviour: Behaviour, ack: Ack) -> None:
    assert (await one_question(behaviour)).ack == ack


@pytest.mark.parametrize(
    "behaviour", [hang, repeat(b"x", 0.02), close, answer(200)], ids=["hang", "drip", "close", "ok"]
)
@pytest.mark.parametrize("status", [302, 500, 503])
async def test_other_answers_are_not_passed_back_nor_waited_for(
    status: int, behaviour: Behaviour
) -> None:
    began = time.monotonic()
    head = f"HTTP/1.1 {status} No\r\nContent-Length: 1000\r\n\r\nsome".encode()
    assert await one_question(send(head, behaviour)) == ProxyResponse(Rejected(status))
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (close, {"closed"}),
        (reset, {"closed", "reset"}),
        (hang, {"timeout"}),
        (repeat(b"x", 0.02), {"timeout"}),
    ],
    ids=["close", "reset", "hang", "drip"],
)
@pytest.mark.parametrize("status", [200, 404])
async def test_half_an_answer_is_not_passed_back(
    status: int, behaviour: Behaviour, cause: set[str]
) -> None:
    head = f"HTTP/1.1 {status} Yes\r\nContent-Length: 1000\r\n\r\nsome".encode()
    answered = await one_question(send(head, behaviour), TIMEOUT)
    assert answered.ack is None
    assert isinstance(answered.outcome, Unreachable)
    assert answered.outcome.cause in cause


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (close, "closed"),
        (reset, "reset"),
        (hang, "timeout"),
        (send(b"SSH-2.0-OpenSSH_9.2\r\n", close), "malformed"),
        (answer(200, [("Content-Encoding", "gzip")], gzip.compress(b"{}")), "encoded"),
        (answer(200, body=bytes(64 * 1024 + 1)), "oversized"),
        (send(b"HTTP/1.1 200 OK\r\n\r\n", repeat(bytes(60_000), 0)), "oversized"),
    ],
    ids=["close", "reset", "hang", "garbage", "encoded", "too long", "endless"],
)
async def test_no_usable_answer_has_a_cause(behaviour: Behaviour, cause: str) -> None:
    assert await one_question(behaviour, TIMEOUT) == ProxyResponse(Unreachable(cause))


async def test_the_longest_answer_is_passed_back_whole() -> None:
    content = os.urandom(64 * 1024)
    answered = await one_question(answer(200, body=content))
    assert answered.ack is not None
    assert answered.ack.body == content


async def test_a_question_that_cannot_be_put_is_not_sent() -> None:
    async with Upstream() as upstream:
        sender = HttpSender(
            upstream.url, timeout=timedelta(seconds=5), concurrency=1, clock=ManualClock(NOW)
        )
        delivery = verified(remainder="/../elsewhere")
        answered = await forwarded(sender, delivery)
        assert answered == ProxyResponse(Unreachable("unsendable"))
        await sender.close()
        assert upstream.connections == 0


async def test_one_that_was_not_sent_can_be_dropped() -> None:
    async with sending("http://127.0.0.1:9/") as sender:
        answered: list[ProxyResponse] = []
        forwarding = Forwarded(verified(remainder="/../elsewhere"), answered.append)
        sender.forward(forwarding)
        forwarding.drop()
        await asyncio.sleep(0)
        assert answered == []


async def test_equal_answers_are_one_object_and_others_are_told_apart() -> None:
    """Those of one known head, that is: with the same length."""
    bodies = [b"ok", b"ok", b"ok", b"no", b"no", b"ok"]
    behaviours = [answer(200, body=body) for body in bodies]
    async with Upstream(*behaviours) as upstream, sending(upstream.url) as sender:
        answers = [await forwarded(sender, verified()) for _ in bodies]
    assert [each.ack and each.ack.body for each in answers] == bodies
    assert answers[1] is answers[2]


async def test_a_retry_after_is_counted_anew_each_time() -> None:
    moment = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    clock = ManualClock(NOW)
    retry = answer(429, [("Retry-After", moment)], body=b"no")
    async with Upstream(retry) as upstream, sending(upstream.url, clock) as sender:
        outcomes = []
        for _ in range(3):
            outcomes.append((await forwarded(sender, verified())).outcome)
            await clock.advance(30)
    assert outcomes == [Rejected(429, timedelta(seconds=each)) for each in (90, 60, 30)]


# ---- no answers -----------------------------------------------------------------------------


async def test_a_refused_connection() -> None:
    with RefusingPort() as url:
        async with forwarding(url) as forward:
            assert await forward(EVENT) == Unreachable("refused")


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (close, "closed"),
        (half_close, "closed"),
        (reset, "reset"),
        (send(b"HTTP/1.1 200 OK\r\nContent-Le", close), "closed"),
        (send(b"HTTP/1.1 200 OK\r\nContent-Le", reset), "reset"),
        (send(b"\x16\x03\x01\x00\xff garbage \r\n\r\n", hang), "malformed"),
        (send(b"SSH-2.0-OpenSSH_9.2\r\n", close), "malformed"),
        (send(b"HTTP/1.1 99999 No\r\n\r\n", hang), "malformed"),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", hang), "malformed"),
        (send(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n", hang), "malformed"),
        (send(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", hang), "malformed"),
        (repeat(b"\0" * 1000, 0), "malformed"),
    ],
    ids=[
        "close",
        "half-close",
        "reset",
        "close in head",
        "reset in head",
        "garbage",
        "not HTTP",
        "bad status",
        "bad length",
        "endless headers",
        "endless value",
        "zeroes",
    ],
)
async def test_a_broken_answer_has_a_cause(behaviour: Behaviour, cause: str) -> None:
    assert await one_attempt(behaviour) == Unreachable(cause)


@pytest.mark.parametrize("behaviour", [close, reset])
async def test_a_connection_that_breaks_at_once_has_a_cause(behaviour: Behaviour) -> None:
    outcome = await one_attempt(behaviour, at_once=True)
    assert isinstance(outcome, Unreachable)
    assert outcome.cause in {"closed", "reset"}


@pytest.mark.parametrize(
    "behaviour",
    [
        hang,
        send(b"HTTP/1.1 200 OK\r\nContent-Le", hang),
        send(b"HTTP/1.1 200 OK\r\n", repeat(b"X", 0.02)),
        repeat(b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    ],
    ids=["hang", "hang in head", "drip in head", "1xx for ever"],
)
async def test_no_attempt_outlasts_its_timeout(behaviour: Behaviour) -> None:
    began = time.monotonic()
    assert await one_attempt(behaviour, TIMEOUT) == Unreachable("timeout")
    assert TIMEOUT - 0.05 < time.monotonic() - began < TIMEOUT + 0.5


async def test_an_upstream_that_reads_nothing_is_left_at_the_timeout() -> None:
    event = replace(EVENT, body=bytes(30_000_000))
    async with (
        Upstream(hang, at_once=True) as upstream,
        forwarding(upstream.url, TIMEOUT) as forward,
    ):
        assert await forward(event) == Unreachable("timeout")


async def test_an_upstream_that_never_accepts_is_left_at_the_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            async with forwarding(f"http://127.0.0.1:{address[1]}", TIMEOUT) as forward:
                assert await forward(EVENT) == Unreachable("timeout")


async def test_an_upstream_works_again_after_any_failure() -> None:
    async with (
        Upstream(reset, hang, close, send(b"garbage\r\n\r\n", hang), answer(200)) as upstream,
        forwarding(upstream.url, TIMEOUT) as forward,
    ):
        causes = [await forward(EVENT) for _ in range(5)]
    assert causes == [
        Unreachable("reset"),
        Unreachable("timeout"),
        Unreachable("closed"),
        Unreachable("malformed"),
        Delivered(200),
    ]


async def test_plain_http_on_a_tls_port_is_a_tls_failure() -> None:
    async with Upstream(send(b"HTTP/1.1 400 No\r\n\r\n", close), at_once=True) as upstream:
        url = upstream.url.replace("http:", "https:")
        async with forwarding(url) as forward:
            assert await forward(EVENT) == Unreachable("tls")


def self_signed(
    folder: Path, *, years: tuple[int, int] = (2020, 2120), address: str = str(LOOPBACK)
) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(years[0], 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(years[1], 1, 1, tzinfo=UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "self-signed.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_a_tls_failure(tmp_path: Path) -> None:
    async with (
        Upstream(tls=self_signed(tmp_path)) as upstream,
        forwarding(upstream.url) as forward,
    ):
        assert await forward(EVENT) == Unreachable("tls: unknown CA")
        assert upstream.received == []


@pytest.mark.parametrize(
    ("years", "address", "wrong"),
    [
        ((2020, 2021), str(LOOPBACK), "expired"),
        ((2119, 2120), str(LOOPBACK), "not yet valid"),
        ((2020, 2120), "192.0.2.1", "wrong name"),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_said(
    years: tuple[int, int],
    address: str,
    wrong: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tls = self_signed(tmp_path, years=years, address=address)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "self-signed.pem"))
    async with Upstream(tls=tls) as upstream, forwarding(upstream.url) as forward:
        assert await forward(EVENT) == Unreachable(f"tls: {wrong}")
        assert upstream.received == []


async def test_an_upstream_that_the_system_vouches_for_is_reached_over_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "self-signed.pem"))
    async with Upstream(tls=tls) as upstream, forwarding(upstream.url) as forward:
        assert await forward(EVENT) == Delivered(200)
        assert await forward(EVENT) == Delivered(200)
        assert upstream.connections == 1


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_client_certificate_that_an_answer_asks_for_is_a_tls_failure(
    scheme: str, tmp_path: Path
) -> None:
    """Nginx answers so, in the place of the upstream behind it."""
    body = b"<html><center>No required SSL certificate was sent</center></html>"
    tls = self_signed(tmp_path) if scheme == "https" else None
    ca = tmp_path / "self-signed.pem" if tls else None
    async with Upstream(answer(400, body=body), tls=tls) as upstream:
        sender = HttpSender(
            upstream.url,
            timeout=timedelta(seconds=5),
            concurrency=1,
            clock=ManualClock(NOW),
            tls=client_context(ca),
        )
        stored = await attempted(sender, lease_of(EVENT))
        proxied = await forwarded(sender, verified())
        await sender.close()
    if tls is None:
        assert (stored, proxied.outcome) == (Rejected(400, None), Rejected(400, None))
        assert proxied.ack is not None
    else:
        wanted = Unreachable("tls: client certificate wanted")
        assert (stored, proxied) == (wanted, ProxyResponse(wanted))


async def test_an_event_whose_method_would_end_its_line_is_not_sent() -> None:
    async with Upstream() as upstream, forwarding(upstream.url) as forward:
        for method in ("POST\r\nX: y", "POST /other", "P\0ST"):
            assert await forward(replace(EVENT, method=method)) == Unreachable("unsendable")
        assert upstream.connections == 0


async def test_an_event_that_cannot_be_sent_is_an_outcome() -> None:
    async with Upstream() as upstream, forwarding(upstream.url) as forward:
        assert await forward(replace(EVENT, suffix="/../admin")) == Unreachable("unsendable")
        assert upstream.connections == 0


async def test_cancelling_an_attempt_cancels_it() -> None:
    async with Upstream(hang) as upstream, forwarding(upstream.url) as forward:
        attempt = asyncio.ensure_future(forward(EVENT))
        await upstream.has_received(1)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt


# ---- Retry-After -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("0" * 5000 + "7", 7),
        ("9" * 5000, 999_999_999),
        ("Mon, 05 Jan 2026 12:02:00 GMT", 120),
        ("Monday, 05-Jan-26 12:02:00 GMT", 120),
        ("Mon Jan  5 12:02:00 2026", 120),
        ("Mon, 05 Jan 2026 11:00:00 GMT", 0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0661", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert parse_retry_after(value, NOW) == expected


@given(
    st.text()
    | st.from_regex(
        r"\w{3}, \d{1,3} (Jan|Dec|Foo) \d{1,6} \d{1,3}:\d{1,3}:\d{1,3} ([+-]\d{1,6}|GMT)",
        fullmatch=True,
    )
)
def test_no_retry_after_breaks_the_parser(value: str) -> None:
    wait = parse_retry_after(value, NOW)
    assert wait is None or wait >= timedelta(0)
