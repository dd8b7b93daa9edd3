"""Whether the keys of an upstream fit together, and its files can be used."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Final

from relay.config.certificate_files import Pair, authority_issues, certificate_issues
from relay.config.endpoints import known_info
from relay.config.secret_text import oddity
from relay.config.settings import Settings
from relay.config.types import header_name, label
from relay.config.upstream_settings import OAuth2Auth, Upstream
from relay.config.upstream_values import unsendable
from relay.config.yaml_document import ConfigIssue, Location, Place, shown
from relay.core.conditions import HeaderCondition
from relay.core.egress import GUARDED, may_dial
from relay.core.header_fields import Owner, owner_of, plain
from relay.core.urls import is_https
from relay.signatures.shared_secret import Signer

#: What is said of a field that is not free.
_OWNED: Final[Mapping[Owner, str]] = {
    Owner.CONNECTION: "belongs to the connection, and relay writes it where it is needed",
    Owner.PROXY: "is what proxies say of those before them",
    Owner.RELAY: "is relay's own: nothing else may begin with Relay- or webhook-",
}
#: The sender's fields that every upstream receives.
_SENDERS: Final = ("content-type", "user-agent", "accept")


def upstream_issues(settings: Settings, place: Place) -> Iterator[ConfigIssue]:
    """Yield what is wrong with each upstream. place: where a value stands."""
    passed_on = _passed_on(settings)
    for name, upstream in settings.upstreams.items():
        location: Location = ("upstreams", name)
        try:
            label(name)
        except ValueError as error:
            message = f"a name that is no label in metrics; {error}"
            yield ConfigIssue(location, message, at_key=True)
        yield from _signing(upstream, location)
        yield from _headers(upstream, location, place)
        yield from _senders_own(upstream, passed_on.get(name, {}), location, place)
        yield from _tls(upstream, location)
        yield from _final(upstream, location)
        yield from _addresses(upstream, location)


def _signing(upstream: Upstream, location: Location) -> Iterator[ConfigIssue]:
    for at, secret in enumerate(upstream.signing_secrets):
        try:
            Signer((secret,))
        except ValueError as error:
            cause = str(error).removeprefix("signing secret 0 ")
            odd = oddity(secret)
            cause = f"{cause} (it {odd})" if odd else cause
            message = f"{cause}; write Base64 of 24 to 64 bytes, with or without whsec_ in front"
            yield ConfigIssue((*location, "signing_secrets", at), message)


# ---- header fields --------------------------------------------------------------------------


def _headers(upstream: Upstream, location: Location, place: Place) -> Iterator[ConfigIssue]:
    seen: dict[str, Location] = {}
    for name, value in upstream.headers.items():
        where = (*location, "headers", name)
        if (said := _unfit_name(name, upstream)) is not None:
            needs = ((*location, "auth"),) if plain(name) == "authorization" else ()
            yield ConfigIssue(where, said, needs, at_key=True)
        elif (first := seen.get(plain(name))) is not None:
            message = (
                f"is {first[-1]} at {place(first)} once more: names have no case, and many servers"
                " read _ as -; write it once"
            )
            yield ConfigIssue(where, message, at_key=True)
        seen.setdefault(plain(name), where)
        if (said := unsendable(value.reveal())) is not None:
            yield ConfigIssue(where, said)


def _unfit_name(name: str, upstream: Upstream) -> str | None:
    """Return why a header field of this name cannot be added."""
    try:
        header_name(name)
    except ValueError as error:
        return str(error)
    if (owner := owner_of(name)) is not None:
        return f"{_OWNED[owner]}; leave it out"
    if plain(name) in _SENDERS:
        return "is passed on as the sender wrote it; leave it out, or choose another name"
    if plain(name) == "authorization" and upstream.auth is not None:
        return "is what auth writes; leave one of them out"
    return None


def _passed_on(settings: Settings) -> dict[str, dict[str, Location]]:
    """Return the fields of senders that reach each upstream, each with its first endpoint.

    Where no upstream has header fields of its own, there is nothing to compare with them.
    """
    found: dict[str, dict[str, Location]] = {}
    if not any(upstream.headers for upstream in settings.upstreams.values()):
        return found
    for at, endpoint in enumerate(settings.endpoints):
        info = known_info(endpoint)
        # Those that routes look at are kept as well, and what is kept is passed on.
        looked_at = (route.when.condition() for route in endpoint.routes)
        names = [each.name for each in looked_at if isinstance(each, HeaderCondition)]
        names += () if info is None else info.headers
        for upstream in endpoint.every_upstream:
            for name in names:
                found.setdefault(upstream, {}).setdefault(plain(name), ("endpoints", at))
    return found


def _senders_own(
    upstream: Upstream, passed_on: Mapping[str, Location], location: Location, place: Place
) -> Iterator[ConfigIssue]:
    """Yield each field that would stand in a request beside the sender's."""
    for name in upstream.headers:
        endpoint = passed_on.get(plain(name))
        if endpoint is None or owner_of(name) is not None:
            continue
        if plain(name) == "authorization" and upstream.auth is not None:
            continue
        instead = "write auth, which takes its place"
        if plain(name) != "authorization":
            instead = "choose another name"
        message = f"is passed on as the sender wrote it, by the endpoint at {place(endpoint)}"
        message = f"{message}; {instead}"
        needs = ((*endpoint, "provider"), (*endpoint, "upstream"), (*endpoint, "upstreams"))
        yield ConfigIssue((*location, "headers", name), message, needs, at_key=True)


