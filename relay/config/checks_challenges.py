"""Whether the secret of a challenge is its own, and not one that verifies messages anywhere."""

from collections.abc import Iterator
from contextlib import suppress

from relay.config.inline_provider import InlineProvider
from relay.config.settings import Endpoint, Settings
from relay.config.yaml_document import ConfigIssue, Location
from relay.core.secret import Secret
from relay.providers.inline.verifiers import key


def issues(settings: Settings) -> Iterator[ConfigIssue]:
    """Yield each secret of a challenge that would make it sign messages that are taken here."""
    challenged = [
        (("endpoints", at, "provider", "challenge", number, "secret"), challenge.secret)
        for at, endpoint in enumerate(settings.endpoints)
        if isinstance(endpoint.provider, InlineProvider)
        for number, challenge in enumerate(endpoint.provider.challenge)
        if challenge.secret is not None
    ]
    if not challenged:
        return
    known: dict[bytes, tuple[str, Location]] = {}
    place: Location
    for at, endpoint in enumerate(settings.endpoints):
        for number, secret in enumerate(endpoint.secrets):
            place = ("endpoints", at, "secrets", number)
            for spelled in _keys(endpoint, secret):
                known.setdefault(spelled, (f"verifies messages of {endpoint.name}", place))
    for name, upstream in settings.upstreams.items():
        for number, secret in enumerate(upstream.signing_secrets):
            place = ("upstreams", name, "signing_secrets", number)
            known.setdefault(_plain(secret), (f"signs what {name} is sent", place))
    for location, secret in challenged:
        if (found := known.get(_plain(secret))) is not None:
            does, place = found
            message = (
                f"also {does}, and anybody could have a message signed with it; give the challenge"
                " a secret of its own"
            )
            yield ConfigIssue(location, message, (place,))


def _plain(secret: Secret) -> bytes:
    return secret.reveal().strip()


def _keys(endpoint: Endpoint, secret: Secret) -> Iterator[bytes]:
    """Yield a secret as it is written, and the key that it stands for."""
    yield _plain(secret)
    if isinstance(endpoint.provider, InlineProvider):
        rule = endpoint.provider.signature.rule()
        with suppress(ValueError):
            yield _plain(key(rule, secret))
