"""What a configuration file can say of one endpoint. Attribute names are the keys of the file."""

from typing import Annotated, Literal

from netaddr import IPNetwork
from pydantic import Discriminator, Field, Strict, Tag

from relay.config.inline import InlineProvider
from relay.config.types import (
    Duration,
    Label,
    Member,
    Pattern,
    PublicPath,
    PublicUrl,
    SecretText,
    Section,
    UpstreamUrl,
    default,
)
from relay.sources import Mode


class Allowlist(Section):
    """Which addresses may send."""

    mode: Annotated[Mode, Strict(strict=False)] = default(
        "enforce", description="enforce: refuse others. report: only count them. off: anybody."
    )
    add: tuple[Member, ...] = default(
        (), description="Networks and host names besides the provider's own."
    )
    replace: tuple[Member, ...] | None = default(
        None, description="Networks and host names instead of the provider's own."
    )

    @staticmethod
    def networks(members: tuple[IPNetwork | str, ...]) -> tuple[IPNetwork, ...]:
        return tuple(member for member in members if isinstance(member, IPNetwork))

    @staticmethod
    def hosts(members: tuple[IPNetwork | str, ...]) -> tuple[str, ...]:
        return tuple(member for member in members if isinstance(member, str))


class TimeWindow(Section):
    """How far a signed time may lie from now."""

    past: Duration = Field(description="How old it may be.", examples=["24h"])
    future: Duration = Field(description="How far ahead it may be.", examples=["5m"])


class Confirm(Section):
    """Ask the provider before delivery whether what was said in its name is so."""

    with_: Literal["status"] = default(
        "status", alias="with", description="How to ask: for the status of the transaction."
    )
    on_error: Literal["hold", "deliver"] = default(
        "hold",
        description="When asking leads to nothing: hold the event after give_up_after, or deliver"
        " it without confirmation after half of that.",
    )
    url: UpstreamUrl | None = default(
        None,
        description="The API to ask. Default: the one of the environment.",
        examples=["https://api.midtrans.com"],
    )
    rate: int = default(
        10, ge=1, le=1000, description="At most this many questions a second for this endpoint."
    )


def _timestamp_tag(value: object) -> str:
    return "window" if isinstance(value, dict | TimeWindow) else "off"


def _provider_tag(value: object) -> str:
    return "inline" if isinstance(value, dict | InlineProvider) else "name"


Timestamp = Annotated[
    Annotated[Literal["off"], Tag("off")] | Annotated[TimeWindow, Tag("window")],
    Discriminator(_timestamp_tag),
]
ProviderChoice = Annotated[
    Annotated[str, Tag("name")] | Annotated[InlineProvider, Tag("inline")],
    Discriminator(_provider_tag),
]


class Endpoint(Section):
    """One public path, bound to a provider and its secrets."""

    name: Label = Field(description="Label in metrics, logs and history.", examples=["midtrans"])
    path: PublicPath = Field(
        description="The path that the provider posts to, or the prefix that it is given.",
        examples=["/midtrans/notification"],
    )
    provider: ProviderChoice = Field(
        description="A built-in provider, which `relay providers list` names, or a mapping that"
        " describes another one.",
        examples=["midtrans"],
    )
    environment: str = default(
        "",
        description="One of the provider's environments; needed when there are several.",
        examples=["production"],
    )
    secrets: tuple[SecretText, ...] = default(
        (),
        description="What the provider signs with; several during a rotation, any may match.",
        examples=[["${env:MIDTRANS_SERVER_KEY}"]],
    )
    upstream: str = Field(
        description="The upstream that receives the events.", examples=["billing"]
    )
    mode: Literal["store", "proxy"] = default(
        "store",
        description="store: keep, acknowledge, deliver. proxy: forward and answer with the"
        " upstream's answer.",
    )
    allowlist: Allowlist = default({}, description="Which addresses may send.")
    public_url: PublicUrl | None = default(
        None,
        description="The URL that the provider signed, when another one arrives here.",
        examples=["https://pay.example.com/midtrans/notification"],
    )
    timestamp: Timestamp | None = default(
        None,
        description="How far a signed time may lie from now, or off. Default: the provider's.",
        examples=["off", {"past": "24h", "future": "5m"}],
    )
    unsigned: Literal["refuse", "accept"] = default(
        "refuse",
        description="accept: take deliveries without a signature, from enforced addresses.",
    )
    order_id_pattern: Pattern | None = default(
        None, description="midtrans: a regular expression that whole order ids must match."
    )
    partner_id: str | None = default(
        None, min_length=1, description="midtrans-snap: what X-PARTNER-ID must be."
    )
    callback: Literal["checkout", "express"] | None = default(
        None, description="vipps-callback: the product whose one exact path this is."
    )
    confirm: Confirm | None = default(
        None,
        description="midtrans: ask for the status of each transaction before delivery.",
    )
