"""The `Provider` contract: what a sender sends, how it proves itself, how it wants to be answered.

One module a provider holds everything about it: addresses, signature, event key, answers, a sample
and the signer for that sample. They do not know each other; `relay.providers.builtin` lists them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol

from relay.core.request import Ack, Delivery, Headers, IngestResult, Verification, frozen
from relay.core.secret import Secret
from relay.signatures import OnSigned, ignore_signed


@dataclass(frozen=True, slots=True)
class AddressList:
    """Networks as one document published them. `origin` names the document and its date."""

    origin: str
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the messages of one environment come from: listed networks, DNS host names, or both.

    status_api: where it can be asked what the status of a transaction is.
    """

    listings: tuple[AddressList, ...] = ()
    hosts: tuple[str, ...] = ()
    status_api: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """How far a signed time may lie from now; None is unlimited."""

    past: timedelta | None
    future: timedelta | None


@dataclass(frozen=True, slots=True)
class RequestShape:
    """One kind of request to an endpoint.

    path: what follows the endpoint's path; `{name}` stands for one segment of a sender's choice.
        Empty: nothing follows.
    proxied: the sender needs the upstream's own answer, whatever the endpoint's mode is.
    """

    method: str
    path: str
    proxied: bool = False


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """What is published about a provider. `relay providers show` prints this.

    shapes: for a provider that is given a prefix and appends to it: everything it appends. Its
        endpoints then match these and nothing else. Empty where it calls one exact path.
    callbacks: products that are called at one exact path all the same, by the `callback` of their
        endpoints.
    headers: the sender's own header fields that may reach an upstream.
    patience: how soon the sender has to be answered, where that is sooner than usual.
    window: the default for `timestamp`; None when no time is signed.
    token: what proves the sender is a token in a header field, which is kept nowhere.
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

    def shapes_of(self, callback: str | None) -> tuple[RequestShape, ...]:
        """Return what an endpoint with this `callback` is sent; None is the provider itself."""
        return self.shapes if callback is None else (self.callbacks[callback],)


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """What one endpoint's configuration says to its provider.

    secrets: empty only where unsigned deliveries were accepted explicitly.
    public_url: the URL that the provider signed, when another one arrives here.
    callback: one of `ProviderInfo.callbacks`; None for the provider's usual requests.
    enforced: whoever gets this far has an allowed address, and not every address is one. What
        carries no proof of its own may then be believed.
    """

    secrets: tuple[Secret, ...] = ()
    public_url: str | None = None
    window: Window | None = None
    order_id_pattern: str | None = None
    partner_id: str | None = None
    callback: str | None = None
    enforced: bool = False


@frozen
class AnswerContext:
    """What an answer may depend on, besides the result.

    remainder: the path below a prefix endpoint. body: empty when it was not read. at: now.
    """

    remainder: str
    body: bytes = field(repr=False)
    at: datetime


class Inspector(Protocol):
    """A provider bound to one endpoint. Pure: no I/O, and time comes with the delivery."""

    @property
    def signs_query(self) -> bool:
        """Whether the sender's signature covers the query. Of a refusal it is kept only then."""

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        """Verify the delivery and say what it is.

        on_signed: called with each signed text directly before its signature is verified, in
            order; `relay explain` shows them. Never called with a secret or a token.

        Raises:
            Refusal: with the reason of the first check that failed.
        """

    def answer(self, result: IngestResult, context: AnswerContext) -> Ack:
        """Return the answer for this result."""

    def proxied_answer(self, answered: Ack, context: AnswerContext) -> Ack:
        """Return what an upstream answered (2xx or 4xx), in the form that the provider wants."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A signed message as the provider sends it."""

    method: str
    suffix: str
    headers: Headers
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SampleOrder:
    """What a sample is wanted for.

    url: where it will be posted; some signatures cover it.
    changes: body fields to set, by name.
    """

    url: str
    secret: Secret
    at: datetime
    changes: Mapping[str, str] = field(default_factory=dict)


class Provider(Protocol):
    """One provider. Each module of this package has one in `PROVIDER`."""

    @property
    def info(self) -> ProviderInfo: ...

    def bind(self, options: EndpointOptions) -> Inspector:
        """Return the inspector of one endpoint.

        Raises:
            ValueError: a term is unusable; the message says what to write instead, and begins
                with the name of the term and a colon, such as `secrets.0: ...`.
        """

    def sample(self, order: SampleOrder) -> Sample:
        """Return a signed sample message, unique each time unless `changes` says otherwise.

        Raises:
            ValueError: a change names a field that cannot be set.
        """
