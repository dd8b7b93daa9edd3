"""Checks across keys, and for features that are not available yet."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from relay.config.certificate_files import Pair, certificate_issues
from relay.config.checks_routes import destination_issues
from relay.config.checks_tokens import token_issues
from relay.config.checks_upstreams import upstream_issues
from relay.config.settings import PostgresSpool, Settings, SqliteSpool
from relay.config.yaml_document import ConfigIssue, Location, Place, dotted, shown_path
from relay.core.sealing import key_bytes

# ---- consistency across keys ----------------------------------------------------------------

# Vipps repeats a delivery for seven days.
MIN_RETAIN_KEYS = timedelta(days=8)


def issues(settings: Settings, upstreams: Iterable[str], place: Place) -> Iterator[ConfigIssue]:
    """Yield inconsistencies. `upstreams`: the names in the file, valid or not."""
    yield from _listeners(settings, place)
    yield from _times(settings)
    yield from _files(settings)
    yield from upstream_issues(settings, place)
    endpoints = [(("endpoints", at), endpoint) for at, endpoint in enumerate(settings.endpoints)]
    yield from _repeated(
        (((*location, "name"), endpoint.name) for location, endpoint in endpoints),
        lambda first: f"the endpoint at {place(first)} has this name; names tell endpoints apart",
    )
    yield from _repeated(
        (((*location, "path"), endpoint.path) for location, endpoint in endpoints),
        lambda first: (
            f"the endpoint {_name_at(settings, first)} has this path, at {place(first)}; give each"
            " its own"
        ),
    )
    names = tuple(upstreams)
    for location, endpoint in endpoints:
        yield from destination_issues(endpoint, names, location)
        yield from token_issues(endpoint, location)


def _name_at(settings: Settings, location: Location) -> str:
    """Return the name of the endpoint that this place belongs to."""
    return settings.endpoints[int(location[1])].name


def _listeners(settings: Settings, place: Place) -> Iterator[ConfigIssue]:
    # Port 0 is another port each time.
    yield from _repeated(
        ((location, bind) for location, bind in settings.binds() if bind.port),
        lambda first: (
            f"{dotted(first)} at {place(first)} has this address and port; choose another"
        ),
    )
    admin = settings.admin
    if admin.read_token is not None and admin.read_token == admin.token:
        message = "is the token that may act, too; give each a value of its own"
        yield ConfigIssue(("admin", "read_token"), message)
    for at, listener in enumerate(settings.listen):
        if listener.tls is not None:
            pair = Pair(listener.tls.certificate, listener.tls.key)
            yield from certificate_issues(pair, ("listen", at, "tls"))
        if listener.proxy_protocol and not settings.trusted_proxies:
            message = "needs trusted_proxies: only their PROXY headers are believed"
            yield ConfigIssue(("listen", at, "proxy_protocol"), message, (("trusted_proxies",),))


def _files(settings: Settings) -> Iterator[ConfigIssue]:
    if isinstance(settings.spool, SqliteSpool):
        path = settings.spool.path
        if _is_directory(path):
            yield ConfigIssue(
                ("spool", "path"), f"{shown_path(path)} is a directory; write a file in it"
            )
        elif not _is_directory(path.parent):
            yield ConfigIssue(("spool", "path"), _no_directory(path.parent))
            return
    if not _is_directory(settings.state_dir):
        yield ConfigIssue(("state_dir",), _no_directory(settings.state_dir))


def _no_directory(path: Path) -> str:
    try:
        path.stat()
    except PermissionError:
        return f"this user may not look into {shown_path(path)}"
    except OSError:
        return f"there is no directory {shown_path(path)}; make it"
    return f"{shown_path(path)} is not a directory; write another path"


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        # A name that is too long, for one.
        return False


def _times(settings: Settings) -> Iterator[ConfigIssue]:
    spool, dns = settings.spool, settings.dns
    if spool.retain_keys < MIN_RETAIN_KEYS:
        message = "must be 8d or more: a provider may repeat a delivery for seven days"
        yield ConfigIssue(("spool", "retain_keys"), message)
    elif spool.retain_keys < spool.retain:
        message = "must not be shorter than retain: a body is not kept without its key"
        yield ConfigIssue(("spool", "retain_keys"), message, (("spool", "retain"),))
    if dns.max_refresh < dns.min_refresh:
        message = "must not be shorter than min_refresh"
        yield ConfigIssue(("dns", "max_refresh"), message, (("dns", "min_refresh"),))
    if dns.max_stale < dns.max_refresh:
        message = "must not be shorter than max_refresh"
        yield ConfigIssue(("dns", "max_stale"), message, (("dns", "max_refresh"),))


def _repeated(
    items: Iterable[tuple[Location, Hashable]], message: Callable[[Location], str]
) -> Iterator[ConfigIssue]:
    """Yield an issue for each value that stood before; `message` is given the first place."""
    seen: dict[Hashable, Location] = {}
    for location, value in items:
        if value in seen:
            yield ConfigIssue(location, message(seen[value]), (seen[value],))
        else:
            seen[value] = location


# ---- features that are not available yet ----------------------------------------------------
# Refused, so that nothing is silently ignored. Making a feature available removes a line here.


def sealing_key_issues(settings: Settings) -> Iterator[ConfigIssue]:
    """Yield an issue for each key of the spool that is none."""
    for at, written in enumerate(settings.spool.encrypt):
        try:
            key_bytes(written)
        except ValueError as error:
            yield ConfigIssue(("spool", "encrypt", at), str(error))


def refusals(settings: Settings) -> Iterator[ConfigIssue]:
    """Yield an issue for each configured feature that is not available."""
    if isinstance(settings.spool, PostgresSpool):
        message = "PostgreSQL is not available in this version; write kind: sqlite"
        yield ConfigIssue(("spool", "kind"), message)
