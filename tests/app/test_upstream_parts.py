"""What an upstream's settings come to, as its requests show."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.app.upstream_parts import credentials_of, http_sender, oauth2_of
from relay.core.clock import SystemClock
from relay.core.event import Delivered, ProxyResponse, Unreachable
from relay.core.request import Ack
from relay.delivery.http import client_context
from relay.delivery.sender import HttpSender
from tests.config.files import ENVIRON, GOOD, good
from tests.harness.attempting import attempted, forwarded
from tests.harness.authority import Authority
from tests.harness.deliveries import EVENT, lease_of, verified
from tests.harness.tls_server import TlsServer
from tests.harness.upstream import Upstream

PLACE = "http://127.0.0.1:8081/webhooks"


@asynccontextmanager
async def sender(
    url: str, more: str = "", tls: ssl.SSLContext | None = None
) -> AsyncIterator[HttpSender]:
    """Give the sender of an upstream with this URL and these keys besides."""
    text = GOOD.replace(f'{{url: "{PLACE}"', f'{{url: "{url}"{more}')
    settings = good(text, ENVIRON | {"SIGNING": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
    upstream = settings.upstreams["billing"]
    sender = http_sender(upstream, SystemClock(), credentials_of(upstream, None), tls)
    try:
        yield sender
    finally:
        await sender.close()


async def test_requests_are_signed_where_there_are_signing_secrets() -> None:
    async with Upstream() as upstream:
        for more in ("", ', signing_secrets: ["${env:SIGNING}"]'):
            async with sender(upstream.url, more) as sending:
                assert await attempted(sending, lease_of(EVENT)) == Delivered(200)
    unsigned, signed = upstream.received
    assert unsigned.values("webhook-signature") == []
    assert signed.values("webhook-signature")[0].startswith("v1,")


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "[::ffff:a9fe:a9fe]"])
async def test_a_metadata_address_is_not_called(host: str) -> None:
    async with sender(f"http://{host}/latest") as sending:
        refused = Unreachable("address not allowed")
        assert await attempted(sending, lease_of(EVENT)) == refused
        assert await forwarded(sending, verified()) == ProxyResponse(refused)


async def test_one_that_is_listed_is_called() -> None:
    # Nothing has this address here: it is refused, or cannot be reached in time.
    more = ', timeout: 200ms, allow_addresses: ["169.254.10.0/24"]'
    async with sender("http://[64:ff9b::a9fe:a07]/", more) as sending:
        outcome = await attempted(sending, lease_of(EVENT))
    assert outcome in {Unreachable("refused"), Unreachable("timeout")}


@pytest.mark.parametrize(
    ("more", "name", "value"),
    [
        (', headers: {X-Api-Key: "${env:KEY}"}', "X-Api-Key", ENVIRON["KEY"]),
        (', auth: {bearer: "${env:KEY}"}', "Authorization", f"Bearer {ENVIRON['KEY']}"),
        (
            ", auth: {basic: {user: Aladdin, password: open sesame}}",
            "Authorization",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
    ],
)
async def test_credentials_stand_in_each_request(more: str, name: str, value: str) -> None:
    async with Upstream() as upstream, sender(upstream.url, more) as sending:
        assert await attempted(sending, lease_of(EVENT)) == Delivered(200)
        assert await forwarded(sending, verified()) == ProxyResponse(
            Delivered(200), Ack(200, b"", "")
        )
    assert [each.values(name) for each in upstream.received] == [[value], [value]]


async def test_without_credentials_nothing_is_added() -> None:
    upstream = good(GOOD).upstreams["billing"]
    assert credentials_of(upstream, None) is None
    assert oauth2_of(upstream) is None


@pytest.mark.parametrize("named", [True, False])
async def test_the_name_of_the_certificate_is_that_of_the_settings(
    named: bool, tmp_path: Path
) -> None:
    own = Authority(tmp_path)
    more = ", tls: {server_name: billing.internal}" if named else ""
    with TlsServer(own.server("billing.internal")) as upstream:
        async with sender(upstream.url, more, client_context(own.file)) as sending:
            outcome = await attempted(sending, lease_of(EVENT))
    assert outcome == (Delivered(200) if named else Unreachable("tls: wrong name"))


async def test_header_fields_that_are_no_secrets_are_masked_nowhere() -> None:
    fields = (
        'X-Env: production, X-Api-Key: plain, X-Tenant: "${env:KEY}", X-Run: 9f8e7d6c5b4a39281706'
    )
    text = GOOD.replace(f'{{url: "{PLACE}"', f'{{url: "{PLACE}", headers: {{{fields}}}')
    settings = good(text)
    secrets = [b"plain", ENVIRON["KEY"].encode(), b"9f8e7d6c5b4a39281706"]
    credentials = credentials_of(settings.upstreams["billing"], None)
    assert credentials is not None
    assert [each.reveal() for each in credentials.secrets()] == secrets
    every = {each.reveal() for each in settings.every_secret()}
    assert b"production" not in every
    assert every >= set(secrets)
