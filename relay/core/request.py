"""The types on the way in: a request, its client, its verification and its verdict.

All are frozen. A later type is evidence that an earlier step has happened: the spool takes a
`VerifiedDelivery`, and only `relay.ingest` builds one.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from itertools import compress
from operator import itemgetter
from typing import Final, TypeVar, dataclass_transform

from relay.core.errors import Reason
from relay.core.strict_json import DEFAULT_LIMITS, JsonLimits, JsonValue, content_digest

# ---- frozen dataclasses ---------------------------------------------------------------------
# A frozen dataclass of the standard library checks at run time, and writes every field past that
# check: making one costs four times as much. Some twenty are made for each delivery, so here it is
# the type checker alone that refuses an assignment, as it does for a frozen dataclass.

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a dataclass with slots whose fields are set once; equal and hashed by its fields."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


# ---- header fields --------------------------------------------------------------------------


class Headers:
    """Header fields in the order received. Names compare without case, values are Latin-1 text.

    Latin-1 maps every byte to one character, so `value.encode("latin-1")` is what arrived. Look-ups
    search a list of the lower-case names: of the dozen fields that a request has, a provider asks
    for a few, so that an index would cost more than it saves.
    """

    __slots__ = ("_names", "_only", "_wanted", "fields")

    def __init__(
        self, fields: tuple[tuple[str, str], ...] = (), names: Sequence[str] | None = None
    ) -> None:
        """Take the fields. `names`: of each one in lower case, where a parser knows them."""
        self.fields = fields
        self._names = names
        self._wanted: Container[str] | None = None

    def values(self, name: str) -> tuple[str, ...]:
        """Return every value of this field, in order; empty when it is absent."""
        found = compress(self.fields, map(name.lower().__eq__, self._names or self._lower()))
        return tuple(map(_VALUE, found))

    def single(self, name: str) -> str | None:
        """Return the value of a field that is there once and not empty; None of any other.

        name: in lower case.
        """
        names = self._names or self._lower()
        if names.count(name) != 1:
            return None
        return self.fields[names.index(name)][1] or None

    def only(self, names: Container[str]) -> "Headers":
        """Return the fields with these names, which are in lower case, in the order received.

        The last result is kept: asked for the same names again, it is the same object.
        """
        if names is not self._wanted:
            kept = compress(self.fields, map(names.__contains__, self._names or self._lower()))
            self._only, self._wanted = Headers(tuple(kept)), names
        return self._only

    def _lower(self) -> Sequence[str]:
        self._names = tuple(map(str.lower, map(_NAME, self.fields)))
        return self._names

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.fields)

    def __repr__(self) -> str:
        """Names only: values may hold tokens."""
        return f"Headers({', '.join(key for key, _ in self.fields)})"


_NAME, _VALUE = itemgetter(0), itemgetter(1)

Address = IPv4Address | IPv6Address


def query_dropped(suffix: str) -> bool:
    """Return whether a query was dropped of the request that has left this suffix."""
    _, mark, query = suffix.partition("?")
    return bool(mark) and not query


# ---- requests and deliveries ----------------------------------------------------------------


class Via(StrEnum):
    """Where the client address was taken from."""

    # As text has it: an enumeration's own is a call of Python.
    __hash__ = str.__hash__

    PEER = "peer"
    X_FORWARDED_FOR = "x-forwarded-for"
    FORWARDED = "forwarded"
    PROXY = "proxy"


@frozen
class RequestHead:
    """A request before its body is read. `target` is the raw request target, undecoded.

    via: PROXY when a PROXY header named the peer, PEER when it is the socket's.
    forwards: False when the peer has declared itself the client (PROXY protocol, LOCAL); its
        forwarding headers are then not read.
    peer_text: the peer as text, where its connection has it ready; empty elsewhere.
    """

    method: str
    target: str
    headers: Headers
    peer: Address
    received_at: datetime
    via: Via = Via.PEER
    forwards: bool = True
    peer_text: str = field(default="", repr=False, compare=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query with its question mark, or an empty string when there is none."""
        _, mark, query = self.target.partition("?")
        return mark + query


@frozen
class ClientAddress:
    """The client's address, after trusted proxies, and the same as text."""

    address: Address
    via: Via
    text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.text = str(self.address)  # type: ignore[misc] # frozen from here on


