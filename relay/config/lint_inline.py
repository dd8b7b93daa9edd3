"""Lint rules for a provider that is described in the file."""

from collections.abc import Iterator

from relay.config.advice import Advice
from relay.config.endpoint import Endpoint
from relay.config.inline import InlineProvider
from relay.config.places import Place
from relay.inline import Description
from relay.inline.keys import key
from relay.inline.template import Template

#: RFC 2104 discourages keys shorter than the hash, and 128 bits are what nobody guesses.
SHORTEST_SECRET = 16


def advice(endpoint: Endpoint, place: Place) -> Iterator[Advice]:
    """Yield what is to be said of this endpoint; nothing for a built-in provider."""
    if not isinstance(endpoint.provider, InlineProvider):
        return
    description = endpoint.provider.description()
    yield from _short_secrets(endpoint, description, place)
    yield from _others_unsigned(description, (*place, "provider", "signature", "signed"))


def _short_secrets(endpoint: Endpoint, described: Description, place: Place) -> Iterator[Advice]:
    if described.signature.scheme in {"rsa", "ed25519"}:
        return
    for at, secret in enumerate(endpoint.secrets):
        # Its length is not told either.
        if len(key(described.signature, secret).reveal()) < SHORTEST_SECRET:
            message = (
                f"is shorter than {SHORTEST_SECRET} bytes and could be guessed; have the sender"
                " use a long random one"
            )
            yield Advice((*place, "secrets", at), "short-secret", message)


def _others_unsigned(described: Description, place: Place) -> Iterator[Advice]:
    if described.signature.scheme == "token" or described.single is not None:
        return
    template = Template(described.signature.signed)
    if template.covers_body:
        return
    lists = dict.fromkeys(name.partition("/0/")[0] for name in template.fields if "/0/" in name)
    for name in lists:
        message = f"covers one entry of /{name}, and others would pass; write single: /{name}"
        yield Advice(place, "others-unsigned", message)
