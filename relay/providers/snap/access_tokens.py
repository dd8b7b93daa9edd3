"""Access tokens that were issued to senders: which are good, for how long, and how many.

A token is random and leaves this process in one answer; what is kept of it is its SHA-256 and the
end of its life. Decisions without I/O and without a clock; `relay.app.token_file` writes them down.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import Final

from relay.core.errors import Reason, Refusal

#: Tokens of one endpoint that are good at once. Some senders ask for one with each message, and use
#: it within seconds: the one that ends first gives way.
MAX_TOKENS: Final = 4096
#: Tokens that one endpoint issues within a second.
MAX_RATE: Final = 20

_BYTES: Final = 32
#: A bearer token has no more letters.
_MAX_LENGTH: Final = 512

#: The end of a token's life, in seconds since 1970, by its SHA-256 in hexadecimal digits.
Issued = dict[str, int]


class AccessTokens:
    """The tokens of all endpoints, by the endpoint's name. `changed` is called with each new one.

    They outlive a configuration: what was issued before a reload is good after it.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.changed = changed
        self._issued: dict[str, Issued] = {}

    def of(self, endpoint: str, client_id: str, life: timedelta) -> "EndpointTokens":
        """Return the tokens of one endpoint, issued for this life to its one client."""
        return EndpointTokens(self, endpoint, client_id, life)

    def issued(self, endpoint: str) -> Issued:
        """Return what this endpoint has issued; the caller may add to it."""
        return self._issued.setdefault(endpoint, {})

    def restore(self, issued: Mapping[str, Issued], now: datetime) -> None:
        """Take what was written down; what is over by now is left out."""
        for endpoint, tokens in issued.items():
            self._issued[endpoint] = dict(_good(tokens, now))

    def saved(self, now: datetime) -> dict[str, Issued]:
        """Return what to write down: what is good now."""
        good = {endpoint: dict(_good(tokens, now)) for endpoint, tokens in self._issued.items()}
        return {endpoint: tokens for endpoint, tokens in good.items() if tokens}


class EndpointTokens:
    """The tokens of one endpoint. A token of another client, or endpoint, is none of them."""

    def __init__(
        self, tokens: AccessTokens, endpoint: str, client_id: str, life: timedelta
    ) -> None:
        self._tokens = tokens
        self._endpoint = endpoint
        self._client_id = client_id
        self._recent: list[float] = []
        self.life = life

    def issue(self, at: datetime) -> str:
        """Return a new token, good from now on.

        Raises:
            Refusal: OVERLOAD, too many were issued within a second.
        """
        now = at.timestamp()
        # What lies ahead is of before the clock was set back.
        self._recent = [each for each in self._recent if 0 <= now - each < 1]
        if len(self._recent) >= MAX_RATE:
            raise Refusal(Reason.OVERLOAD, f"{MAX_RATE} access tokens in a second")
        self._recent.append(now)
        token = token_urlsafe(_BYTES)
        issued = self._tokens.issued(self._endpoint)
        if len(issued) >= MAX_TOKENS:
            good = dict(_good(issued, at))
            issued.clear()
            issued.update(sorted(good.items(), key=lambda each: each[1])[1 - MAX_TOKENS :])
        issued[self._digest(token)] = int(now + self.life.total_seconds())
        self._tokens.changed()
        return token

    def knows(self, token: str, at: datetime) -> bool:
        """Return whether this token was issued here, and is good at this time."""
        if len(token) > _MAX_LENGTH:
            return False
        end = self._tokens.issued(self._endpoint).get(self._digest(token))
        return end is not None and at.timestamp() < end

    def _digest(self, token: str) -> str:
        text = f"{self._client_id}\n{token}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _good(issued: Issued, now: datetime) -> Iterator[tuple[str, int]]:
    at = now.astimezone(UTC).timestamp()
    return ((digest, end) for digest, end in issued.items() if at < end)
