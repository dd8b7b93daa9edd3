"""The `Provider` contract: addresses, verification, event key, answers and samples of one sender.

A provider is one module or package, independent of the others; `relay.providers.builtin` lists
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol, runtime_checkable

from relay.core.errors import Reason, Refusal
from relay.core.request import (
    Ack,
    Delivery,
    Headers,
    IngestResult,
    References,
    RequestHead,
    Verification,
    frozen,
)
from relay.core.secret import Secret
from relay.core.urls import SignedUrl
from relay.signatures import OnSigned, ignore_signed


@dataclass(frozen=True, slots=True)
class AddressList:
    """Networks as one document published them. `origin` names the document and its date."""

    origin: str
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """The sources of one environment: listed networks, DNS host names, or both.

    status_api: the base URL of the API that returns the status of a transaction.
    """

    listings: tuple[AddressList, ...] = ()
    hosts: tuple[str, ...] = ()
    status_api: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The tolerance of a signed time, before and after now; None is unlimited."""

    past: timedelta | None
    future: timedelta | None


@dataclass(frozen=True, slots=True)
class RequestShape:
    """One kind of request to an endpoint.

    path: appended to the endpoint's path; `{name}` stands for one segment of any value. Empty for
        the endpoint's path itself.
    proxied: the upstream's own answer is returned, whatever the endpoint's mode is.
    tokens: JSON pointers of tokens in its body.
    """

    method: str
    path: str
    proxied: bool = False
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """Static data of a provider. `relay providers show` prints it.

    shapes: for a provider that appends to a prefix: every path that it appends. Its endpoints match
        these and nothing else. Empty for a provider that calls one exact path.
    callbacks: for such a provider, its products that call one exact path, by the `callback` of
        their endpoints.
    headers: the sender's own header fields that may reach an upstream.
    answer_deadline: the time within which the sender expects an answer; None for the usual one.
    window: the default for `timestamp`; None when no time is signed.
    token: the sender is authenticated by a token, which is never stored.
    gzip: what a body in this content coding holds is verified and kept; other codings are refused.
    token_in_body: that token stands in the body, and is masked there.
    document: the first source of all this; `documents` are further ones.
    reviewed: when it was last compared with them; `date.max` where that means nothing.
    traps: what users have to mind.
    vector: where a published signed message is from, or why there is none.
    challenges: requests by which the sender tries an endpoint, and which hold no event.
    """

    name: str
    title: str
    environments: Mapping[str, Environment]
    methods: tuple[str, ...]
    secrets: str
    signature: str
    event_key: str
    answers: str
    document: str
    reviewed: date
    shapes: tuple[RequestShape, ...] = ()
    callbacks: Mapping[str, RequestShape] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    answer_deadline: timedelta | None = None
    window: Window | None = None
    token: bool = False
    documents: tuple[str, ...] = ()
    traps: tuple[str, ...] = ()
    vector: str = ""
    challenges: tuple[str, ...] = ()
    token_in_body: bool = False
    gzip: bool = False

    def shapes_of(self, callback: str | None) -> tuple[RequestShape, ...]:
        """Return the shapes of an endpoint with this `callback`; None for the provider's own."""
        return self.shapes if callback is None else (self.callbacks[callback],)


