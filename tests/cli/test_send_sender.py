"""A sample goes over the wire as the provider would send it."""

from datetime import UTC, datetime

import pytest

from relay.cli.send import Answer, Unsent, post
from relay.core.secret import Secret
from relay.providers import Sample, SampleOrder
from relay.providers.builtin import provider_named
from tests.harness.upstream import RefusingPort, Upstream, answer, reset


def sample(provider: str, url: str) -> Sample:
    order = SampleOrder(url, Secret("key"), datetime(2026, 1, 5, tzinfo=UTC))
    made: Sample = provider_named(provider).sample(order)
    return made


@pytest.mark.parametrize("provider", ["midtrans", "vipps"])
async def test_bytes_target_and_headers_arrive_as_signed(provider: str) -> None:
    async with Upstream(answer(200, body=b"OK")) as receiver:
        url = f"{receiver.url}/a%2Fb?x=1"
        sent = sample(provider, url)
        assert await post(url, sent, "34.101.68.130") == Answer(200, "OK")
    (got,) = receiver.received
    assert (got.method, got.target, got.body) == (sent.method, "/a%2Fb?x=1", sent.body)
    assert set(sent.headers) <= set(got.headers)
    assert got.values("X-Forwarded-For") == ["34.101.68.130"]


async def test_without_a_client_nothing_is_forwarded() -> None:
    async with Upstream() as receiver:
        await post(receiver.url, sample("midtrans", receiver.url))
    own = {"host", "content-length"} | {name.lower() for name, _ in sample("midtrans", "x").headers}
    assert {name.lower() for name, _ in receiver.received[0].headers} == own


async def test_a_redirect_is_an_answer() -> None:
    async with Upstream(answer(302, [("Location", "/elsewhere")])) as receiver:
        assert (await post(receiver.url, sample("midtrans", receiver.url))).status == 302
    assert len(receiver.received) == 1


async def test_no_answer_says_who_did_not_answer() -> None:
    with RefusingPort() as url, pytest.raises(Unsent, match=f"no answer from {url}"):
        await post(url, sample("midtrans", url))
    async with Upstream(reset) as receiver:
        with pytest.raises(Unsent, match="no answer from"):
            await post(receiver.url, sample("midtrans", receiver.url))
