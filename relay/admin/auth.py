"""Who may use the admin listener beyond health and metrics."""

import secrets
from datetime import timedelta
from hmac import compare_digest

from aiohttp.web import Request

from relay.clock import Clock
from relay.secret import Secret

COOKIE = "relay_session"
_LIFETIME = timedelta(hours=8)
_MAX_SESSIONS = 100


class Gatekeeper:
    """Knows the token and the sessions that were opened with it. Sessions end with the process."""

    def __init__(self, token: Secret | None, clock: Clock) -> None:
        self._token = token
        self._clock = clock
        self._sessions: dict[str, float] = {}

    @property
    def closed(self) -> bool:
        """Whether nobody may enter, since no token is configured."""
        return self._token is None

    def bearer(self, request: Request) -> bool:
        """Say whether the request carries the token."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.knows(given.strip())

    def session(self, request: Request) -> bool:
        """Say whether the request belongs to an open session."""
        until = self._sessions.get(request.cookies.get(COOKIE, ""))
        return until is not None and self._clock.monotonic() < until

    def knows(self, token: str) -> bool:
        """Compare a token, in constant time."""
        if self._token is None:
            return False
        return compare_digest(token.encode("utf-8", "surrogateescape"), self._token.reveal())

    def open_session(self) -> str:
        """Return the name of a new session; the oldest gives way when there are many."""
        if len(self._sessions) >= _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        name = secrets.token_urlsafe(32)
        self._sessions[name] = self._clock.monotonic() + _LIFETIME.total_seconds()
        return name

    def close_session(self, request: Request) -> None:
        """End the request's session, if it has one."""
        self._sessions.pop(request.cookies.get(COOKIE, ""), None)
