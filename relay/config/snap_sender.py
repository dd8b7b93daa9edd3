"""The keys of a sender that speaks BI-SNAP, and of the access tokens that it asks for."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from relay.config.about_sender import About
from relay.config.inline_provider import ONLY, Networks
from relay.config.types import Duration, Label, SecretText, Section, default
from relay.providers import Environment, TokenRules
from relay.providers.snap import ACCESS, ECHOED, SERVICES, Dialect
from relay.providers.snap.provider import SnapProvider, described

#: Two digits, as text or as a number; `checks_snap` looks at them, and at the paths.
ServiceCode = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    WithJsonSchema({"type": ["string", "integer"], "pattern": "^[0-9]{2}$"}),
]


class Snap(Section):
    """What the sender does of BI-SNAP."""

    signature: Literal["asymmetric", "symmetric"] = default(
        "asymmetric",
        description="asymmetric: SHA256withRSA by the sender's private key. symmetric: HMAC-SHA512"
        " by a shared secret, over an access token that the sender asks for first.",
    )
    services: dict[str, ServiceCode] = default(
        dict(SERVICES),
        min_length=1,
        description="The paths that it appends, and the service code of each. 24 is a question: the"
        " upstream answers it itself.",
    )
    token_path: str = default(
        ACCESS, description="With symmetric: where it asks for an access token."
    )
    echo: tuple[str, ...] = default(
        ECHOED,
        description="What `virtualAccountData` of the answer to service 25 repeats of the message.",
    )

    def dialect(self) -> Dialect:
        symmetric = self.signature == "symmetric"
        return Dialect(
            services=self.services,
            symmetric=symmetric,
            token_path=self.token_path if symmetric else None,
            echoed=self.echo,
        )


class SnapSender(Section):
    """A sender that speaks BI-SNAP with keys of its own."""

    name: Label = Field(description="Its name.", examples=["bank"])
    networks: dict[str, Networks] = default({}, description="Addresses, by environment.")
    snap: Snap = Field(
        description="What it does of BI-SNAP.", examples=[{"signature": "symmetric"}]
    )
    about: About | None = default(None, description="What is known of the sender.")

    def provider(self) -> SnapProvider:
        """Return the provider that this describes."""
        environments = {name: each.environment() for name, each in self.networks.items()}
        dialect = self.snap.dialect()
        found = described(self.name, environments or {ONLY: Environment()}, dialect)
        if self.about is None:
            return found
        about = self.about
        info = replace(
            found.info,
            title=about.title,
            document=about.documents[0] if about.documents else found.info.document,
            documents=about.documents[1:],
            reviewed=about.reviewed or found.info.reviewed,
            traps=about.traps,
            vector=about.vector or "",
        )
        return SnapProvider(info, dialect, "the sender")


class AccessTokens(Section):
    """Who may ask for access tokens, of a sender that signs with one."""

    client_id: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[!-~]+$",
        description="What X-CLIENT-KEY must be.",
        examples=["BRN-0211-1696919651918"],
    )
    keys: tuple[SecretText, ...] = Field(
        min_length=1,
        description="The sender's public keys, in PEM; several during a rotation.",
        examples=[["${file:keys/bank.pem}"]],
    )
    life: Duration = default("15m", description="How long a token is good: 1m to 24h.")

    def rules(self) -> TokenRules:
        return TokenRules(self.client_id, self.keys, self.life)
