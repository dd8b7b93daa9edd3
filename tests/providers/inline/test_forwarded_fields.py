"""The sender's header fields that reach the upstream."""

from dataclasses import replace

import pytest

from relay.providers.inline import HeaderField, HeaderFields
from relay.providers.inline.forwarded_fields import forwarded_fields
from relay.providers.inline.problems import problems
from tests.providers.inline.describe import described


def test_what_is_signed_or_tells_apart_and_what_is_listed() -> None:
    description = replace(
        described(signed="{header:X-Time}.{body}", event_key=(HeaderField("X-Id"),)),
        forward=("X-Topic", "x-id"),
    )
    assert sorted(map(str.lower, forwarded_fields(description))) == [
        *("x-id", "x-signature", "x-time", "x-topic")
    ]


@pytest.mark.parametrize("source", [HeaderField("X-Token"), HeaderFields(("X-Token", "X-T"))])
def test_a_token_never_is(source: HeaderField | HeaderFields) -> None:
    description = replace(described(scheme="token", source=source), forward=("X-Topic",))
    assert forwarded_fields(description) == ("X-Topic",)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x-token", "x-token may hold a token, which is forwarded nowhere; leave it out"),
        ("Cookie", "Cookie may hold a token, which is forwarded nowhere; leave it out"),
        ("Host", "Host belongs to the connection, and is not the sender's; leave it out"),
        ("Via", "Via belongs to proxies, and is not the sender's; leave it out"),
        ("Relay_Signed", "Relay_Signed belongs to relay, and is not the sender's; leave it out"),
    ],
)
def test_what_cannot_be_listed(name: str, said: str) -> None:
    description = replace(
        described(scheme="token", source=HeaderField("X-Token")), forward=("X-Topic", name)
    )
    assert list(problems(description)) == [(("forward", 1), said)]