@dataclass(frozen=True, slots=True)
class RequiredField:
    """A field of the body, by its JSON pointer, that must have one of these values, as text."""

    pointer: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Who may ask an endpoint for an access token, to sign messages with.

    client_id: the name that the sender asks by. keys: the public keys of the sender.
    life: for how long a token is good.
    """

    client_id: str
    keys: tuple[Secret, ...]
    life: timedelta


class IssuedTokens(Protocol):
    """The access tokens of one endpoint. No I/O: what is issued is written down elsewhere."""

    @property
    def life(self) -> timedelta: ...

    def issue(self, at: datetime) -> str:
        """Return a new token, good from now on.

        Raises:
            Refusal: OVERLOAD, too many are asked for.
        """

    def knows(self, token: str, at: datetime) -> bool:
        """Return whether this token was issued here, and is good at this time."""


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """The settings of one endpoint that its provider needs.

    secrets: empty only where unsigned deliveries were accepted explicitly.
    public_url: the URL that the provider signed, when another one arrives here.
    callback: one of `ProviderInfo.callbacks`; None for the provider's own shapes.
    enforced: the allowlist refuses unknown senders and does not cover most addresses, so that a
        message without a proof of its own may be accepted.
    must: checked once a message is verified (`relay.providers.required_fields`).
    merchant_id: the merchant that every message must name.
    tokens: who may ask for access tokens, where messages are signed with one.
    issued: those that were issued; None where none are kept, so that none is good.
    """

    secrets: tuple[Secret, ...] = ()
    public_url: str | None = None
    window: Window | None = None
    order_id_pattern: str | None = None
    partner_id: str | None = None
    callback: str | None = None
    enforced: bool = False
    must: tuple[RequiredField, ...] = ()
    merchant_id: str | None = None
    tokens: TokenRules | None = None
    issued: IssuedTokens | None = None


class AnswerContext(Protocol):
    """The request data that an answer may depend on, besides the result.

    remainder: the path below a prefix endpoint. body: empty when it was not read.
    """

    @property
    def remainder(self) -> str: ...

    @property
    def body(self) -> bytes: ...

    @property
    def at(self) -> datetime:
        """The time of the answer."""


@frozen
class Answered:
    """A challenge and its answer.

    number: its position among the challenges. secret: that of the secret that fitted.
    key: what fitted instead, where none of the endpoint's secrets is asked for: `tokens.keys.0`.
    """

    number: int
    ack: Ack
    secret: int | None = None
    key: str | None = None


class Challenges(Protocol):
    """The challenges of one endpoint: requests that try it, and hold no event. Pure."""

    def find(self, delivery: Delivery) -> int | None:
        """Return the position of the challenge that a delivery is; None where it is none."""

    def answer(self, delivery: Delivery) -> Answered | None:
        """Return the answer to a challenge; None for what is none, and may hold an event.

        Raises:
            Refusal: its signature is wrong, or it cannot be answered; METHOD_NOT_ALLOWED where it
                is no challenge, and no event by its method.
        """


class Inspector(Protocol):
    """A provider bound to one endpoint. Pure: no I/O, no clock; the delivery holds the time.

    Keys are revealed and patterns compiled when it is bound; signed times are parsed once.
    """

    @property
    def signs_query(self) -> bool:
        """Whether the query is signed or read. A stored refusal keeps its query only then."""

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        """Verify the delivery, and return its event key and what the signature covers.

        on_signed: called with each signed text directly before its signature is verified, in
            order; `relay explain` shows them. Never called with a secret or a token. For
            `ignore_signed` no text is put together.

        Raises:
            Refusal: with the reason of the first check that failed.
        """

    def references(self, delivery: Delivery) -> References:
        """Return the references of a delivery that was refused, as far as they can be read."""

    def answer(self, result: IngestResult, context: AnswerContext) -> Ack:
        """Return the answer for this result, in the provider's form."""

    def proxied_answer(self, answered: Ack, context: AnswerContext) -> Ack:
        """Return an upstream's answer (2xx or 4xx), in the provider's form."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A signed request as the provider sends it; `suffix` is appended to the endpoint's URL."""

    method: str
    suffix: str
    headers: Headers
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SampleOrder:
    """The parameters of a sample.

    url: the endpoint's URL; some signatures cover it.
    changes: body fields to set, by name.
    token, key: of a sender that asks for an access token (`AsksForToken`): that token, and the
        private key that it is asked for with.
    """

    url: str
    secret: Secret
    at: datetime
    changes: Mapping[str, str] = field(default_factory=dict)
    token: Secret | None = None
    key: Secret | None = None


@runtime_checkable
class AsksForToken(Protocol):
    """A provider that may ask the endpoint for an access token before it sends anything else."""

    @property
    def asks_for_token(self) -> bool:
        """Whether it does: its samples need a token then."""

    def token_request(self, order: SampleOrder) -> Sample:
        """Return a signed question for a token.

        Raises:
            ValueError: the order has no private key for it.
        """

    def token_in(self, answer: bytes) -> Secret | None:
        """Return the token in the body of the answer; None where there is none."""


class Provider(Protocol):
    """One provider: the constant `PROVIDER` of its module."""

    @property
    def info(self) -> ProviderInfo: ...

    def bind(self, options: EndpointOptions) -> Inspector:
        """Return the inspector of one endpoint.

        Raises:
            ValueError: an option is unusable; the message says what to write instead, and begins
                with the name of the option and a colon, such as `secrets.0: ...`.
        """

    def sample(self, order: SampleOrder) -> Sample:
        """Return a signed sample message, unique each time unless `changes` says otherwise.

        Raises:
            ValueError: a change names a field that cannot be set.
        """


def received_url(head: RequestHead) -> SignedUrl:
    """Return the parts of the URL of a received request, without its scheme.

    Raises:
        Refusal: SIGNATURE_MISMATCH when there is no single Host.
    """
    hosts = head.headers.values("Host")
    if len(hosts) != 1:
        raise Refusal(Reason.SIGNATURE_MISMATCH, "Host is not there exactly once")
    target = head.target
    return SignedUrl("", hosts[0], target.partition("?")[0], target)
