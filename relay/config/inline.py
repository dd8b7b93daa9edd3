"""A provider that is described in the configuration itself. Not available in this version."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from relay.config.types import HostName, Label, Network, Section, default


class Networks(Section):
    """Where the messages of one environment come from."""

    cidrs: tuple[Network, ...] = default((), description="Networks.")
    hosts: tuple[HostName, ...] = default((), description="DNS host names.")


class HeaderField(Section):
    """A header field of the request."""

    header: str = Field(description="Its name.", examples=["X-Hub-Signature-256"])


class JsonField(Section):
    """A field of the body."""

    json_: str = Field(alias="json", description="A JSON pointer.", examples=["/signature"])


class JsonFields(Section):
    """Fields of the body, taken together."""

    json_: tuple[str, ...] = Field(
        alias="json", description="JSON pointers.", examples=[["/id", "/status"]]
    )


def _field_tag(value: object) -> str:
    held = value if isinstance(value, dict) else {}
    return "json" if "json" in held or isinstance(value, JsonField | JsonFields) else "header"


MessageField = Annotated[
    Annotated[HeaderField, Tag("header")] | Annotated[JsonField, Tag("json")],
    Discriminator(_field_tag),
]
MessageFields = Annotated[
    Annotated[HeaderField, Tag("header")] | Annotated[JsonFields, Tag("json")],
    Discriminator(_field_tag),
]


class SignedTime(Section):
    """The time that the sender signed."""

    from_: MessageField = Field(
        alias="from", description="Where it stands.", examples=[{"header": "X-Time"}]
    )
    unit: Literal["s", "ms", "rfc1123", "iso8601"] = Field(
        description="How it is written.", examples=["s"]
    )


class Signature(Section):
    """How messages are signed."""

    scheme: Literal["hmac", "digest", "rsa", "ed25519", "token"] = Field(
        description="The kind of signature.", examples=["hmac"]
    )
    algorithm: Literal["sha1", "sha256", "sha512"] = default("sha256", description="The hash.")
    secret_encoding: Literal["text", "base64", "hex"] = default(
        "text", description="How the secret is written."
    )
    strip_prefix: str | None = default(None, description="What to cut off the secret's beginning.")
    from_: MessageField = Field(
        alias="from", description="Where it stands.", examples=[{"header": "X-Hub-Signature-256"}]
    )
    format: str = default("{signature}", description="What stands around it.")
    encoding: Literal["hex", "base64"] = default("hex", description="How it is written.")
    signed: str = default("{body}", description="What is signed.")
    timestamp: SignedTime | None = default(None, description="The time that is signed.")


class InlineProvider(Section):
    """A sender that is not built in. Not available in this version."""

    name: Label = Field(description="Its name.", examples=["github"])
    networks: dict[str, Networks] = default({}, description="Addresses, by environment.")
    methods: tuple[str, ...] = default(("POST",), min_length=1, description="Request methods.")
    signature: Signature = Field(
        description="How messages are signed.",
        examples=[{"scheme": "hmac", "from": {"header": "X-Hub-Signature-256"}}],
    )
    event_key: MessageFields | None = default(
        None, description="What makes an event unique. Default: the SHA-256 of its body."
    )
