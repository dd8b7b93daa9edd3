"""Authentication on the admin listener: tokens, sessions, slowed guesses, and the check of Host."""

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from hmac import compare_digest
from ipaddress import ip_address
from typing import Final

from relay.core.clock import Clock
from relay.core.secret import Secret
from relay.spool.audit import Actor

# ---- tokens and sessions --------------------------------------------------------------------

_LIFETIME = timedelta(hours=8)
#: Sessions that may be closed before their time has come.
_MAX_CLOSED = 10_000
#: A time in seconds.
_END = re.compile("[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that has shown a token.

    name: what its cookie holds. opened_by: the token. form_token: what its forms send along.
    """

    name: str = field(repr=False)
    opened_by: Actor
    form_token: str = field(repr=False)

    @property
    def may_act(self) -> bool:
        """Whether it was opened by the token that may change something."""
        return self.opened_by is Actor.TOKEN


class Authenticator:
    """Checks tokens, and the sessions opened with one.

    A session's name carries its end and a MAC under the token that opened it: it outlasts a
    restart, and ends with its token. A session that was closed is remembered until its end, by
    this process alone.
    """

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
        # The ends of the sessions that were closed, by name; the one closed first comes first.
        self._closed: dict[str, float] = {}

    @property
    def closed(self) -> bool:
        """Whether nothing authenticates, since no token is configured."""
        return not self._tokens

    def bearer(self, authorization: str) -> Actor | None:
        """Return which token an Authorization field carries."""
        scheme, _, given = authorization.partition(" ")
        return self.token(given.strip()) if scheme.lower() == "bearer" else None

    def token(self, text: str) -> Actor | None:
        """Return which token this is; each is compared in constant time."""
        given = text.encode("utf-8", "surrogateescape")
        matches = [actor for actor, token in self._tokens if compare_digest(given, token)]
        return matches[0] if matches else None

    def session(self, name: str) -> Session | None:
        """Return the open session of this name."""
        claims, _, mac = name.rpartition(".")
        end = claims.partition(".")[0]
        if name in self._closed or _END.fullmatch(end) is None:
            return None
        if self._clock.now().timestamp() >= int(end):
            return None
        given = mac.encode("utf-8", "surrogateescape")
        for actor, token in self._tokens:
            if compare_digest(given, _mac(token, "session", claims).encode()):
                return Session(name, actor, _mac(token, "form", name))
        return None

    def open_session(self, actor: Actor) -> Session:
        """Return a new session of the token that this is."""
        end = int((self._clock.now() + _LIFETIME).timestamp())
        claims = f"{end}.{secrets.token_urlsafe(16)}"
        token = dict(self._tokens)[actor]
        name = f"{claims}.{_mac(token, 'session', claims)}"
        return Session(name, actor, _mac(token, "form", name))

    def close_session(self, name: str) -> None:
        """End the session of this name, if there is one."""
        if self.session(name) is None:
            return
        now = self._clock.now().timestamp()
        for each in [each for each, end in self._closed.items() if end <= now]:
            del self._closed[each]
        if len(self._closed) >= _MAX_CLOSED:
            del self._closed[next(iter(self._closed))]
        self._closed[name] = float(name.partition(".")[0])


def _mac(token: bytes, purpose: str, text: str) -> str:
    """Return a MAC in hex; one of another purpose is of no use for this one."""
    return hmac.digest(token, f"relay {purpose} {text}".encode(), "sha256").hex()


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