# ---- TLS ------------------------------------------------------------------------------------


def _tls(upstream: Upstream, location: Location) -> Iterator[ConfigIssue]:
    tls, where = upstream.tls, (*location, "tls")
    yield from _never_used(upstream, where)
    if tls.ca is not None:
        yield from authority_issues(tls.ca, (*where, "ca"))
    if tls.certificate is not None and tls.key is not None:
        yield from certificate_issues(Pair(tls.certificate, tls.key), where)
    elif tls.certificate is not None:
        message = "is of no use without its private key; write key beside it"
        yield ConfigIssue((*where, "certificate"), message, ((*where, "key"),))
    elif tls.key is not None:
        message = "is of no use without its certificate; write certificate beside it"
        yield ConfigIssue((*where, "key"), message, ((*where, "certificate"),))


def _never_used(upstream: Upstream, where: Location) -> Iterator[ConfigIssue]:
    """Yield each key of TLS that no connection uses: that of an http URL has none."""
    if is_https(upstream.url):
        return
    token_url = upstream.auth.oauth2.token_url if isinstance(upstream.auth, OAuth2Auth) else ""
    for key, value in upstream.tls:
        # The token server is known by the same authorities.
        if value is None or (key == "ca" and is_https(token_url)):
            continue
        message = "is never used, since the URL begins with http://; write https:// or leave it out"
        needs = [(*where[:-1], "url"), *([(*where[:-1], "auth")] if key == "ca" else [])]
        yield ConfigIssue((*where, key), message, tuple(needs))


# ---- the rest -------------------------------------------------------------------------------


def _final(upstream: Upstream, location: Location) -> Iterator[ConfigIssue]:
    for at, status in enumerate(upstream.final):
        if status in upstream.final[:at]:
            message = f"{shown(str(status))} stands there already; write it once"
            yield ConfigIssue((*location, "final", at), message)


def _addresses(upstream: Upstream, location: Location) -> Iterator[ConfigIssue]:
    """Yield networks that are refused to nobody, or that would let more in than is refused."""
    for at, network in enumerate(upstream.allow_addresses):
        listed = ip_network(str(network.cidr))
        wider = [each for each in GUARDED if each.prefixlen > listed.prefixlen]
        inner = [each for each in wider if each[0] in listed]
        if inner:
            message = f"holds all of {inner[0]}, which takes the guard away; name your own"
        elif may_dial(listed[0]):
            message = "is neither link-local nor a metadata service, and needs no listing"
            message = f"{message}; leave it out"
        else:
            continue
        yield ConfigIssue((*location, "allow_addresses", at), message)