@frozen
class Delivery:
    """One whole request from a provider. `remainder` is the path below a prefix endpoint.

    suffix: what is appended to the upstream's URL: the remainder, and the query where that is
        forwarded; a question mark alone where a query was dropped.
    json_limits: how much JSON its body may hold.
    body_sha256: computed here, once; signatures, keys of events and log lines take it from here.
    """

    endpoint: str
    head: RequestHead
    client: ClientAddress
    remainder: str
    body: bytes
    json_limits: JsonLimits = field(default=DEFAULT_LIMITS, repr=False, compare=False)
    suffix: str = field(default="", repr=False, compare=False)
    body_sha256: bytes = field(init=False, repr=False, compare=False)

    # By hand: a call less than a generated one and `__post_init__`, for each request.
    def __init__(  # noqa: PLR0917 - positional, as generated
        self,
        endpoint: str,
        head: RequestHead,
        client: ClientAddress,
        remainder: str,
        body: bytes,
        json_limits: JsonLimits = DEFAULT_LIMITS,
        suffix: str | None = None,
    ) -> None:
        self.endpoint = endpoint  # type: ignore[misc] # frozen from here on
        self.head = head  # type: ignore[misc]
        self.client = client  # type: ignore[misc]
        self.remainder = remainder  # type: ignore[misc]
        self.body = body  # type: ignore[misc]
        self.json_limits = json_limits  # type: ignore[misc]
        if suffix is None:
            suffix = remainder and remainder + head.query
        self.suffix = suffix  # type: ignore[misc]
        self.body_sha256 = sha256(body).digest()  # type: ignore[misc]


class OnConflict(StrEnum):
    """How a delivery is treated whose event key is known with other content."""

    DELIVER = "deliver"
    REFUSE = "refuse"


class OnReplay(StrEnum):
    """What a delivery is whose `replay_digest` an event under another key has."""

    #: That event again.
    DUPLICATE = "duplicate"
    #: An event of its own, which names that one.
    REPEATS = "repeats"
    #: An event of its own, in conflict with that one unless both have one subject.
    CONFLICT = "conflict"


#: Names and values of the ids by which people ask for an event.
References = tuple[tuple[str, str], ...]

#: How many an event has at most, and how long each of their texts is at most, as UTF-8.
MAX_REFERENCES: Final = 8
MAX_REFERENCE: Final = 128
#: The most characters that cannot take more bytes than that.
_SURELY_FITS: Final = 32


def references(found: Mapping[str, JsonValue], names: Sequence[str]) -> References:
    """Return the fields of these names, at most `MAX_REFERENCES`, whose values may be references.

    What is longer, empty or no text is left out.
    """
    return Verification("", b"", named=(found, names)).references


