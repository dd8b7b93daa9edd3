"""What a valid configuration says that its author may not have meant.

Pure: files, providers and the date are handed in. Findings are warnings, in the order of the file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from relay.config import lint_endpoints, lint_shapes
from relay.config.advice import Advice
from relay.config.certificates import Certificate
from relay.config.places import dotted
from relay.config.settings import Settings, SqliteSpool
from relay.networks import special
from relay.providers import Facts

EXPIRY_NOTICE = timedelta(days=30)

_PUBLIC = (None, "unspecified")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Midtrans: HTTP notification, "only ports 80 and 443".
_MIDTRANS_PORTS = (80, 443)
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108 - to warn of them


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A warning; `line` and `column` count from 1, and `code` never changes."""

    file: str
    line: int
    column: int
    where: str
    code: str
    message: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{self.file}:{self.line}:{self.column}: warning: {place}{self.message}"


def lint(
    settings: Settings,
    facts: Mapping[str, Facts],
    certificates: Mapping[Path, Certificate],
    today: date,
) -> tuple[Finding, ...]:
    """Return every finding.

    facts: of each endpoint's provider, by the endpoint's name. certificates: of the public
        listeners, by file.
    """
    found = [
        *_secrets(settings),
        *lint_shapes.advice(settings, facts),
        *_certificates(settings, certificates, today),
        *_admin(settings),
        *_files(settings),
        *lint_endpoints.advice(settings, facts, today),
    ]
    return tuple(sorted({_finding(settings, advice) for advice in found}))


def _finding(settings: Settings, advice: Advice) -> Finding:
    at = settings.source.position(advice.place)
    place = dotted(advice.place)
    return Finding(settings.source.file, at.line, at.column, place, advice.code, advice.message)


def _secrets(settings: Settings) -> Iterator[Advice]:
    for place in settings.source.literals:
        message = "a secret stands in the file; write ${env:NAME} or ${file:PATH}"
        yield Advice(place, "literal-secret", message)


def _certificates(
    settings: Settings, certificates: Mapping[Path, Certificate], today: date
) -> Iterator[Advice]:
    for at, listener in enumerate(settings.listen):
        found = certificates.get(listener.tls.certificate) if listener.tls else None
        if found is None:
            continue
        place = ("listen", at, "tls", "certificate")
        end = found.not_after.date()
        if end - today < EXPIRY_NOTICE:
            verb = "ended" if end < today else "ends"
            message = f"the certificate {verb} on {end}; renew it"
            yield Advice(place, "certificate-ending", message)
        if found.self_signed and any(map(lint_endpoints.is_midtrans, settings.endpoints)):
            message = "the certificate is self-signed, and Midtrans refuses such; use a public one"
            yield Advice(place, "self-signed", message)
    yield from _midtrans_ports(settings)


def _midtrans_ports(settings: Settings) -> Iterator[Advice]:
    for at, endpoint in enumerate(settings.endpoints):
        if not lint_endpoints.is_midtrans(endpoint):
            continue
        if endpoint.public_url is not None:
            parts = urlsplit(endpoint.public_url)
            if (parts.port or _DEFAULT_PORTS[parts.scheme]) not in _MIDTRANS_PORTS:
                message = "Midtrans reaches only ports 80 and 443"
                yield Advice(("endpoints", at, "public_url"), "midtrans-port", message)
        elif not settings.trusted_proxies:
            yield from _midtrans_listener(settings)


def _midtrans_listener(settings: Settings) -> Iterator[Advice]:
    public = [
        (at, listener.bind.port)
        for at, listener in enumerate(settings.listen)
        if special(listener.bind.address) in _PUBLIC
    ]
    if public and not any(port in _MIDTRANS_PORTS for _, port in public):
        message = (
            "Midtrans reaches only ports 80 and 443; listen on one of them, or write the"
            " endpoint's public_url if something in front forwards to this port"
        )
        yield Advice(("listen", public[0][0], "bind"), "midtrans-port", message)


def _admin(settings: Settings) -> Iterator[Advice]:
    admin = settings.admin
    if admin.bind.address.is_loopback:
        return
    if admin.token is None:
        message = "anybody who reaches this address reads health and metrics; bind to 127.0.0.1"
    else:
        message = "the token crosses the network in clear text; bind to 127.0.0.1"
    yield Advice(("admin", "bind"), "admin-exposed", message)


def _files(settings: Settings) -> Iterator[Advice]:
    message = "what lies in a directory for temporary files is lost one day; choose another"
    beside: Path | None = None
    if isinstance(settings.spool, SqliteSpool):
        beside = settings.spool.path.parent
        if _is_temporary(settings.spool.path):
            yield Advice(("spool", "path"), "temporary-path", message)
    if settings.state_dir != beside and _is_temporary(settings.state_dir):
        yield Advice(("state_dir",), "temporary-path", message)


def _is_temporary(path: Path) -> bool:
    return any(path.is_relative_to(directory) for directory in _TEMPORARY)
