"""The URL and the header fields of one attempt. No I/O.

An event holds those of its sender's fields that its provider lists. None of them can pass for a
field of ours, or for one that belongs to a connection or a proxy. The body is changed neither here
nor anywhere else.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, urlsplit

from relay.core.event import Event, Lease
from relay.core.request import Headers
from relay.signatures.shared_secret import Signer

MAX_EVENT_KEY = 256

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_VISIBLE = "".join(map(chr, range(0x20, 0x7F)))

# What need not be encoded (RFC 3986, 2.3), and what stands between the parts of a key.
_USUAL_KEY = re.compile(r"[A-Za-z0-9._~:-]*")

# No percent sign in the path: `%2e%2e%2f` means different things to different servers.
_SUFFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?(?:\?[!\"$-~]*)?")

# Connection-level fields are about the sender's connection (RFC 9110, 7.6.1), framing belongs to
# ours, and the rest would let a sender speak for a proxy whom the upstream believes.
_RESERVED_FIELDS = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "content-encoding",
        "accept-encoding",
        "expect",
        "cookie",
        "forwarded",
        "via",
        "x-real-ip",
    }
)
_RESERVED_PREFIXES = ("relay-", "webhook-", "proxy-", "x-forwarded-")


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

    def of(self, suffix: str) -> str:
        """Return the URL for an event with this suffix, appended character by character.

        A query of the upstream's own URL comes before the sender's.

        Raises:
            ValueError: the suffix is no path below the upstream's, or leaves it with dots.
        """
        path, _, query = suffix.partition("?")
        if not _SUFFIX.fullmatch(suffix) or {".", ".."} & set(path.split("/")):
            raise ValueError("the suffix of this event is not a path below its upstream")
        base = self._base.rstrip("/") + path if path else self._base
        queries = "&".join(filter(None, (self._query, query)))
        return f"{base}?{queries}" if queries else base


def fields(lease: Lease, now: datetime, signer: Signer | None) -> Headers:
    """Return every header field of one attempt but Host and Content-Length.

    Values are Latin-1 text as in `Headers`; none holds a control character.
    """
    return Headers((*_sender_fields(lease.event), *_own_fields(lease, now, signer)))


def _sender_fields(event: Event) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in event.headers
        if _is_allowed_of_sender(name) and not _CONTROL.search(value)
    ]


# An endpoint keeps a handful of fields, and the same ones each time.
@lru_cache(maxsize=1024)
def _is_allowed_of_sender(name: str) -> bool:
    """Return whether a sender may use this name.

    Many servers read `Relay_Signed` as `Relay-Signed` (CGI, WSGI), so the two are one name here.
    `Webhook-Id`, which Vipps sends, is ours: two fields of that name would break the signature
    check of every Standard Webhooks library.
    """
    plain = name.lower().replace("_", "-")
    reserved = plain in _RESERVED_FIELDS or plain.startswith(_RESERVED_PREFIXES)
    return not reserved and _TOKEN.fullmatch(name) is not None


def _own_fields(lease: Lease, now: datetime, signer: Signer | None) -> list[tuple[str, str]]:
    event = lease.event
    timestamp = int(now.timestamp())
    own = [("webhook-id", event.id), ("webhook-timestamp", str(timestamp))]
    if signer is not None:
        own.append(("webhook-signature", signer.sign(event.id, timestamp, event.body)))
    own += _from_configuration(event.endpoint, event.provider, event.environment)
    own.append(("Relay-Event-Key", _encoded_key(event.key)))
    if not event.reconciled:
        own.append(("Relay-Client-Address", str(event.client)))
    own.append(("Relay-Attempt", str(lease.attempt)))
    own.append(("Relay-Received-At", _rfc3339(event.received_at)))
    if event.signed:
        own.append(("Relay-Signed", _visible(", ".join(event.signed))))
    if event.conflicts_with is not None:
        own.append(("Relay-Conflict", event.conflicts_with))
    if event.out_of_order:
        own.append(("Relay-Out-Of-Order", "true"))
    if lease.confirmed is not None:
        own.append(("Relay-Confirmed", _visible(lease.confirmed)))
    if event.reconciled:
        own.append(("Relay-Reconciled", "true"))
    return own


@lru_cache(maxsize=1024)
def _from_configuration(
    endpoint: str, provider: str, environment: str
) -> tuple[tuple[str, str], ...]:
    return (
        ("Relay-Endpoint", _visible(endpoint)),
        ("Relay-Provider", _visible(provider)),
        ("Relay-Environment", _visible(environment)),
    )


def _visible(text: str) -> str:
    """Percent-encode what cannot stand in a header field: names come from the configuration."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=_VISIBLE)


def _encoded_key(key: str) -> str:
    """Percent-encode a key, cut between characters so that what is left can be decoded."""
    if _USUAL_KEY.fullmatch(key):
        # What `quote` would return, in a fraction of the time.
        whole = key.replace(":", "%3A")
    else:
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


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
