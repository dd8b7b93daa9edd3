"""OAuth2 client credentials (RFC 6749, 4.4), as decisions: no clock, no I/O.

What is asked of a token server, what its answer means, when a token is due to be replaced, and when
the server may be asked again. Times are seconds of one clock that never goes backward.
"""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Self
from urllib.parse import quote

from relay.core import strict_json
from relay.core.authorization import client_credentials
from relay.core.errors import Refusal
from relay.core.rate_limit import backoff_pause
from relay.core.secret import Secret
from relay.delivery.http import Origin, encode

#: Bytes of an answer that are read; tokens of large directories take some thousands.
MAX_ANSWER: Final = 32 * 1024

#: Servers take header fields of 8 KiB and little more.
MAX_TOKEN: Final = 8 * 1024

#: Seconds that one question may take, and an upstream's timeout if that is shorter.
MAX_ASKING: Final = 5.0

#: For how many seconds a token is good whose server does not say so.
DEFAULT_LIFETIME: Final = 3600.0

#: A token is replaced so many seconds ahead of its end, or this part of its life ahead.
_AHEAD, _PART_AHEAD = 300.0, 0.2

#: It is not used so shortly before its end: a request takes time to be read.
_SPARE, _PART_SPARE = 5.0, 0.1

# The back-off after questions that brought no token, and the most that a Retry-After counts.
_FIRST_PAUSE, _MAX_PAUSE, _MAX_RETRY_AFTER = 1.0, 30.0, 300.0

# So many tokens in a row are replaced at once when their upstream refuses them young. Each further
# one has to be twice as old as the one before, beginning with this age.
_REPLACED_AT_ONCE = 5
_FIRST_AGE, _MAX_AGE = 2.0, 300.0

# Ten years; more is no time that is meant.
_MAX_LIFETIME = 315_360_000

_OK, _REDIRECTION = 200, 300

# A token as it can stand in a field: visible ASCII, no blank (RFC 6749, A.12, less the space).
_TOKEN = re.compile(rf"[!-~]{{1,{MAX_TOKEN}}}")
_SECONDS = re.compile(r"([0-9]{1,9})(?:\.[0-9]+)?")


