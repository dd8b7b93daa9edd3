"""What a sender's public library and the file of that sender have to agree on.

A suite subclasses `Agreement`, names both and calls the library; where the library signs as well,
it subclasses `SignsToo`. Without the library it is skipped, and says what was not compared.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from relay.config import Endpoint
from relay.config.inline_provider import InlineProvider
from relay.core.clock import SystemClock
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Verification, Via
from relay.core.secret import Secret
from relay.core.urls import signed_url
from relay.providers import SampleOrder
from relay.providers.inline import HeaderField, HeaderFields, JsonField
from relay.providers.inline.formats import Format
from relay.providers.inline.message import Message
from relay.providers.inline.signature import time_of
from relay.providers.inline.signed_text import Template
from relay.providers.inline.signed_times import write_time
from relay.providers.inline.signing import signed
from tests.contracts.provider import outcome
from tests.senders.files import endpoint, inspector

TIMES = 200
_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_WORDS = (
    "paid",
    "Größe",
    "注文",
    "a b",
    'say "x"',
    "back\\slash",
    "line\nbreak",
    "\u00e9",
    "💶",
    "",
)


def library(module: str, distribution: str) -> Any:
    """Return a module of a library; skip, saying what was not compared, where it is not there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(module)
    except ImportError as error:
        pytest.skip(f"NOT COMPARED with {distribution}: {error} (pip install -e '.[interop]')")


@dataclass(frozen=True)
class Signed:
    """A message as it comes: its URL is the endpoint's public one, where that is signed."""

    body: bytes
    headers: Mapping[str, str]
    at: datetime
    url: str = "https://pay.example.com/hooks"
    method: str = "POST"

    def header(self, name: str) -> str:
        """Return a field's value, or nothing where it is absent."""
        return self.headers.get(name, "")

    def delivery(self) -> Delivery:
        url, peer = signed_url(self.url), ip_address("192.0.2.1")
        fields = (("Host", urlsplit(self.url).netloc), *self.headers.items())
        head = RequestHead(self.method, url.path_query, Headers(fields), peer, self.at)
        return Delivery("", head, ClientAddress(peer, Via.PEER), "", self.body)


