"""DOKU, of PyPI: how its questions for an access token and its messages are signed."""

import json
from dataclasses import replace
from datetime import UTC
from random import Random
from typing import Any

import pytest

from relay.core.clock import SystemClock
from relay.core.errors import Refusal
from relay.core.request import Delivery, Headers, Verification
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Sample, SampleOrder, TokenRules
from relay.providers.snap import ACCESS, Dialect, stamp
from relay.providers.snap.access_tokens import AccessTokens, EndpointTokens
from relay.providers.snap.provider import described
from relay.providers.snap.token_requests import TokenRequests
from tests.contracts.provider import delivery_of, new_rsa_keys, outcome
from tests.interop.agreement import TIMES, library, text
from tests.providers.snap.dialects import ENVIRONMENTS, LIFE

pytestmark = pytest.mark.interop

PROVIDER = described("doku", ENVIRONMENTS, Dialect(symmetric=True, token_path=ACCESS))
PREFIX = "https://pay.example.com/doku"
PATHS = ("/v1.0/transfer-va/payment", "/v1.0/debit/notify", "/v1.0/qr/qr-mpm-notify")
KEYS, OTHER = new_rsa_keys(), new_rsa_keys()
#: Reading a private key takes a tenth of a second, and each question does.
QUESTIONS = 40
_WORDS = ("paid", "Gr\u00f6\u00dfe", "\u6ce8\u6587", "a b", 'say "x"', "back\\slash", "a/b", "")


@pytest.fixture(scope="module")
def theirs() -> Any:
    found = library("doku_python_library.src.services.token_service", "doku-python-library")
    return found.TokenService


def body(dice: Random) -> dict[str, object]:
    return {
        "partnerServiceId": f"{dice.randrange(10**5):>8}",
        "trxId": text(dice, 12),
        "virtualAccountName": dice.choice(_WORDS),
        "paidAmount": {"value": f"{dice.randrange(10**7)}.00", "currency": "IDR"},
        "additionalInfo": {"n": dice.choice([1, 1.5, True, None]), "list": [dice.choice(_WORDS)]},
    }


def changed(dice: Random, of: str) -> str:
    at = dice.randrange(len(of))
    return of[:at] + ("A" if of[at] != "A" else "B") + of[at + 1 :]


# ---- messages -------------------------------------------------------------------------------


def judged(delivery: Delivery, secret: str, issued: EndpointTokens) -> bool:
    rules = TokenRules("client", (KEYS.verifying,), LIFE)
    options = EndpointOptions((Secret(secret),), tokens=rules, issued=issued)
    return isinstance(outcome(PROVIDER.bind(options), delivery), Verification)


def test_messages_that_theirs_signs_are_taken_here_and_damaged_ones_by_none(theirs: Any) -> None:
    for dice in map(Random, range(TIMES)):
        now = SystemClock().now().replace(microsecond=0)
        issued = AccessTokens().of("doku", "client", LIFE)
        token, secret, path = issued.issue(now), text(dice, 32), dice.choice(PATHS)
        said, at = body(dice), now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        where = dice.choice([path, "/doku" + path])
        signature = theirs.generate_symmetric_signature("POST", where, token, said, at, secret)
        fields = (
            ("Authorization", f"{dice.choice(['Bearer', 'bearer'])} {token}"),
            ("X-TIMESTAMP", at),
            ("X-SIGNATURE", signature),
            ("X-EXTERNAL-ID", text(dice, 20)),
        )
        indent, separators = dice.choice([(None, (",", ":")), (2, None), (None, None)])
        raw = json.dumps(said, indent=indent, separators=separators).encode()
        sample = Sample("POST", path, Headers(fields), raw)
        assert judged(delivery_of(sample, PREFIX, now), secret, issued), sample
        for name, value in (
            ("X-SIGNATURE", changed(dice, signature)),
            ("Authorization", f"Bearer {changed(dice, token)}"),
            ("X-TIMESTAMP", at.replace("Z", "+00:00")),
        ):
            other = tuple((n, value if n == name else v) for n, v in fields)
            damaged = replace(sample, headers=Headers(other))
            assert not judged(delivery_of(damaged, PREFIX, now), secret, issued), damaged
        more = replace(sample, body=json.dumps(said | {"more": 1}).encode())
        assert not judged(delivery_of(more, PREFIX, now), secret, issued)
        assert not judged(delivery_of(sample, PREFIX, now), text(dice, 32), issued)
        for args in (
            ("POST", where, token, said | {"more": 1}, at, secret),
            ("POST", where, changed(dice, token), said, at, secret),
            ("POST", where, token, said, at, changed(dice, secret)),
            ("PUT", where, token, said, at, secret),
        ):
            assert theirs.generate_symmetric_signature(*args) != signature


def test_messages_that_are_signed_here_are_what_theirs_signs(theirs: Any) -> None:
    for dice in map(Random, range(TIMES)):
        path, secret, token = dice.choice(PATHS), text(dice, 32), text(dice, 43)
        order = SampleOrder(
            PREFIX, Secret(secret), SystemClock().now(), {"path": path}, token=Secret(token)
        )
        sample = PROVIDER.sample(order)
        at, signature = (sample.headers.values(n)[0] for n in ("X-TIMESTAMP", "X-SIGNATURE"))
        said = json.loads(sample.body)
        genuine = theirs.generate_symmetric_signature("POST", path, token, said, at, secret)
        assert signature == genuine


# ---- questions for an access token ----------------------------------------------------------


def test_questions_that_theirs_signs_are_answered_and_damaged_ones_are_not(theirs: Any) -> None:
    private = KEYS.signing.reveal().decode()
    for dice in map(Random, range(QUESTIONS)):
        # Twenty a second are answered.
        now = SystemClock().now().replace(microsecond=0)
        requests = TokenRequests(
            "client", (KEYS.verifying,), AccessTokens().of("doku", "client", LIFE)
        )
        at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        signature = theirs.create_signature(private, f"client|{at}")
        for client, signed, answered in (
            ("client", signature, True),
            ("client", changed(dice, signature), False),
            ("clienT", signature, False),
        ):
            fields = (("X-CLIENT-KEY", client), ("X-TIMESTAMP", at), ("X-SIGNATURE", signed))
            raw = b'{"grantType":"client_credentials"}'
            sample = Sample("POST", ACCESS, Headers(fields), raw)
            assert _is_answered(requests, delivery_of(sample, PREFIX, now)) is answered


def _is_answered(requests: TokenRequests, delivery: Delivery) -> bool:
    try:
        return requests.answer(delivery).status == 200
    except Refusal:
        return False


def test_questions_that_are_signed_here_are_taken_by_theirs(
    theirs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    public, other = (each.verifying.reveal().decode() for each in (KEYS, OTHER))
    for dice in map(Random, range(QUESTIONS)):
        client = text(dice, 20)
        named = {"X-CLIENT-KEY": client}
        order = SampleOrder(PREFIX, Secret("x"), SystemClock().now(), named, key=KEYS.signing)
        headers = PROVIDER.token_request(order).headers
        at, signature = (headers.values(name)[0] for name in ("X-TIMESTAMP", "X-SIGNATURE"))
        assert at == stamp(order.at)
        assert theirs.compare_signatures(f"{client}|{at}", signature, public)
        assert not theirs.compare_signatures(f"{client}|{at}", signature, other)
        assert not theirs.compare_signatures(f"{changed(dice, client)}|{at}", signature, public)
    # It prints what it does not take.
    capsys.readouterr()
