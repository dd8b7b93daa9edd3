"""Authentication on the admin listener: tokens, sessions, slowed guesses, and the check of Host."""

import re
import secrets
from collections.abc import Iterable
from datetime import timedelta
from hmac import compare_digest
from ipaddress import ip_address
from typing import Final

from relay.core.clock import Clock
from relay.core.secret import Secret
from relay.spool.audit import Actor

# ---- tokens and sessions --------------------------------------------------------------------

_LIFETIME = timedelta(hours=8)
_MAX_SESSIONS = 100


class Authenticator:
    """Checks tokens, and the sessions opened with one. Sessions end with the process."""

    def __init__(
        self, token: Secret | None, clock: Clock, read_token: Secret | None = None
    ) -> None:
        """Take the tokens: `token` may act, `read_token` may read. None where there is none."""
        self._tokens = [
            (actor, secret.reveal())
            for actor, secret in ((Actor.TOKEN, token), (Actor.READ_TOKEN, read_token))
            if secret is not None
        ]
        self._clock = clock
        self._sessions: dict[str, float] = {}

    @property
    def closed(self) -> bool:
        """Whether nothing authenticates, since no token is configured."""
        return not self._tokens

    def bearer(self, authorization: str) -> Actor | None:
        """Return which token an Authorization field carries."""
        scheme, _, given = authorization.partition(" ")
        return self.token(given.strip()) if scheme.lower() == "bearer" else None

    def session(self, name: str) -> bool:
        """Return whether there is an open session of this name."""
        until = self._sessions.get(name)
        return until is not None and self._clock.monotonic() < until

    def token(self, text: str) -> Actor | None:
        """Return which token this is; each is compared in constant time."""
        given = text.encode("utf-8", "surrogateescape")
        matches = [actor for actor, token in self._tokens if compare_digest(given, token)]
        return matches[0] if matches else None

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


# ---- guesses --------------------------------------------------------------------------------

#: Seconds that the answer to a wrong token waits: the first, and at most.
_FIRST_DELAY: Final = 0.1
_MAX_DELAY: Final = 3.0
#: Answers that may wait at the same time.
_MAX_WAITING: Final = 16
#: Addresses whose guesses are remembered.
_MAX_ADDRESSES: Final = 1024
#: Seconds without a guess after which an address starts anew.
_FORGET_AFTER: Final = 900.0


class GuessThrottle:
    """Slows the answers to wrong tokens, by address, each twice as long as the one before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # The next delay of an address, and when it guessed last; the least recent first.
        self._guesses: dict[str, tuple[float, float]] = {}
        self._waiting = 0

    async def wait(self, address: str) -> bool:
        """Wait as long as this address has to; return False at once if too many wait already."""
        now = self._clock.monotonic()
        delay, last = self._guesses.pop(address, (_FIRST_DELAY, now))
        if now - last > _FORGET_AFTER:
            delay = _FIRST_DELAY
        if len(self._guesses) >= _MAX_ADDRESSES:
            del self._guesses[next(iter(self._guesses))]
        self._guesses[address] = (min(2 * delay, _MAX_DELAY), now)
        if self._waiting >= _MAX_WAITING:
            return False
        self._waiting += 1
        try:
            await self._clock.sleep(delay)
        finally:
            self._waiting -= 1
        return True

    def forget(self, address: str) -> None:
        """Let an address start anew: it has sent a right token."""
        self._guesses.pop(address, None)


# ---- host names -----------------------------------------------------------------------------
# A page anywhere can point a name of its own at a private address (DNS rebinding); the browser of
# an operator then sends requests there as if the page came from there.

_PORT = re.compile(r":[0-9]{1,5}\Z")


class AllowedHosts:
    """The names and addresses under which page and API answer."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        """hosts: names and addresses besides those of loopback and of the listener itself."""
        self._hosts = {"localhost", *(each.lower() for each in hosts)}

    def allows(self, host: str, listener: str) -> bool:
        """Return whether a Host field, with or without a port, is answered.

        listener: the address that the request came to.
        """
        port = _PORT.search(host)
        name = (host[: port.start()] if port else host).lower()
        if name in self._hosts:
            return True
        if name.startswith("[") and name.endswith("]"):
            name = name[1:-1]
        elif ":" in name:
            return False
        try:
            address = ip_address(name)
            return (
                address.is_loopback
                or str(address) in self._hosts
                or (address == ip_address(listener))
            )
        except ValueError:
            return False