class Agreement:
    """How one library verifies; its messages are signed here, as `relay send` does."""

    #: A file of config/senders.
    sender: ClassVar[str]
    #: The module to import, and what pip installs.
    module: ClassVar[str]
    distribution: ClassVar[str]
    #: Every header field without which the message has to be refused.
    needed: ClassVar[tuple[str, ...]]

    endpoint: Endpoint

    # ---- what a suite says -----------------------------------------------------------------

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        """Tell whether their library takes a message."""
        raise NotImplementedError

    def secret(self, dice: Random) -> str:
        """Return a secret as the sender makes them."""
        return text(dice, 32)

    def body(self, dice: Random) -> bytes:
        """Return a body that the sender could send."""
        return json_body(dice)

    def headers(self, dice: Random) -> dict[str, str]:
        """Return what comes besides the signature and its time."""
        return {}

    # ---- the tests -------------------------------------------------------------------------

    @pytest.fixture
    def theirs(self) -> Any:
        return library(self.module, self.distribution)

    @pytest.fixture(autouse=True)
    def _load(self, tmp_path: Path) -> None:
        self.endpoint = endpoint(self.sender, tmp_path)

    def test_theirs_takes_what_is_signed_here(self, theirs: Any) -> None:
        for message, secret in self.messages(1):
            assert self.accepts(theirs, message, secret), message
            assert self.accepted(message, secret), message

    def test_both_refuse_the_same_damage(self, theirs: Any) -> None:
        for dice, (message, secret) in zip(
            map(Random, range(TIMES)), self.messages(2), strict=True
        ):
            for changed, key in self.damaged(dice, message, secret):
                assert not self.accepted(changed, key), changed
                assert not self.accepts(theirs, changed, key), changed

    # ---- what they are made of -------------------------------------------------------------

    def messages(self, seed: int) -> Iterator[tuple[Signed, str]]:
        """Yield messages with the secret that each was signed with."""
        dice = Random(seed)
        for _ in range(TIMES):
            secret, at = self.secret(dice), SystemClock().now().replace(microsecond=0)
            message = Signed(self.body(dice), self.headers(dice), at)
            if self.endpoint.public_url is not None:
                message = replace(message, url=self.endpoint.public_url)
            yield self.sign(message, secret), secret

    def sign(self, message: Signed, secret: str) -> Signed:
        """Return the message with a signature in the header fields."""
        assert isinstance(self.endpoint.provider, InlineProvider)
        rule = self.endpoint.provider.description().signature
        time = time_of(rule)
        stamp = "" if time is None else write_time(message.at, time.unit)
        headers = {"Content-Type": "application/json", **message.headers}
        # A time in the body is there already.
        if time is not None and isinstance(time.source, HeaderField):
            headers[time.source.name] = stamp
        message = replace(message, headers=headers)
        parts = Message(message.delivery(), signed_url(message.url))
        filled = Template(rule.signed).fill(parts, stamp)
        order = SampleOrder(message.url, Secret(secret), message.at)
        value = Format(rule.format).write(signed(rule, order, filled), stamp)
        source = rule.source
        if isinstance(source, JsonField):
            return replace(message, body=with_field(message.body, source.pointer, value))
        assert isinstance(source, HeaderField | HeaderFields)
        name = source.name if isinstance(source, HeaderField) else source.names[0]
        return replace(message, headers={**message.headers, name: value})

    def accepted(self, message: Signed, secret: str) -> bool:
        """Tell whether what serves requests takes a message."""
        given = self.endpoint.model_copy(update={"public_url": self.public_url(message)})
        found = outcome(inspector(given, self.verifying(secret)), message.delivery())
        return isinstance(found, Verification)

    def verifying(self, secret: str) -> str:
        """Return what is configured where this is signed with."""
        return secret

    def public_url(self, message: Signed) -> str | None:
        return None if self.endpoint.public_url is None else message.url

    def damaged(self, dice: Random, message: Signed, secret: str) -> Iterator[tuple[Signed, str]]:
        """Yield the message damaged in each way, and with a secret of somebody else."""
        at, bit = dice.randrange(len(message.body)), 1 << dice.randrange(8)
        body = bytearray(message.body)
        body[at] ^= bit
        yield replace(message, body=bytes(body)), secret
        yield replace(message, body=message.body + b" "), secret
        yield replace(message, body=message.body[:-1]), secret
        for name in self.needed:
            value = message.headers[name]
            # Base64 may end with bits that say nothing.
            at = dice.randrange(len(value) - 3)
            other = dice.choice([sign for sign in _ALPHABET if sign.lower() != value[at].lower()])
            for changed in (value[:at] + other + value[at + 1 :], ""):
                yield replace(message, headers={**message.headers, name: changed}), secret
            left = {key: each for key, each in message.headers.items() if key != name}
            yield replace(message, headers=left), secret
        yield message, self.secret(dice)


class SignsToo(Agreement):
    """A library that signs as well."""

    def signs(self, theirs: Any, message: Signed, secret: str) -> Mapping[str, str]:
        """Return the header fields that their library puts on a message."""
        raise NotImplementedError

    def test_what_theirs_signs_is_taken_here(self, theirs: Any) -> None:
        for unsigned, secret in self.messages(3):
            bare = {key: value for key, value in unsigned.headers.items() if key not in self.needed}
            kept = {key: unsigned.headers[key] for key in self.headers(Random(0))}
            message = replace(unsigned, headers={**bare, **kept})
            made = {**message.headers, **self.signs(theirs, message, secret)}
            assert self.accepted(replace(message, headers=made), secret), message


def text(dice: Random, length: int) -> str:
    return "".join(dice.choices(_ALPHABET, k=length))


def with_field(body: bytes, pointer: str, value: str) -> bytes:
    """Return an object with a value in the place of the one that a pointer leads to."""
    whole: Any = json.loads(body)
    *steps, last = pointer[1:].split("/")
    inner = whole
    for step in steps:
        inner = inner[int(step) if isinstance(inner, list) else step]
    inner[last] = value
    return json.dumps(whole).encode()


def json_body(dice: Random) -> bytes:
    """Return an object, written in one of the ways in which senders write JSON."""
    body: dict[str, object] = {
        "id": text(dice, 20),
        "amount": dice.choice([0, -1, 12.5, 10**20, dice.randrange(10**6)]),
        "live": dice.choice([True, False, None]),
    }
    for _ in range(dice.randrange(8)):
        value = dice.choice([dice.choice(_WORDS), [1, "2"], {"inner": {"deep": dice.random()}}])
        body[dice.choice(_WORDS) + text(dice, 3)] = value
    written = json.dumps(
        body,
        ensure_ascii=dice.random() < 0.5,
        indent=dice.choice([None, None, 2, "\t"]),
        separators=dice.choice([(",", ":"), (", ", ": ")]),
    )
    return written.encode() + dice.choice([b"", b"", b"\n"])
