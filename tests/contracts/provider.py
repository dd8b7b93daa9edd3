"""What every provider must do. Nothing here knows one by name.

A suite subclasses `ProviderContract` and gives it a `provider` fixture. What a provider signs is
found out from its own sample, its verification and its info; where its proof stands, from the info
alone.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from itertools import product
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from netaddr import IPNetwork, IPSet

from relay.core import strict_json
from relay.core.errors import Reason, Refusal
from relay.core.request import (
    Ack,
    ClientAddress,
    Delivery,
    Headers,
    IngestResult,
    RequestHead,
    Verdict,
    Verification,
    Via,
)
from relay.core.secret import Secret
from relay.core.urls import appended
from relay.ingest.endpoint_paths import EndpointPaths
from relay.providers import (
    EndpointOptions,
    Inspector,
    Provider,
    RequestShape,
    Sample,
    SampleOrder,
)
from relay.signatures import SignedText
from tests.contracts.proof import (
    Proof,
    carries,
    doubled_field,
    emptied_fields,
    other_headers,
    proof_of,
    senders_headers,
    with_headers,
    without_fields,
    without_headers,
)
from tests.harness.deliveries import AnswerContext

# Suites that make deliveries of their own take it from here.
__all__ = ("with_headers",)

URL = "https://pay.example.com/hooks/payments"
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SUCCESSES = (Verdict.ACCEPTED, Verdict.DUPLICATE)
RULINGS = (
    *(IngestResult(verdict, reason) for verdict, reason in product(Verdict, (None, *Reason))),
    IngestResult(Verdict.UNAVAILABLE, late=True),
)


@dataclass(frozen=True)
class Keys:
    """What the sender signs with, and what the receiver is given."""

    signing: Secret
    verifying: Secret


@cache
def _text_keys() -> tuple[Keys, Keys]:
    right, wrong = Secret("canary-right-0123456789"), Secret("canary-wrong-0123456789")
    return Keys(right, right), Keys(wrong, wrong)


def new_rsa_keys() -> Keys:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Keys(Secret(private), Secret(public))


@cache
def _rsa_keys() -> tuple[Keys, Keys]:
    return new_rsa_keys(), new_rsa_keys()


@dataclass(frozen=True)
class _Listening:
    """What `EndpointPaths` needs to know of an endpoint."""

    path: str
    methods: tuple[str, ...]
    shapes: tuple[RequestShape, ...]
    proxied: bool = False


def keys_for(provider: Provider) -> tuple[Keys, Keys]:
    """Return the right and the wrong keys, of the kind that this provider takes."""
    try:
        provider.bind(EndpointOptions(secrets=(_text_keys()[0].verifying,)))
    except ValueError:
        return _rsa_keys()
    return _text_keys()


def delivery_of(sample: Sample, url: str = URL, at: datetime = NOW) -> Delivery:
    """Return the delivery that posting this sample to `url` makes."""
    parts = urlsplit(url)
    headers = Headers((("Host", parts.netloc), *sample.headers))
    target = appended(url.split(parts.netloc, 1)[1], sample.suffix)
    peer = ip_address("192.0.2.1")
    head = RequestHead(sample.method, target, headers, peer, at)
    remainder = sample.suffix.partition("?")[0]
    return Delivery("endpoint", head, ClientAddress(peer, Via.PEER), remainder, sample.body)


def outcome(inspector: Inspector, delivery: Delivery) -> Verification | Reason:
    """Return the verification, or the reason of the refusal. Anything else is a failure."""
    try:
        return inspector.verify(delivery)
    except Refusal as refusal:
        return refusal.reason


def flipped_bytes(data: bytes) -> Iterator[bytes]:
    """Yield the data with each of its bits flipped, one at a time."""
    for position, bit in product(range(len(data)), range(8)):
        changed = bytearray(data)
        changed[position] ^= 1 << bit
        yield bytes(changed)


def flipped_text(text: str) -> Iterator[str]:
    return (changed.decode("latin-1") for changed in flipped_bytes(text.encode("latin-1")))


def changed_fields(field: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """Yield a header field with each bit of its value flipped, where that says something else."""
    name, value = field
    scheme, blank, _ = value.partition(" ")
    if name.lower() != "authorization" or not blank:
        scheme = ""
    for changed in flipped_text(value):
        # RFC 9110: the name of an authentication scheme has no case.
        same = changed[len(scheme) :] == value[len(scheme) :]
        if not (same and changed[: len(scheme)].lower() == scheme.lower()):
            yield name, changed


_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{32,}(?![0-9A-Za-z+/=])")


def same_digits(value: str, changed: str) -> bool:
    """Tell whether two values differ in the case of their hexadecimal digits alone."""
    around = _HEX.split(value)
    digits = _HEX.findall(value)
    if not digits or len(changed) != len(value):
        return False
    at = 0
    for before, run in zip(around, [*digits, ""], strict=True):
        middle = at + len(before)
        if changed[at:middle] != before or changed[middle : middle + len(run)].lower() != run:
            return False
        at = middle + len(run)
    return True


def told(verification: Verification) -> tuple[object, ...]:
    """Return what an optional header has no say in."""
    return verification.key, verification.content, verification.signed, verification.secret


def parsed(body: bytes) -> strict_json.JsonValue | Reason:
    try:
        return strict_json.parse(body)
    except Refusal as refusal:
        return refusal.reason


def covered_changed(
    before: strict_json.JsonValue | Reason,
    after: strict_json.JsonValue | Reason,
    names: tuple[str, ...],
) -> bool:
    """Whether one of these fields says something else now."""
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    return any(before.get(name) != after.get(name) for name in names)


def tried(inspector: Inspector, delivery: Delivery) -> list[SignedText]:
    """Return what `relay explain` shows as signed, whether it is refused or not."""
    texts: list[SignedText] = []
    with suppress(Refusal):
        inspector.verify(delivery, texts.append)
    return texts


class ProviderContract:
    """Subclass this with a `provider` fixture."""

    @pytest.fixture
    def provider(self) -> Provider:
        raise NotImplementedError

    @pytest.fixture
    def keys(self, provider: Provider) -> tuple[Keys, Keys]:
        return keys_for(provider)

    @pytest.fixture
    def order(self, keys: tuple[Keys, Keys]) -> SampleOrder:
        return SampleOrder(url=URL, secret=keys[0].signing, at=NOW)

    @pytest.fixture
    def inspector(self, provider: Provider, keys: tuple[Keys, Keys]) -> Inspector:
        return provider.bind(EndpointOptions(secrets=(keys[0].verifying,)))

    @pytest.fixture
    def delivery(self, provider: Provider, order: SampleOrder) -> Delivery:
        return delivery_of(provider.sample(order))

    @pytest.fixture(params=[False, True], ids=["anyone", "enforced"])
    def guard(
        self, provider: Provider, keys: tuple[Keys, Keys], request: pytest.FixtureRequest
    ) -> Inspector:
        """The inspector; once where addresses are enforced, and some messages are believed."""
        return provider.bind(EndpointOptions(secrets=(keys[0].verifying,), enforced=request.param))

    @pytest.fixture
    def proof(self, provider: Provider, delivery: Delivery) -> Proof:
        return proof_of(provider.info, delivery)

    @pytest.fixture
    def required(self, inspector: Inspector, delivery: Delivery, proof: Proof) -> tuple[str, ...]:
        """The headers that the facts speak of, and those that are missed when they are gone."""
        return tuple(
            name
            for name in senders_headers(delivery)
            if name in (*proof.headers, *proof.signed)
            or outcome(inspector, without_headers(delivery, name)) is Reason.SIGNATURE_MISSING
        )

    # ---- a good message -------------------------------------------------------------------

    def test_a_sample_verifies(self, inspector: Inspector, delivery: Delivery) -> None:
        verification = inspector.verify(delivery)
        assert verification.secret == 0
        assert len(verification.content) == 32
        assert 0 < len(verification.key) <= 1024
        assert verification.key.isprintable()
        assert verification.key.isascii()
        assert not verification.ambiguous
        assert not verification.test

    def test_inspecting_twice_finds_the_same(
        self, inspector: Inspector, delivery: Delivery
    ) -> None:
        assert inspector.verify(delivery) == inspector.verify(delivery)

    def test_two_samples_are_two_events(
        self, provider: Provider, order: SampleOrder, inspector: Inspector
    ) -> None:
        first, second = (inspector.verify(delivery_of(provider.sample(order))) for _ in range(2))
        assert first.key != second.key

    def test_the_key_does_not_hold_the_signature(
        self, inspector: Inspector, delivery: Delivery, required: tuple[str, ...]
    ) -> None:
        key = inspector.verify(delivery).key
        for name in required:
            assert delivery.head.headers.values(name)[0] not in key
        message = parsed(delivery.body)
        assert isinstance(message, dict)
        assert not any(isinstance(v, str) and len(v) > 64 and v in key for v in message.values())

    def test_what_a_body_says_does_not_depend_on_its_white_space(
        self, provider: Provider, delivery: Delivery
    ) -> None:
        unsigned = provider.bind(EndpointOptions())
        spaced = replace(
            delivery, body=json.dumps(json.loads(delivery.body), indent=3, sort_keys=True).encode()
        )
        assert spaced.body != delivery.body
        first, second = unsigned.verify(delivery), unsigned.verify(spaced)
        assert (first.key, first.content) == (second.key, second.content)

    # ---- what `relay explain` shows -------------------------------------------------------

    def test_what_is_shown_is_what_was_verified(
        self, provider: Provider, inspector: Inspector, delivery: Delivery, keys: tuple[Keys, Keys]
    ) -> None:
        shown = tried(inspector, delivery)
        if "token" in provider.info.signature.lower():
            assert shown == []
        else:
            assert carries(shown[-1], keys[0].verifying)
            assert not carries(shown[-1], keys[1].verifying)

    def test_nothing_shown_holds_a_secret(
        self, provider: Provider, delivery: Delivery, keys: tuple[Keys, Keys]
    ) -> None:
        secrets = (keys[1].verifying, keys[0].verifying)
        for text in tried(provider.bind(EndpointOptions(secrets=secrets)), delivery):
            for secret in secrets:
                assert secret.reveal() not in text.joined()
                assert secret.reveal().decode() not in text.signature

    def test_showing_changes_nothing(
        self, provider: Provider, inspector: Inspector, delivery: Delivery, keys: tuple[Keys, Keys]
    ) -> None:
        texts: list[SignedText] = []
        assert inspector.verify(delivery, texts.append) == inspector.verify(delivery)
        other = provider.bind(EndpointOptions(secrets=(keys[1].verifying,)))
        assert tried(other, delivery)[: len(texts)] == texts

    # ---- anything else --------------------------------------------------------------------

    def test_any_flipped_bit_of_the_body_refuses_or_tells(
        self, inspector: Inspector, delivery: Delivery
    ) -> None:
        verification = inspector.verify(delivery)
        message = parsed(delivery.body)
        assert isinstance(message, dict)
        for body in flipped_bytes(delivery.body):
            found = outcome(inspector, replace(delivery, body=body))
            changed = parsed(body)
            whole = verification.signed == ("body",) or not isinstance(changed, dict)
            if whole or covered_changed(message, changed, verification.signed):
                assert isinstance(found, Reason), body
            if isinstance(found, Verification) and changed != message:
                assert found.content != verification.content, body

    def test_any_flipped_bit_of_a_required_header_refuses(
        self, inspector: Inspector, delivery: Delivery, required: tuple[str, ...], proof: Proof
    ) -> None:
        fields = tuple(delivery.head.headers)
        for field in fields:
            if field[0] not in required:
                continue
            for changed in changed_fields(field):
                others = (changed if f is field else f for f in fields)
                found = outcome(inspector, with_headers(delivery, *others))
                # A sender may write a signature in digits of either case.
                alike = field[0] in proof.headers and same_digits(field[1], changed[1])
                assert isinstance(found, Reason) or alike, changed

    def test_a_required_header_is_there_exactly_once_and_says_something(
        self, guard: Inspector, delivery: Delivery, proof: Proof, required: tuple[str, ...]
    ) -> None:
        assert {*proof.headers, *proof.signed} <= set(required)
        for name in required:
            for changed in other_headers(delivery, name):
                found = outcome(guard, changed)
                assert found is Reason.SIGNATURE_MISSING, (name, changed.head.headers)

    def test_a_signature_in_the_body_is_there_exactly_once_and_says_something(
        self, guard: Inspector, delivery: Delivery, proof: Proof
    ) -> None:
        for field in proof.fields:
            for changed in emptied_fields(delivery, field):
                assert outcome(guard, changed) is Reason.SIGNATURE_MISSING, changed.body
            for value in ("", "another"):
                changed = doubled_field(delivery, field, value)
                assert isinstance(outcome(guard, changed), Reason), changed.body

    def test_any_header_that_comes_otherwise_refuses_or_says_nothing(
        self, guard: Inspector, delivery: Delivery
    ) -> None:
        usual = guard.verify(delivery)
        for name in senders_headers(delivery):
            for changed in other_headers(delivery, name):
                found = outcome(guard, changed)
                if isinstance(found, Verification):
                    assert told(found) == told(usual), (name, changed.head.headers)

    def test_nothing_is_taken_without_any_proof(
        self, guard: Inspector, delivery: Delivery, proof: Proof
    ) -> None:
        bare = without_fields(delivery, *proof.fields)
        for names in (proof.headers, senders_headers(delivery)):
            found = outcome(guard, without_headers(bare, *names))
            assert isinstance(found, Reason), (names, proof.fields)

    def test_header_names_have_no_case(self, inspector: Inspector, delivery: Delivery) -> None:
        fields = ((name.swapcase(), value) for name, value in delivery.head.headers)
        assert inspector.verify(with_headers(delivery, *fields)) == inspector.verify(delivery)

    def test_the_target_is_signed_exactly_when_the_facts_say_so(
        self, provider: Provider, inspector: Inspector, delivery: Delivery
    ) -> None:
        said = provider.info.signature.replace("base64url", "base64")
        signs = re.search(r"path|url", said, re.IGNORECASE) is not None
        target, remainder = delivery.head.target, delivery.remainder
        # Some sign only what they append to the prefix that they were given.
        fixed = target[: len(target) - len(remainder)] if remainder else ""
        for changed in flipped_text(target[len(fixed) :]):
            head = replace(delivery.head, target=fixed + changed)
            moved = replace(delivery, head=head, remainder=changed if remainder else "")
            found = outcome(inspector, moved)
            if signs:
                assert isinstance(found, Reason), changed
            else:
                assert found is not Reason.SIGNATURE_MISMATCH, changed

    def test_a_query_is_said_to_be_signed_where_it_is(
        self, inspector: Inspector, delivery: Delivery
    ) -> None:
        head = delivery.head
        longer = replace(delivery, head=replace(head, target=head.target + "?token=x"))
        found = outcome(inspector, longer)
        assert isinstance(found, Reason if inspector.signs_query else Verification)

    def test_the_host_is_signed_exactly_when_the_facts_say_so(
        self, provider: Provider, inspector: Inspector, delivery: Delivery
    ) -> None:
        signs = re.search(r"\bhost\b|public_url", provider.info.signature) is not None
        host, *others = delivery.head.headers
        for changed in flipped_text(host[1]):
            found = outcome(inspector, with_headers(delivery, (host[0], changed), *others))
            assert isinstance(found, Reason if signs else Verification), changed

    def test_a_hostile_body_is_refused_and_nothing_worse(
        self, provider: Provider, delivery: Delivery
    ) -> None:
        unsigned = provider.bind(EndpointOptions())
        for body in (
            b"",
            b"null",
            b"[]",
            b'""',
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"\xff\xfe{\x00}\x00",
            b"\xef\xbb\xbf" + delivery.body,
            delivery.body + delivery.body,
            delivery.body[:-1],
            json.dumps(delivery.body.decode()).encode(),
        ):
            found = outcome(unsigned, replace(delivery, body=body))
            assert found is Reason.BODY_MALFORMED, body[:40]

    # ---- secrets --------------------------------------------------------------------------

    def test_another_secret_refuses(
        self, provider: Provider, keys: tuple[Keys, Keys], delivery: Delivery
    ) -> None:
        inspector = provider.bind(EndpointOptions(secrets=(keys[1].verifying,)))
        assert outcome(inspector, delivery) is Reason.SIGNATURE_MISMATCH

    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_during_a_rotation_any_secret_fits_and_its_position_is_told(
        self, provider: Provider, keys: tuple[Keys, Keys], delivery: Delivery, position: int
    ) -> None:
        secrets = [keys[1].verifying] * 3
        secrets[position] = keys[0].verifying
        assert (
            provider.bind(EndpointOptions(secrets=tuple(secrets))).verify(delivery).secret
            == position
        )

    def test_without_secrets_nothing_counts_as_signed(
        self, provider: Provider, delivery: Delivery
    ) -> None:
        verification = provider.bind(EndpointOptions()).verify(delivery)
        assert (verification.signed, verification.secret, verification.ambiguous) == (
            (),
            None,
            False,
        )

    def test_an_empty_secret_is_a_configuration_mistake(
        self, provider: Provider, keys: tuple[Keys, Keys]
    ) -> None:
        with pytest.raises(ValueError, match=r"^secrets\.1: "):
            provider.bind(EndpointOptions(secrets=(keys[0].verifying, Secret(""))))

    def test_the_inspector_does_not_show_its_secrets(
        self, inspector: Inspector, keys: tuple[Keys, Keys]
    ) -> None:
        shown = repr(inspector) + repr(vars(inspector))
        for line in keys[0].verifying.reveal().decode().splitlines():
            assert line not in shown

    # ---- answers --------------------------------------------------------------------------

    def test_every_ruling_has_an_answer_that_keeps_its_reason(
        self, inspector: Inspector, delivery: Delivery
    ) -> None:
        # The body may not have been read: there is an answer still.
        for result, body in product(RULINGS, (delivery.body, b"")):
            ack = inspector.answer(result, AnswerContext(delivery.remainder, body, NOW))
            if result.verdict in SUCCESSES:
                assert ack.status == 200, result
            if result.verdict in {Verdict.REFUSED, Verdict.UNAVAILABLE}:
                assert 400 <= ack.status < 600, result
            # Some senders want 500 in their own words; without any, nobody meant to send it.
            assert ack.status != 500 or ack.body, result
            assert not 300 <= ack.status < 400, result
            if result.reason is not None:
                said = ack.body.decode().lower()
                assert result.reason not in said
                assert result.reason.replace("_", " ") not in said

    @pytest.mark.parametrize(
        ("reason", "status"),
        [
            (Reason.UNKNOWN_ENDPOINT, 404),
            (Reason.METHOD_NOT_ALLOWED, 405),
            (Reason.BODY_TIMEOUT, 408),
            (Reason.BODY_TOO_LARGE, 413),
            (Reason.BODY_ENCODED, 415),
            (Reason.HEADERS_TOO_LARGE, 431),
        ],
    )
    def test_the_transport_is_answered_alike(
        self, inspector: Inspector, delivery: Delivery, reason: Reason, status: int
    ) -> None:
        result = IngestResult(Verdict.REFUSED, reason)
        assert (
            inspector.answer(result, AnswerContext(delivery.remainder, b"", NOW)).status == status
        )

    @pytest.mark.parametrize("status", [200, 202, 400, 404, 422])
    def test_what_an_upstream_answered_keeps_its_status_and_body(
        self, inspector: Inspector, delivery: Delivery, status: int
    ) -> None:
        answered = Ack(status, b'{"responseCode": "2005600"}', "application/json; charset=utf-8")
        passed = inspector.proxied_answer(
            answered, AnswerContext(delivery.remainder, delivery.body, NOW)
        )
        assert replace(passed, headers=()) == answered

    # ---- facts ----------------------------------------------------------------------------

    def test_the_facts_are_complete(self, provider: Provider, delivery: Delivery) -> None:
        info = provider.info
        assert delivery.head.method in info.methods
        assert info.document.startswith("https://")
        for text in (info.title, info.secrets, info.signature, info.event_key, info.answers):
            assert text.strip()
        for environment in info.environments.values():
            assert environment.listings or environment.hosts
            for listing in environment.listings:
                assert re.search(r"\d{4}-\d{2}-\d{2}", listing.origin), listing.origin
                assert listing.networks

    def test_a_sample_goes_where_its_endpoints_listen(
        self, provider: Provider, delivery: Delivery
    ) -> None:
        info = provider.info
        base = delivery.head.path.removesuffix(delivery.remainder)
        match = EndpointPaths([_Listening(base, info.methods, info.shapes)]).find(delivery.head)
        assert match.remainder == delivery.remainder
        assert delivery.head.method in match.methods

    def test_no_two_environments_share_an_address(self, provider: Provider) -> None:
        networks = {
            name: IPSet([IPNetwork(n) for listing in env.listings for n in listing.networks])
            for name, env in provider.info.environments.items()
        }
        hosts = {name: set(env.hosts) for name, env in provider.info.environments.items()}
        for first, second in product(networks, networks):
            if first < second:
                assert not networks[first] & networks[second]
                assert not hosts[first] & hosts[second]

    def test_what_an_upstream_could_check_passes_on_and_a_token_does_not(
        self, provider: Provider, required: tuple[str, ...]
    ) -> None:
        passed = {name.lower() for name in provider.info.headers}
        signed = {name.lower() for name in required}
        if "token" in provider.info.signature.lower():
            assert not signed & passed
        else:
            assert signed <= passed