@frozen
class Verification:
    """What a provider's inspector has established about a delivery that it accepts.

    key: what makes the event unique on its endpoint.
    said: what the body says: parsed, or as a digest that is the same for bodies that parse alike.
    replay_digest: what is the same when the event comes again under another key, as `on_replay`
        says; None where it has but one key.
    signed: what the signature covers: `("body",)`, or the covered field names. Empty when unsigned,
        and under a token, which proves who sends and covers nothing of what is sent.
    ambiguous: the covered fields could have been split otherwise under the same signature.
    secret: position of the secret that matched, counted from 0; None when none was asked for.
    subject: the transaction, payment or account that the event is about; orders events.
    is_initial: the event announces its subject; after a later state it is out of order.
    test: a test message from the provider's dashboard: kept, not delivered.
    hold: why it is kept and not delivered until its provider confirms it, or a person requeues it.
    tokens: JSON pointers of tokens in the body: shown nowhere, and kept no longer than needed.
    references: the ids by which people ask for the event.
    redacted: JSON pointers and form fields of a token that proved the sender, masked in `kept`.
    kept: the delivery with that token masked, which is all that goes further; None: as received.
    """

    key: str
    said: JsonValue | bytes = field(repr=False, compare=False)
    replay_digest: bytes | None = None
    signed: tuple[str, ...] = ()
    ambiguous: bool = False
    secret: int | None = None
    subject: str | None = None
    is_initial: bool = False
    test: bool = False
    on_conflict: OnConflict = OnConflict.DELIVER
    on_replay: OnReplay = OnReplay.DUPLICATE
    hold: str | None = None
    tokens: tuple[str, ...] = ()
    references: References = ()
    redacted: tuple[str, ...] = ()
    kept: Delivery | None = field(default=None, repr=False, compare=False)

    # By hand: finding the references here is no call more for each delivery.
    def __init__(  # noqa: PLR0917 - positional, as generated
        self,
        key: str,
        said: JsonValue | bytes,
        replay_digest: bytes | None = None,
        signed: tuple[str, ...] = (),
        ambiguous: bool = False,
        secret: int | None = None,
        subject: str | None = None,
        is_initial: bool = False,
        test: bool = False,
        on_conflict: OnConflict = OnConflict.DELIVER,
        on_replay: OnReplay = OnReplay.DUPLICATE,
        hold: str | None = None,
        tokens: tuple[str, ...] = (),
        references: References = (),
        redacted: tuple[str, ...] = (),
        kept: Delivery | None = None,
        *,
        named: tuple[Mapping[str, JsonValue], Sequence[str]] | None = None,
    ) -> None:
        """Set the fields. `named`: where the references stand instead, as in `references`."""
        if named is not None:
            found, names = named
            for name in names:
                if name in found:
                    text = found[name]
                    if (
                        type(text) is str
                        and text
                        and (
                            not text[_SURELY_FITS:]
                            or not bytes(text, "utf-8", "surrogatepass")[MAX_REFERENCE:]
                        )
                    ):
                        references += ((name, text),)
        self.key = key  # type: ignore[misc] # frozen from here on
        self.said = said  # type: ignore[misc]
        self.replay_digest = replay_digest  # type: ignore[misc]
        self.signed = signed  # type: ignore[misc]
        self.ambiguous = ambiguous  # type: ignore[misc]
        self.secret = secret  # type: ignore[misc]
        self.subject = subject  # type: ignore[misc]
        self.is_initial = is_initial  # type: ignore[misc]
        self.test = test  # type: ignore[misc]
        self.on_conflict = on_conflict  # type: ignore[misc]
        self.on_replay = on_replay  # type: ignore[misc]
        self.hold = hold  # type: ignore[misc]
        self.tokens = tokens  # type: ignore[misc]
        self.references = references  # type: ignore[misc]
        self.redacted = redacted  # type: ignore[misc]
        self.kept = kept  # type: ignore[misc]

    @property
    def content(self) -> bytes:
        """The digest of what the body says, computed for what is compared: nothing proxied is."""
        said = self.said
        return said if isinstance(said, bytes) else content_digest(said)


class Keep(StrEnum):
    """What is kept of an event once it is delivered."""

    ALL = "all"
    #: The body goes.
    HEADERS = "headers"
    #: Body, header fields and answers go.
    NONE = "none"


@frozen
class VerifiedDelivery:
    """A delivery that passed every check. Only `relay.ingest` builds one.

    upstreams: where it goes, each once; none where its route leads nowhere. One that is passed on
        has exactly one.
    headers: the sender's header fields that may reach the upstream, Content-Type among them.
    reconciled: made of the answer of the provider's API, not of a call.
    confirm: the provider's API has to confirm it before it is delivered.
    keep: what is kept of it once it is delivered, or passed on.
    """

    event_id: str
    provider: str
    environment: str
    upstreams: tuple[str, ...]
    headers: Headers
    delivery: Delivery
    verification: Verification
    reconciled: bool = False
    confirm: bool = False
    keep: Keep = Keep.ALL

    @property
    def signed(self) -> tuple[str, ...]:
        """What the signature covers, `ambiguous` appended when it applies."""
        signed = self.verification.signed
        return (*signed, "ambiguous") if self.verification.ambiguous else signed


class Verdict(StrEnum):
    """The result of a delivery, as its sender is answered."""

    # As in `Via`.
    __hash__ = str.__hash__

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    PASSED = "passed"
    CHALLENGED = "challenged"


@frozen
class IngestResult:
    """A verdict, with its reason when it is a refusal.

    late: UNAVAILABLE because of a time-out.
    """

    verdict: Verdict
    reason: Reason | None = None
    late: bool = False


@frozen
class Ack:
    """The answer to a provider, in the provider's shape. An empty `content_type` is not sent."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class ForwardedHeader(StrEnum):
    """The one forwarding header that is read."""

    X_FORWARDED_FOR = "X-Forwarded-For"
    FORWARDED = "Forwarded"
