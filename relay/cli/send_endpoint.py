"""How `relay send --endpoint` reaches an endpoint of a configuration, and what it signs with.

Everything is read from the file: the URL from `listen`, the secret, the signed URL, and an address
that the endpoint admits, which is sent as a trusted proxy on this machine would forward it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from netaddr import IPNetwork

from relay.allowlist import Allowlist, Mode
from relay.app.builder import known_allowlists
from relay.cli.common import unknown_endpoint
from relay.config import Endpoint, Settings, provider_of
from relay.config.listener_settings import Listener
from relay.core.request import Address, ForwardedHeader
from relay.core.secret import Secret
from relay.providers import AsksForToken, Provider

#: Where every address is admitted and none is listed (TEST-NET-1, RFC 5737).
_ANY = ip_address("192.0.2.1")


class Unreachable(ValueError):
    """The file does not say how to reach or sign for the endpoint; the text says what to add."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a sample goes, and what it needs to be taken.

    client: forwarded in `header`; None where this machine's own address is to be seen.
    certificate: the one that is served, in PEM; None: it is verified as any other.
    changes: fields of the sample that the configuration asks for.
    proxy_protocol: the client is named in a PROXY header instead.
    """

    provider: Provider
    url: str
    signed_url: str
    secret: Secret
    client: str | None = None
    header: ForwardedHeader = ForwardedHeader.X_FORWARDED_FOR
    certificate: str | None = None
    changes: Mapping[str, str] = field(default_factory=dict)
    proxy_protocol: bool = False


def target(
    settings: Settings,
    name: str,
    to: str | None = None,
    secret: Secret | None = None,
    client: str | None = None,
    *,
    key: Secret | None = None,
) -> Target:
    """Return how to reach the endpoint of this name on this machine, or at the URL `to`.

    secret, client: in place of the file's secret, and of an address that it admits. key: a private
    key, which is signed with where the file has the public one.

    Raises:
        Unreachable: there is no such endpoint, or the file does not say how.
        RelayError: what is known from DNS cannot be read.
    """
    endpoint = next((each for each in settings.endpoints if each.name == name), None)
    if endpoint is None:
        names = (each.name for each in settings.endpoints)
        raise Unreachable(unknown_endpoint(name, names))
    provider = provider_of(endpoint)
    given = signing(provider, secret, key)
    if to is None:
        listener = _listener(settings)
        here = listener.bind.from_here
        url = f"{'https' if listener.tls else 'http'}://{here}{endpoint.path}"
        certificate, proxy_protocol = _certificate(listener), listener.proxy_protocol
        peer: Address | None = here.address
    else:
        url, peer, certificate, proxy_protocol = to, loopback(to), None, False
    asked = {
        "callback": endpoint.callback,
        "X-PARTNER-ID": endpoint.partner_id,
        "merchantId": endpoint.merchant_id,
        "X-CLIENT-KEY": None if endpoint.tokens is None else endpoint.tokens.client_id,
        **dict(_required(endpoint)),
    }
    return Target(
        provider,
        url,
        endpoint.public_url or url,
        given or _secret(endpoint),
        client or _client(settings, endpoint, peer, proxy_protocol=proxy_protocol),
        settings.forwarded_header,
        certificate,
        {name: value for name, value in asked.items() if value is not None},
        proxy_protocol,
    )


def asking_for_token(provider: Provider) -> AsksForToken | None:
    """Return the provider if it asks for an access token before it sends anything."""
    return provider if isinstance(provider, AsksForToken) and provider.asks_for_token else None


def signing(provider: Provider, secret: Secret | None, key: Secret | None) -> Secret | None:
    """Return what the caller has given to sign messages with; None where that is nothing.

    Raises:
        ValueError: both, where one of them signs. Only who asks for a token needs both.
    """
    if asking_for_token(provider) is not None:
        return secret
    if secret is not None and key is not None:
        raise ValueError("give --secret, or --key where a private key signs")
    return secret or key


def public_url_of(data: object, provider: str, path: str) -> str | None:
    """Return the public URL of the provider's endpoint at this path, where one is written.

    data: a configuration as it stands in its file, which may be no good one.
    """
    endpoints = data.get("endpoints") if isinstance(data, dict) else None
    for each in endpoints if isinstance(endpoints, tuple) else ():
        if isinstance(each, dict) and (each.get("provider"), each.get("path")) == (provider, path):
            url = each.get("public_url")
            return url if isinstance(url, str) else None
    return None


def endpoint_of(data: object, provider: str, file: Path) -> str:
    """Return the name of the one endpoint with this provider, by its name or that of its block.

    data: a configuration as it stands in `file`, which may be no good one.

    Raises:
        Unreachable: there is none, or there are several.
    """
    endpoints = data.get("endpoints") if isinstance(data, dict) else None
    found = [
        str(each.get("name"))
        for each in (endpoints if isinstance(endpoints, tuple) else ())
        if isinstance(each, dict) and _provider_name(each.get("provider")) == provider
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise Unreachable(
            f"the endpoints {', '.join(found)} of {file} have this provider; name one with"
            " --endpoint"
        )
    raise Unreachable(
        f"no endpoint of {file} has this provider; give the URL of one with --to, and its secret"
        " with --secret, or --key where a private key signs"
    )


def _provider_name(provider: object) -> object:
    return provider.get("name") if isinstance(provider, dict) else provider


def _required(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """Yield the fields that the endpoint requires of a message, each with its first value."""
    for each in endpoint.must:
        rule = each.rule()
        name = rule.pointer[1:]
        # A built-in provider's samples write what stands in an object with a point.
        yield name.replace("/", ".") if isinstance(endpoint.provider, str) else name, rule.values[0]


def _secret(endpoint: Endpoint) -> Secret:
    """Return the secret that samples are signed with.

    Raises:
        Unreachable: it is a public key, which cannot sign.
    """
    if not endpoint.secrets:
        # Signed with something, since senders sign; nothing is verified.
        return Secret("unsigned")
    first = endpoint.secrets[0]
    if b"PUBLIC KEY-----" in first.reveal() or b"CERTIFICATE-----" in first.reveal():
        raise Unreachable(
            f"{endpoint.name}: the configuration has the public key alone; give a private key"
            " with --key"
        )
    return first


# ---- the URL --------------------------------------------------------------------------------


def _listener(settings: Settings) -> Listener:
    """Return the first listener with a port, one without the PROXY protocol if there is any."""
    fixed = [each for each in settings.listen if each.bind.port]
    if not fixed:
        raise Unreachable("no listener has a fixed port; give the URL of the endpoint with --to")
    return min(fixed, key=lambda each: each.proxy_protocol)


def _certificate(listener: Listener) -> str | None:
    """Return the certificate that is served, in PEM: its name is not that of this machine."""
    if listener.tls is None:
        return None
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    try:
        text = listener.tls.certificate.read_text()
        return text[text.index(begin) : text.index(end) + len(end)]
    except (OSError, ValueError) as error:
        raise Unreachable(f"{listener.tls.certificate}: no certificate: {error}") from None


# ---- an address that may send ---------------------------------------------------------------


def _client(
    settings: Settings, endpoint: Endpoint, peer: Address | None, *, proxy_protocol: bool
) -> str | None:
    """Return an address to forward; None where this machine's own is admitted, or not seen.

    peer: the address that the relay sees this machine with; None where a proxy stands between.

    Raises:
        Unreachable: this machine may neither send nor forward, or no address is known.
    """
    if peer is None:
        # The proxy there forwards this machine's address, whatever is written here.
        return None
    mode, admitted = known_allowlists(settings)[endpoint.name]
    if not _within(peer, settings.trusted_proxies):
        if proxy_protocol or (mode is Mode.ENFORCE and admitted.match(peer) is None):
            raise Unreachable(
                f"{endpoint.name} admits {peer} neither as a sender nor as a proxy: to try it from"
                f" this machine, add {peer} to trusted_proxies; or send through the proxy in front"
                " with --to"
            )
        return None
    return str(_admitted(settings, endpoint, mode, admitted))


def _admitted(settings: Settings, endpoint: Endpoint, mode: Mode, admitted: Allowlist) -> Address:
    """Return the first listed address that is no trusted proxy."""
    for entry in admitted.entries():
        network = entry.network
        at = network.first if network.size <= 2 else network.first + 1  # noqa: PLR2004
        address = ip_address(str(network[at - network.first]))
        if not _within(address, settings.trusted_proxies):
            return address
    if mode is Mode.ENFORCE:
        hosts = ", ".join(admitted.unready()) or "none is listed"
        raise Unreachable(
            f"{endpoint.name}: no address is known that may send ({hosts}); start `relay run`,"
            " which looks them up, or give one with --from"
        )
    return _ANY


def loopback(url: str) -> Address | None:
    """Return the loopback address that a URL names, or None."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return ip_address("127.0.0.1")
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return address if address.is_loopback else None


def _within(address: Address, networks: tuple[IPNetwork, ...]) -> bool:
    return any(str(address) in network for network in networks)


def forwarding(header: ForwardedHeader, client: str) -> tuple[str, str]:
    """Return the header field by which a proxy forwards the address of its client."""
    if header is ForwardedHeader.X_FORWARDED_FOR:
        return header.value, client
    return header.value, f'for="[{client}]"' if ":" in client else f"for={client}"
