"""Warnings about secrets: written out, short, odd, or those of another place.

No message holds a secret, or tells how long it is.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from relay.config.endpoints import client_key, is_certain, oddities
from relay.config.inline_provider import InlineProvider
from relay.config.lint_topology import Advice
from relay.config.secret_text import looks_secret, oddity
from relay.config.settings import Endpoint, Settings
from relay.config.yaml_document import Location
from relay.core.sealing import KEY_BYTES, key_bytes
from relay.core.secret import Secret
from relay.providers import ProviderInfo
from relay.providers.inline import PUBLIC_KEY_SCHEMES
from relay.providers.inline.verifiers import key

#: RFC 2104 discourages keys shorter than the hash; 128 bits cannot be guessed.
MIN_SECRET_LENGTH: Final = 16

#: Of tokens that anybody would try first: such words, once or more, with figures and signs or none.
_COMMON: Final = re.compile(
    "(?:admin|change|me|please|password|passwd|secret|token|relay|test|example|qwerty|letmein)+"
)
_NO_LETTERS: Final = re.compile(r"[\W\d_]+")

#: Fewer letters and figures than this, however long the token is, are a pattern.
_MIN_DISTINCT: Final = 6

#: Of 32 random bytes some 30 differ; that so few do never happens.
_MIN_DISTINCT_BYTES: Final = 12

# Midtrans prefixes the keys of its sandbox.
_SANDBOX_KEY: Final = b"SB-Mid-server-"
_PRODUCTION: Final = "production"


def secret_advice(settings: Settings, info: Mapping[str, ProviderInfo]) -> Iterator[Advice]:
    """Yield warnings about every secret of the file.

    info: of each endpoint's provider, by the endpoint's name.
    """
    for location in settings.source.literals:
        if not _is_plain_header(settings, location):
            message = "a secret stands in the file; write ${env:NAME} or ${file:PATH}"
            yield Advice(location, "literal-secret", message)
    yield from _admin(settings)
    yield from _sealing(settings.spool.encrypt)
    for name, upstream in settings.upstreams.items():
        found = [oddity(secret) for secret in upstream.signing_secrets]
        yield from _odd(found, ("upstreams", name, "signing_secrets"))
    for at, endpoint in enumerate(settings.endpoints):
        if endpoint.name in info:
            yield from _endpoint(endpoint, ("endpoints", at))
    yield from _shared(settings, info)


def _is_plain_header(settings: Settings, location: Location) -> bool:
    """Return whether this is a header field for an upstream that does not look like a secret."""
    match location:
        case ("upstreams", str(upstream), "headers", str(name)):
            return not looks_secret(name, settings.upstreams[upstream].headers[name])
    return False


def _admin(settings: Settings) -> Iterator[Advice]:
    admin = settings.admin
    for name, token in (("token", admin.token), ("read_token", admin.read_token)):
        if token is not None:
            yield from _token(token, ("admin", name))


def _sealing(written: Sequence[Secret]) -> Iterator[Advice]:
    """Yield keys of the spool that are written twice, or that nobody has drawn by lot."""
    seen: dict[bytes, int] = {}
    for at, value in enumerate(map(key_bytes, written)):
        if len(set(value)) < _MIN_DISTINCT_BYTES:
            message = (
                f"repeats a few bytes and could be guessed; openssl rand -base64 {KEY_BYTES} prints"
                " a better one"
            )
            yield Advice(("spool", "encrypt", at), "weak-key", message)
        if value in seen:
            message = f"is the same key as the one at {seen[value]}; write each once"
            yield Advice(("spool", "encrypt", at), "key-twice", message)
        seen.setdefault(value, at)


def _token(token: Secret, location: Location) -> Iterator[Advice]:
    if (said := oddity(token)) is not None:
        yield Advice(location, "odd-secret", _told(said))
    text = token.reveal().decode(errors="replace").lower()
    if _COMMON.fullmatch(_NO_LETTERS.sub("", text)):
        message = "is a word that anybody would try; write a long random one"
        yield Advice(location, "weak-token", message)
    elif len(set(text)) < _MIN_DISTINCT and len(text) >= MIN_SECRET_LENGTH:
        message = "repeats a few letters and could be guessed; write a long random one"
        yield Advice(location, "weak-token", message)
    elif len(token.reveal()) < MIN_SECRET_LENGTH:
        message = (
            f"is shorter than {MIN_SECRET_LENGTH} bytes and could be guessed; openssl rand -hex 24"
            " prints a better one"
        )
        yield Advice(location, "weak-token", message)


def _endpoint(endpoint: Endpoint, location: Location) -> Iterator[Advice]:
    secrets = (*location, "secrets")
    yield from _short(endpoint, secrets)
    yield from _odd(oddities(endpoint), secrets, certain=is_certain(endpoint))
    own = endpoint.confirm.key if endpoint.confirm is not None else None
    if own is not None and (said := client_key(own)) is not None:
        yield Advice((*location, "confirm", "key"), "client-key", said)
    elif own is not None and (said := oddity(own)) is not None:
        yield Advice((*location, "confirm", "key"), "odd-secret", _told(said, certain=True))
    for at, secret in enumerate(endpoint.secrets):
        if endpoint.provider == "midtrans" and (said := client_key(secret)) is not None:
            yield Advice((*secrets, at), "client-key", said)
        # The message tells only the kind of key, which its prefix shows.
        if endpoint.environment == _PRODUCTION and secret.reveal().startswith(_SANDBOX_KEY):
            message = "is a server key of the sandbox; production has another"
            yield Advice((*secrets, at), "sandbox-key", message)


def _short(endpoint: Endpoint, location: Location) -> Iterator[Advice]:
    if not isinstance(endpoint.provider, InlineProvider):
        return
    rule = endpoint.provider.description().signature
    if rule.scheme in PUBLIC_KEY_SCHEMES:
        return
    for at, secret in enumerate(endpoint.secrets):
        # The message does not tell its length either.
        proof = key(rule, secret).reveal()
        if rule.scheme == "basic":
            proof = proof.partition(b":")[2]
        if len(proof) < MIN_SECRET_LENGTH:
            message = (
                f"is shorter than {MIN_SECRET_LENGTH} bytes and could be guessed; have the sender"
                " use a long random one"
            )
            yield Advice((*location, at), "short-secret", message)


def _odd(
    found: Sequence[str | None], location: Location, *, certain: bool = False
) -> Iterator[Advice]:
    """Yield what came along with each secret of a list.

    certain: the sender's secret never has such a thing, so that nothing can fit this one.
    """
    for at, said in enumerate(found):
        if said is not None:
            yield Advice((*location, at), "odd-secret", _told(said, certain=certain))


def _told(said: str, *, certain: bool = False) -> str:
    unless = "nothing can fit it" if certain else "nothing fits it unless the other side's does"
    return f"{said}: {unless}; write it without"


def _shared(settings: Settings, info: Mapping[str, ProviderInfo]) -> Iterator[Advice]:
    """Yield secrets that endpoints of several environments of one provider have."""
    seen: dict[tuple[str, Secret], dict[str, str]] = defaultdict(dict)
    for at, endpoint in enumerate(settings.endpoints):
        if endpoint.name not in info:
            continue
        for number, secret in enumerate(endpoint.secrets):
            known = seen[info[endpoint.name].name, secret]
            for environment, name in known.items():
                if environment != endpoint.environment:
                    message = (
                        f"the endpoint {name} ({environment}) has the same secret, and each"
                        " environment has its own"
                    )
                    yield Advice(("endpoints", at, "secrets", number), "shared-secret", message)
            known.setdefault(endpoint.environment, endpoint.name)
