"""The keys about listeners: public ones, the private one, and the limits of what may be asked."""

from pydantic import Field

from relay.config.types import (
    AdminHost,
    BindText,
    Duration,
    FilePath,
    SecretText,
    Section,
    Size,
    default,
)
from relay.core.strict_json import MAX_CONFIGURED_DEPTH, MAX_DEPTH, JsonLimits


class Tls(Section):
    """A certificate and its private key, in PEM files."""

    certificate: FilePath = Field(
        description="The certificate, followed by its chain.", examples=["tls/fullchain.pem"]
    )
    key: FilePath = Field(
        description="The private key, without a pass phrase.", examples=["tls/privkey.pem"]
    )


class Listener(Section):
    """A public listener."""

    bind: BindText = Field(
        description="Address and port to listen on.", examples=["0.0.0.0:8443", "[::]:8443"]
    )
    tls: Tls | None = default(
        None, description="Serve HTTPS; read again when the files change. Without it: HTTP."
    )
    proxy_protocol: bool = default(
        False,
        description="Every connection must open with a PROXY header (v1 or v2), and only from"
        " trusted_proxies.",
    )


class Admin(Section):
    """The private listener: health, metrics, events page and API."""

    bind: BindText = default("127.0.0.1:9464", description="Address and port to listen on.")
    token: SecretText | None = default(
        None,
        description="Bearer token of page and API, which may read and act. Without any token:"
        " health and metrics only.",
    )
    read_token: SecretText | None = default(
        None, description="Bearer token of page and API that may read and not act."
    )
    hosts: tuple[AdminHost, ...] = default(
        (),
        description="Names and addresses under which page and API answer, besides those of loopback"
        " and `bind`. Health and metrics answer under any.",
        examples=[["relay.internal"]],
    )


class Limits(Section):
    """Bounds on what strangers may ask of the public listeners."""

    body: Size = default("256KiB", description="The largest body that is read.")
    json_keys: int | None = default(
        None,
        ge=1,
        le=100_000_000,
        description="Keys in one body, all its objects together. Unless this says otherwise one for"
        " each 12 bytes of `body`, at least 2000 and at most 21845, which are parsed in some 7 ms;"
        " a stranger's body may be parsed, too.",
        examples=[20_000],
    )
    json_elements: int | None = default(
        None,
        ge=1,
        le=100_000_000,
        description="Elements in one body, and as many objects and arrays. Unless this says"
        " otherwise one for each 12 bytes of `body`, at least 5000 and at most 21845.",
        examples=[20_000],
    )
    json_depth: int = default(
        MAX_DEPTH,
        ge=1,
        le=MAX_CONFIGURED_DEPTH,
        description="How deep objects and arrays may be nested.",
    )
    header_timeout: Duration = default("10s", description="How long a request head may take.")
    body_timeout: Duration = default("10s", description="How long a body may take.")
    connections: int = default(
        4096, ge=1, le=1_000_000, description="Open connections, all together."
    )
    connections_per_address: int = default(
        256, ge=1, le=1_000_000, description="Open connections of one peer."
    )
    answer_within: Duration = default("4s", description="No answer takes longer than this.")

    @property
    def json_limits(self) -> JsonLimits:
        """How much JSON one body may hold."""
        return JsonLimits(self.body, self.json_keys, self.json_elements, self.json_depth)
