"""The request of one attempt: its URL, header fields and bytes. No I/O.

An event holds those of its sender's fields that its provider lists. None of them can pass for a
field of ours, or for one that belongs to a connection or a proxy. The body is changed neither here
nor anywhere else.
"""

import re
from datetime import datetime
from functools import lru_cache
from math import floor
from urllib.parse import quote, urlsplit

from relay.core.clock import spelled_second
from relay.core.event import Lease
from relay.core.header_fields import OWNED, OWNED_PREFIXES, plain
from relay.core.request import Address, Headers, VerifiedDelivery
from relay.delivery.credentials import Credentials
from relay.delivery.http import BODILESS_METHODS, Origin
from relay.signatures.shared_secret import Signer

MAX_EVENT_KEY = 256

_RECONCILED = "\r\nRelay-Reconciled: true"

# So many methods are remembered for an upstream; endpoints accept a handful.
_MAX_STARTS = 16

# The lines of a sender's fields are remembered as a whole where there are only these, which most
# senders send, the same each time, and which prove nothing. A proof is never remembered.
_REMEMBERED = frozenset({"accept", "content-type", "user-agent"})
_MAX_REMEMBERED, _LONGEST_REMEMBERED = 256, 128

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LINE_END = re.compile(r"[\r\n\0]")
_VISIBLE = "".join(map(chr, range(0x20, 0x7F)))

# What need not be encoded (RFC 3986, 2.3), and what stands between the parts of a key.
# A third of the longest key, so that no encoded one is cut.
_USUAL_KEY = re.compile(r"[A-Za-z0-9._~:-]{0,85}")

