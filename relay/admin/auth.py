"""Authentication on the admin listener: the token, sessions, and the check of Host fields."""

import re
import secrets
from datetime import timedelta
from hmac import compare_digest
from ipaddress import ip_address

from relay.core.clock import Clock
from relay.core.secret import Secret

# ---- tokens and sessions --------------------------------------------------------------------

_LIFETIME = timedelta(hours=8)
_MAX_SESSIONS = 100


class Authenticator:
    """Checks the token and the sessions opened with it. Sessions end with the process."""

    def __init__(self, token: Secret | None, clock: Clock) -> None:
        self._token = token
        self._clock = clock
        self._sessions: dict[str, float] = {}

    @property
    def closed(self) -> bool:
        """Whether nothing authenticates, since no token is configured."""
        return self._token is None

    def bearer(self, authorization: str) -> bool:
        """Return whether an Authorization field carries the token."""
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def session(self, name: str) -> bool:
        """Return whether there is an open session of this name."""
        until = self._sessions.get(name)
        return until is not None and self._clock.monotonic() < until

    def is_token(self, token: str) -> bool:
        """Return whether this is the token; compared in constant time."""
        if self._token is None:
            return False
        return compare_digest(token.encode("utf-8", "surrogateescape"), self._token.reveal())

    def open_session(self) -> str:
        """Return the name of a new session; the oldest one ends when there are too many."""
        if len(self._sessions) >= _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        name = secrets.token_urlsafe(32)
        self._sessions[name] = self._clock.monotonic() + _LIFETIME.total_seconds()
        return name

    def close_session(self, name: str) -> None:
        """End the session of this name, if there is one."""
        self._sessions.pop(name, None)


# ---- host names -----------------------------------------------------------------------------
# A page anywhere can point a name of its own at a private address (DNS rebinding); the browser of
# an operator then sends requests there as if the page came from there. Such a name is one of the
# public DNS; an address, `localhost` and a name without a dot are not.

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_PORT = re.compile(r"(?::[0-9]{1,5})?\Z")


def is_local_host(host: str) -> bool:
    """Return whether a Host field, with or without a port, is an address or a local name."""
    port = _PORT.search(host)
    name = host[: port.start()] if port else host
    if name.startswith("[") and name.endswith("]"):
        return _is_address(name[1:-1], 6)
    return _NAME.fullmatch(name) is not None or _is_address(name, 4)


def _is_address(text: str, version: int) -> bool:
    try:
        return "%" not in text and ip_address(text).version == version
    except ValueError:
        return False
