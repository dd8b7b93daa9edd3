"""Warnings about what relay shows upstreams and token servers: who can read it, and its end.

No message holds a secret.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from relay.config.certificate_files import Certificate
from relay.config.lint_topology import Advice
from relay.config.secret_text import oddity
from relay.config.settings import Settings
from relay.config.upstream_settings import BasicAuth, OAuth2Auth, Upstream
from relay.config.yaml_document import Location
from relay.core.secret import Secret

#: A certificate that ends sooner than this is told of.
EXPIRY_NOTICE: Final = timedelta(days=30)

_CLEAR: Final = (
    "crosses the network in clear text, since the URL begins with http://; write https://"
)


def credential_advice(
    settings: Settings, certificates: Mapping[Path, Certificate], today: date
) -> Iterator[Advice]:
    """Yield warnings about every upstream. certificates: by file."""
    for name, upstream in settings.upstreams.items():
        location: Location = ("upstreams", name)
        secrets = upstream.secret_headers()
        yield from _in_clear(upstream, secrets, location)
        yield from _odd(upstream, secrets, location)
        yield from _certificates(upstream, certificates, today, (*location, "tls"))


def _in_clear(
    upstream: Upstream, secrets: Mapping[str, Secret], location: Location
) -> Iterator[Advice]:
    auth = upstream.auth
    if isinstance(auth, OAuth2Auth) and _is_in_clear(auth.oauth2.token_url):
        message = (
            "the client's secret and its tokens cross the network in clear text; write https://"
        )
        yield Advice((*location, "auth", "oauth2", "token_url"), "plain-token-url", message)
    if not _is_in_clear(upstream.url):
        return
    if auth is not None:
        yield Advice((*location, "auth"), "plain-credentials", _CLEAR)
    for name in secrets:
        yield Advice((*location, "headers", name), "plain-credentials", _CLEAR)


def _is_in_clear(url: str) -> bool:
    """Return whether others on the way could read what is sent there."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme == "https" or host == "localhost":
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True


def _odd(upstream: Upstream, secrets: Mapping[str, Secret], location: Location) -> Iterator[Advice]:
    """Yield what came along with a secret: blanks, quotes, and the like."""
    written: list[tuple[Location, Secret]] = [
        (("headers", name), value) for name, value in secrets.items()
    ]
    auth = upstream.auth
    if isinstance(auth, BasicAuth):
        written.append((("auth", "basic", "password"), auth.basic.password))
    elif isinstance(auth, OAuth2Auth):
        written.append((("auth", "oauth2", "client_secret"), auth.oauth2.client_secret))
    elif auth is not None:
        written.append((("auth", "bearer"), auth.bearer))
    for keys, secret in written:
        if (said := oddity(secret)) is not None:
            message = f"{said}: nothing fits it unless the other side's does; write it without"
            yield Advice((*location, *keys), "odd-secret", message)


def _certificates(
    upstream: Upstream, certificates: Mapping[Path, Certificate], today: date, location: Location
) -> Iterator[Advice]:
    tls = upstream.tls
    shown = certificates.get(tls.certificate) if tls.certificate is not None else None
    if shown is not None and (end := shown.not_after.date()) - today < EXPIRY_NOTICE:
        verb = "ended" if end < today else "ends"
        message = f"the client certificate {verb} on {end}; renew it"
        yield Advice((*location, "certificate"), "certificate-ending", message)
    if shown is not None and not shown.for_clients:
        message = (
            "the certificate is for servers (extendedKeyUsage), and upstreams that check refuse"
            " it; have one made for clientAuth"
        )
        yield Advice((*location, "certificate"), "certificate-purpose", message)
    trusted = certificates.get(tls.ca) if tls.ca is not None else None
    if trusted is not None and (end := trusted.not_after.date()) - today < EXPIRY_NOTICE:
        verb = "ended" if end < today else "ends"
        message = (
            f"the last authority in this file {verb} on {end}, and then no certificate is believed;"
            " take a newer file"
        )
        yield Advice((*location, "ca"), "authority-ending", message)