# No percent sign in the path: `%2e%2e%2f` means different things to different servers.
_SUFFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?(?:\?[!\"$-~]*)?")


class Target:
    """The URL of one upstream, and the URLs of its events.

    Raises:
        ValueError: `url` is not an http or https URL with a host and nothing but host, port, path
            and query.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("an upstream url begins with http:// or https:// and a host")
        if parts.port == 0:
            raise ValueError("an upstream url has a port between 1 and 65535")
        if "@" in parts.netloc or "#" in url:
            raise ValueError("an upstream url holds no user, password or fragment")
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("an upstream url is visible ASCII; encode the rest")
        self._base, _, self._query = url.partition("?")
        # What the sender's query is joined to it with; some end theirs so already.
        self._and = "" if self._query.endswith("&") else "&"

    def of(self, suffix: str) -> str:
        """Return the URL for an event with this suffix, appended character by character.

        A query of the upstream's own URL comes before the sender's. One that was dropped has left a
        question mark alone, which changes nothing.

        Raises:
            ValueError: the suffix is no path below the upstream's, or leaves it with dots.
        """
        path, _, query = suffix.partition("?")
        if not _SUFFIX.fullmatch(suffix) or {".", ".."} & set(path.split("/")):
            raise ValueError("the suffix of this event is not a path below its upstream")
        base = self._base.rstrip("/") + path if path else self._base
        if self._query:
            query = f"{self._query}{self._and}{query}" if query else self._query
        return f"{base}?{query}" if query else base


class RequestWriter:
    """Writes the requests to one upstream.

    Each is one text of pieces that hold no line break: judged once where they are the same each
    time, and otherwise in passing.

    Raises:
        ValueError: `url` is none of a `Target`.
    """

    def __init__(
        self, url: str, signer: Signer | None, credentials: Credentials | None = None
    ) -> None:
        self._target = Target(url)
        self._origin = Origin.of(url)
        self._signer = signer
        # By method, for events without a suffix.
        self._starts: dict[str, str] = {}
        self._credentials = "" if credentials is None else credentials.lines
        self._sender_lines = _SenderLines()
        if credentials is not None:
            self._sender_lines.dropped = credentials.names

    def write(self, lease: Lease, now: datetime, authorization: str = "") -> bytes:
        """Return the request of an attempt that starts now. The body is sent as it is.

        authorization: the line of a token, with the line break before it.

        Raises:
            ValueError: a part would end its line early, is not Latin-1, or leaves the upstream's
                path; it must not be sent.
        """
        event, marks = lease.event, ""
        if (
            event.conflicts_with is not None
            or event.out_of_order
            or lease.confirmed is not None
            or event.repeats is not None
            or event.redacted
        ):
            marks = _marks(lease)
        return self._request(
            start=self._starts.get(event.method) if not event.suffix else None,
            authorization=authorization,
            method=event.method,
            suffix=event.suffix,
            headers=event.headers,
            event_id=event.id,
            configured=_from_configuration(event.endpoint, event.provider, event.environment),
            key=event.key,
            client="" if event.reconciled else event.client_text or _text_of(event.client),
            attempt=lease.attempt,
            received_at=event.received_at,
            signed=event.signed,
            marks=marks,
            body=event.body,
            now=now,
        )

    def write_proxied(
        self, delivery: VerifiedDelivery, now: datetime, authorization: str = ""
    ) -> bytes:
        """Return the request of the one attempt for a delivery, as that of its event would be.

        Raises:
            ValueError: as `write`.
        """
        received, verification = delivery.delivery, delivery.verification
        method, redacted = received.head.method, verification.redacted
        return self._request(
            start=None if received.suffix else self._starts.get(method),
            authorization=authorization,
            method=method,
            suffix=received.suffix,
            headers=delivery.headers,
            event_id=delivery.event_id,
            configured=_from_configuration(
                received.endpoint, delivery.provider, delivery.environment
            ),
            key=verification.key,
            client="" if delivery.reconciled else received.client.text,
            attempt=1,
            received_at=received.head.received_at,
            signed=delivery.signed if verification.ambiguous else verification.signed,
            marks=_redacted_line(redacted) if redacted else "",
            body=received.body,
            now=now,
        )

    def _request(
        self,
        *,
        start: str | None,
        authorization: str,
        method: str,
        suffix: str,
        headers: Headers,
        event_id: str,
        configured: str,
        key: str,
        client: str,
        attempt: int,
        received_at: datetime,
        signed: tuple[str, ...],
        marks: str,
        body: bytes,
        now: datetime,
    ) -> bytes:
        """Return the request of these parts.

        start: what is known of its request line and Host. authorization, configured, marks: lines
        of their own.
        client: empty for what was reconciled.
        """
        timestamp = int(now.timestamp())
        signature = ""
        if self._signer is not None:
            signature = f"\r\nwebhook-signature: {self._signer.sign(event_id, timestamp, body)}"
        told = f"{event_id}{client}"
        # Most are printable, which is found out sooner.
        if not told.isprintable() and _LINE_END.search(told):
            raise ValueError("an id or an address of this event holds a line break")
        client_line = f"\r\nRelay-Client-Address: {client}" if client else ""
        second = spelled_second(floor(received_at.timestamp()))
        # What `_encoded_key` would return of most keys, in a fraction of the time.
        usual = _USUAL_KEY.fullmatch(key)
        length = f"\r\nContent-Length: {len(body)}"
        if not body and method in BODILESS_METHODS:
            length = ""
        return (
            f"{start or self._start(method, suffix)}{self._sender_lines[headers.fields]}"
            f"{self._credentials}{authorization}"
            f"\r\nwebhook-id: {event_id}\r\nwebhook-timestamp: {timestamp}{signature}{configured}"
            f"\r\nRelay-Event-Key: {key.replace(':', '%3A') if usual else _encoded_key(key)}"
            f"{client_line}\r\nRelay-Attempt: {attempt}"
            f"\r\nRelay-Received-At: {second}.{received_at.microsecond:06d}Z"
            f"{_signed_line(signed)}{marks}"
            f"{'' if client else _RECONCILED}{length}\r\n\r\n"
        ).encode("latin-1") + body

    def _start(self, method: str, suffix: str) -> str:
        """Return the request line and Host."""
        target = self._origin.target(self._target.of(suffix))
        line = f"{method} {target} HTTP/1.1"
        if _LINE_END.search(line) or line.count(" ") != 2:  # noqa: PLR2004 - between three
            raise ValueError("a method or a request target holds a blank or a line break")
        start = f"{line}\r\nHost: {self._origin.authority}"
        if not suffix and len(self._starts) < _MAX_STARTS:
            self._starts[method] = start
        return start


class _SenderLines(dict[tuple[tuple[str, str], ...], str]):
    """The lines of fields that are remembered; any others are made when they are asked for.

    dropped: names of those that relay writes itself, for one upstream; as of `plain`.
    """

    dropped: frozenset[str] = frozenset()

    def __missing__(self, fields: tuple[tuple[str, str], ...]) -> str:
        lines = "".join(
            [
                f"\r\n{name}: {value}"
                for name, value in fields
                if _is_allowed_of_sender(name)
                and not (self.dropped and plain(name) in self.dropped)
                and (value.isprintable() or not _CONTROL.search(value))
            ]
        )
        if len(fields) <= len(_REMEMBERED) and _may_be_remembered(fields):
            if len(self) >= _MAX_REMEMBERED:
                self.clear()
            self[fields] = lines
        return lines


def _may_be_remembered(fields: tuple[tuple[str, str], ...]) -> bool:
    return all(
        name.lower() in _REMEMBERED and len(value) <= _LONGEST_REMEMBERED for name, value in fields
    )


def _marks(lease: Lease) -> str:
    """Return the fields that few events have, but for the last."""
    event, marks = lease.event, ""
    others = {"Relay-Conflict": event.conflicts_with, "Relay-Repeats": event.repeats}
    for name, other in others.items():
        if other is not None:
            if _LINE_END.search(other):
                raise ValueError("the id of another event holds a line break")
            marks += f"\r\n{name}: {other}"
    if event.out_of_order:
        marks += "\r\nRelay-Out-Of-Order: true"
    if event.redacted:
        marks += _redacted_line(event.redacted)
    if lease.confirmed is not None:
        marks += f"\r\nRelay-Confirmed: {_visible(lease.confirmed)}"
    return marks


def _redacted_line(redacted: tuple[str, ...]) -> str:
    """Return the field that tells what is masked in the body."""
    return f"\r\nRelay-Redacted: {_visible(', '.join(redacted))}"


@lru_cache(maxsize=1024)
def _text_of(client: Address) -> str:
    return str(client)


# An endpoint keeps a handful of fields, and the same ones each time.
@lru_cache(maxsize=1024)
def _is_allowed_of_sender(name: str) -> bool:
    """Return whether a sender may use this name; none that lets it speak for a proxy, or for us.

    `Webhook-Id`, which Vipps sends, is ours: two fields of that name would break the signature
    check of every Standard Webhooks library.
    """
    compared = name.lower().replace("_", "-")
    owned = compared in OWNED or compared == "cookie" or compared.startswith(OWNED_PREFIXES)
    return not owned and _TOKEN.fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _from_configuration(endpoint: str, provider: str, environment: str) -> str:
    return (
        f"\r\nRelay-Endpoint: {_visible(endpoint)}"
        f"\r\nRelay-Provider: {_visible(provider)}"
        f"\r\nRelay-Environment: {_visible(environment)}"
    )


@lru_cache(maxsize=1024)
def _signed_line(signed: tuple[str, ...]) -> str:
    if not signed:
        return ""
    return f"\r\nRelay-Signed: {_visible(', '.join(signed))}"


def _visible(text: str) -> str:
    """Percent-encode what cannot stand in a header field: names come from the configuration."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=_VISIBLE)


def _encoded_key(key: str) -> str:
    """Percent-encode a key, cut between characters so that what is left can be decoded."""
    whole = quote(key, safe="", errors="replace")
    if len(whole) <= MAX_EVENT_KEY:
        return whole
    encoded = ""
    for character in key:
        more = quote(character, safe="", errors="replace")
        if len(encoded) + len(more) > MAX_EVENT_KEY:
            break
        encoded += more
    return encoded