class NoToken(Exception):
    """An answer holds no token that can be used.

    reason: in words of ours, or a status. Of what a server has said nothing is repeated, but for
        the codes of RFC 6749, 5.2, where it says exactly one of them.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_ERRORS: Final = {
    each: each
    for each in (
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
    )
}


# ---- a question and its answer --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Client:
    """A client of a token server. `scope`: what to ask for, if anything is named."""

    token_url: str = field(repr=False)
    client_id: str
    secret: Secret
    scope: str | None = None

    def request(self) -> bytes:
        """Return the request for a token; the client shows itself by Basic authentication.

        Raises:
            ValueError: the URL is none that can be asked.
        """
        origin = Origin.of(self.token_url)
        form = "grant_type=client_credentials"
        if self.scope is not None:
            form += "&scope=" + quote(self.scope, safe="")
        fields = [
            ("Authorization", f"Basic {self.credentials.reveal().decode('ascii')}"),
            ("Accept", "application/json"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ]
        return encode(
            "POST", origin.target(self.token_url), origin.authority, fields, form.encode()
        )

    @property
    def credentials(self) -> Secret:
        """Id and secret as they are sent."""
        return client_credentials(self.client_id, self.secret)

    def secrets(self) -> list[Secret]:
        """Return the secret in each form in which it is sent."""
        return [self.secret, Secret(quote(self.secret.reveal(), safe="")), self.credentials]


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """A token; each answer makes one of its own, also where the text is the same.

    line: the header field with the line break before it.
    asked_at: when it was asked for. due_at: from when on it is to be replaced. ends_at: from when
        on it is not used any more.
    """

    line: str = field(repr=False)
    secret: Secret
    asked_at: float
    due_at: float
    ends_at: float

    @classmethod
    def of(cls, text: str, asked_at: float, lifetime: float | None) -> Self:
        """Return a token that is good for so many seconds; None: its server did not say."""
        lasts = DEFAULT_LIFETIME if lifetime is None else lifetime
        ends_at = asked_at + lasts - min(_SPARE, lasts * _PART_SPARE)
        due_at = asked_at + lasts - min(_AHEAD, lasts * _PART_AHEAD)
        return cls(f"\r\nAuthorization: Bearer {text}", Secret(text), asked_at, due_at, ends_at)


def read_answer(status: int, body: bytes, asked_at: float) -> Token:
    """Return the token of a whole answer (RFC 6749, 5.1).

    Raises:
        NoToken: there is none, or none that can stand in a header field.
    """
    if not _OK <= status < _REDIRECTION:
        raise NoToken(_error_code(body) or f"status {status}")
    try:
        said = strict_json.parse_object(body)
    except Refusal:
        raise NoToken("no JSON object") from None
    kind = said.get("token_type")
    # It has to be there, and some servers leave it out.
    if kind is not None and (not isinstance(kind, str) or kind.lower() != "bearer"):
        raise NoToken("token_type is not Bearer")
    text = said.get("access_token")
    if not isinstance(text, str) or not text:
        raise NoToken("no access_token")
    if not _TOKEN.fullmatch(text):
        raise NoToken("access_token unusable")
    return Token.of(text, asked_at, _lifetime(said.get("expires_in")))


def _error_code(body: bytes) -> str | None:
    try:
        said = strict_json.parse_object(body).get("error")
    except Refusal:
        return None
    return _ERRORS.get(said) if isinstance(said, str) else None


def _lifetime(told: strict_json.JsonValue) -> float | None:
    """Return the seconds of an `expires_in`; None for none that is a time."""
    # Some write it as text.
    text = told if isinstance(told, str) else strict_json.number_text(told)
    found = _SECONDS.fullmatch(text or "")
    seconds = min(int(found[1]), _MAX_LIFETIME) if found else 0
    return float(seconds) or None


# ---- when to ask ----------------------------------------------------------------------------


class TokenSchedule:
    """Which token is in use, and when its server may be asked for another.

    token: the last one that was fetched; it may have ended.
    reason: why the last question brought none; empty after one that did.
    """

    def __init__(self) -> None:
        self.token: Token | None = None
        self.reason = ""
        self._failures = 0
        self._may_ask_at = float("-inf")
        # How many in a row were refused young; the one that a newer token is wanted for.
        self._refused_young = 0
        self._to_replace: Token | None = None

    def good(self, now: float) -> Token | None:
        """Return the token, unless it has ended."""
        token = self.token
        return token if token is not None and now < token.ends_at else None

    def is_due(self, now: float) -> bool:
        """Return whether another token is wanted and may be asked for now."""
        return (self.token is None or now >= self.token.due_at) and now >= self._may_ask_at

    def pause(self, now: float) -> float:
        """Return the seconds until the server may be asked."""
        return max(0.0, self._may_ask_at - now)

    def fetched(self, token: Token) -> None:
        """A question brought this token."""
        self.token, self.reason = token, ""
        self._failures, self._may_ask_at = 0, float("-inf")

    def failed(self, now: float, reason: str, retry_after: timedelta | None = None) -> float:
        """A question brought none; return the pause until the next, in seconds."""
        pause = backoff_pause(_FIRST_PAUSE, _MAX_PAUSE, self._failures)
        if retry_after is not None:
            pause = max(pause, min(retry_after.total_seconds(), _MAX_RETRY_AFTER))
        self._failures += 1
        self.reason, self._may_ask_at = reason, now + pause
        return pause

    def may_renew(self, refused: Token, now: float) -> bool:
        """Return whether a token that an upstream has refused is to be replaced.

        One that was replaced already has a newer one. Of those that are refused young, some are
        replaced at once and each further one later: an upstream that refuses every token must not
        have its token server asked each time.
        """
        if refused is not self.token or refused is self._to_replace:
            return True
        age, times = now - refused.asked_at, self._refused_young
        wait = 0.0
        if times >= _REPLACED_AT_ONCE:
            wait = backoff_pause(_FIRST_AGE, _MAX_AGE, times - _REPLACED_AT_ONCE)
        if age < wait:
            return False
        self._refused_young = times + 1 if age < 2 * max(wait, _FIRST_AGE) else 0
        self._to_replace = refused
        return True
