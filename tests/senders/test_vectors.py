"""Published messages of senders, and made-up ones of Xendit, judged by what serves requests."""

import hmac
import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.config import Endpoint, endpoint_options, provider_of
from relay.core.errors import Reason
from relay.core.request import Delivery, Headers, Verification
from relay.providers import Inspector, Sample
from tests.contracts.proof import with_headers
from tests.contracts.provider import (
    delivery_of,
    flipped_bytes,
    flipped_text,
    outcome,
    same_digits,
)
from tests.senders.files import WHSEC, base64, endpoint, inspector
from tests.senders.keys import NAMES, described, keys

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors/senders.json").read_text()
)
ACCEPTED = [vector for vector in VECTORS if vector["verdict"] == "accepted"]
REFUSED = [vector for vector in VECTORS if vector["verdict"] != "accepted"]
#: What does not sign its body byte for byte: Adyen signs eight fields, a token covers nothing,
#: and a form of Twilio's may be spelled otherwise.
PARTLY = ("adyen", "twilio", "xendit")
#: What is signed with nothing between its parts.
AMBIGUOUS = ("twilio",)
PUBLISHED = pytest.mark.parametrize("vector", ACCEPTED, ids=lambda vector: vector["id"])


def message(vector: Mapping[str, Any]) -> Delivery:
    sample = Sample("POST", "", Headers(tuple(vector["headers"].items())), vector["body"].encode())
    return delivery_of(sample, vector["url"], datetime.fromtimestamp(vector["at"], UTC))


def proof(vector: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the header fields that prove a message, and say not only what its body is."""
    return [field for field in vector["headers"].items() if field[0] != "Content-Type"]


def served(vector: Mapping[str, Any], directory: Path) -> Endpoint:
    """Return the sender's endpoint, with the vector's URL as its own where the URL is signed."""
    found = endpoint(vector["sender"], directory)
    if found.public_url is None:
        return found
    return found.model_copy(update={"public_url": vector["url"]})


def bound(vector: Mapping[str, Any], directory: Path, *others: str) -> Inspector:
    return inspector(served(vector, directory), *others, vector["secret"])


@PUBLISHED
@pytest.mark.parametrize("others", [0, 2])
def test_a_published_message(vector: dict[str, Any], others: int, tmp_path: Path) -> None:
    other = keys(vector["sender"]).verifying
    found = outcome(bound(vector, tmp_path, *[other] * others), message(vector))
    assert isinstance(found, Verification)
    assert (found.secret, found.ambiguous) == (others, vector["sender"] in AMBIGUOUS)
    if vector["sender"] == "adyen":
        assert len(found.signed) == 8
        assert found.signed[0] == "notificationItems/0/NotificationRequestItem/pspReference"
    elif vector["sender"] == "xendit":
        assert found.signed == ()
    else:
        assert found.signed == ("body",)


@pytest.mark.parametrize("vector", REFUSED, ids=lambda vector: vector["id"])
def test_a_message_that_is_refused(vector: dict[str, Any], tmp_path: Path) -> None:
    assert outcome(bound(vector, tmp_path), message(vector)) == vector["verdict"]


def test_every_message_here_is_of_a_sender() -> None:
    assert {vector["sender"] for vector in VECTORS} <= set(NAMES)
    assert all(vector["source"] and vector["kind"] for vector in VECTORS)
    # A bare token is nothing that anybody could publish a message with.
    assert {vector["sender"] for vector in VECTORS if vector["kind"] == "made up"} == {"xendit"}


@PUBLISHED
def test_another_secret_refuses(vector: dict[str, Any], tmp_path: Path) -> None:
    found = served(vector, tmp_path)
    other = keys(vector["sender"]).verifying
    assert outcome(inspector(found, other), message(vector)) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    "vector",
    [vector for vector in ACCEPTED if vector["sender"] not in PARTLY],
    ids=lambda vector: vector["id"],
)
def test_any_flipped_bit_of_a_signed_body_refuses(vector: dict[str, Any], tmp_path: Path) -> None:
    judge, delivery = bound(vector, tmp_path), message(vector)
    for body in flipped_bytes(delivery.body):
        found = outcome(judge, replace(delivery, body=body))
        assert found is Reason.SIGNATURE_MISMATCH, body


@PUBLISHED
def test_any_flipped_bit_of_a_header_refuses(vector: dict[str, Any], tmp_path: Path) -> None:
    judge, delivery = bound(vector, tmp_path), message(vector)
    for name, value in proof(vector):
        others = tuple(field for field in delivery.head.headers if field[0] != name)
        for changed in flipped_text(value):
            # Entries of another version say nothing, and may say anything.
            passed_over = "v0=" in value or " " in value
            found = outcome(judge, with_headers(delivery, *others, (name, changed)))
            alike = same_digits(value, changed)
            assert isinstance(found, Reason) or passed_over or alike, changed


@PUBLISHED
def test_a_signed_header_is_there_exactly_once(vector: dict[str, Any], tmp_path: Path) -> None:
    judge, delivery = bound(vector, tmp_path), message(vector)
    for name, value in proof(vector):
        others = tuple(field for field in delivery.head.headers if field[0] != name)
        for fields in (
            (),
            ((name, ""),),
            ((name, value), (name, value)),
            ((name, value), (name.lower(), "")),
        ):
            found = outcome(judge, with_headers(delivery, *others, *fields))
            assert found is Reason.SIGNATURE_MISSING, (name, fields)


@pytest.mark.parametrize(
    "vector",
    [each for each in ACCEPTED if "timestamp" in described(each["sender"])],
    ids=lambda vector: vector["id"],
)
def test_a_signed_time_lies_within_its_window(vector: dict[str, Any], tmp_path: Path) -> None:
    delivery, found = message(vector), endpoint(vector["sender"], tmp_path)
    window = endpoint_options(found, provider_of(found).info).window
    assert window is not None
    assert window.past is not None
    assert window.future is not None
    second = timedelta(seconds=1)
    for late, inside in (
        (window.past, True),
        (window.past + second, False),
        (-window.future, True),
        (-window.future - second, False),
    ):
        head = replace(delivery.head, received_at=delivery.head.received_at + late)
        verdict = outcome(bound(vector, tmp_path), replace(delivery, head=head))
        assert isinstance(verdict, Verification) == inside, late
        assert inside or verdict is Reason.TIMESTAMP_OUTSIDE_WINDOW


# ---- what one sender's words for a secret mean for another ----------------------------------


def test_stripes_secret_is_text_even_with_whsec_in_front(tmp_path: Path) -> None:
    judge = inspector(endpoint("stripe", tmp_path), WHSEC)
    decoded = b64decode(WHSEC.removeprefix("whsec_"))
    for key, verdict in ((WHSEC.encode(), Verification), (decoded, Reason)):
        signature = hmac.digest(key, b"1700000000.{}", "sha256").hex()
        vector = {
            "headers": {"Stripe-Signature": f"t=1700000000,v1={signature}"},
            "body": "{}",
            "url": "https://pay.example.com/stripe",
            "at": 1700000000,
        }
        assert isinstance(outcome(judge, message(vector)), verdict)


def test_stripe_signs_with_two_secrets_during_a_rotation(tmp_path: Path) -> None:
    judge = inspector(endpoint("stripe", tmp_path), "new")
    old, new = (hmac.digest(key, b"1700000000.{}", "sha256").hex() for key in (b"old", b"new"))
    for entries, kind in (
        (f"v1={old},v1={new}", Verification),
        (f"v1={new},v1={old},v0=x", Verification),
        (f"v1={old}", Reason),
        (f"v0={new}", Reason),
        (f"v1={new},t=1700000001", Reason),
    ):
        vector = {
            "headers": {"Stripe-Signature": f"t=1700000000,{entries}"},
            "body": "{}",
            "url": "https://pay.example.com/stripe",
            "at": 1700000000,
        }
        assert isinstance(outcome(judge, message(vector)), kind), entries


# ---- more than was published: computed here, from the words of the documentation --------------


def square(secret: str, url: str, body: str, signed_url: str) -> dict[str, Any]:
    """Square: "the HMAC-SHA256 of notification URL and body, in Base64"; computed independently."""
    signature = hmac.digest(secret.encode(), (signed_url + body).encode(), "sha256")
    headers = {"x-square-hmacsha256-signature": base64(signature)}
    return {"headers": headers, "body": body, "url": url, "at": 1700000000}


def test_square_signs_its_own_url_and_the_body(tmp_path: Path) -> None:
    found = endpoint("square", tmp_path)
    assert found.public_url == "https://pay.example.com/square"
    judge, body = inspector(found, "key"), '{"event_id":"e-1","type":"payment.updated"}'
    here = "http://10.0.0.5:8080/square"
    verification = outcome(judge, message(square("key", here, body, found.public_url)))
    assert isinstance(verification, Verification)
    assert (verification.key, verification.signed) == ("e-1", ("body",))
    for signed_url in (here, found.public_url + "/", found.public_url.upper(), ""):
        refused = outcome(judge, message(square("key", here, body, signed_url)))
        assert refused is Reason.SIGNATURE_MISMATCH
    other = outcome(judge, message(square("yek", here, body, found.public_url)))
    assert other is Reason.SIGNATURE_MISMATCH


def test_xendit_sends_its_token_and_signs_nothing(tmp_path: Path) -> None:
    judge = inspector(endpoint("xendit", tmp_path), "old", "token")
    vector = {
        "headers": {"x-callback-token": "token"},
        "body": '{"id":"x"}',
        "url": "https://pay.example.com/xendit",
        "at": 1700000000,
    }
    verification = outcome(judge, message(vector))
    assert isinstance(verification, Verification)
    assert (verification.secret, verification.signed) == (1, ())
    assert verification.key.startswith("sha256:")
    for token in ("Token", "token ", "tok", "tokentoken"):
        vector["headers"] = {"x-callback-token": token}
        assert outcome(judge, message(vector)) is Reason.SIGNATURE_MISMATCH
    vector["headers"] = {}
    assert outcome(judge, message(vector)) is Reason.SIGNATURE_MISSING


def test_a_token_is_no_header_that_passes_on(tmp_path: Path) -> None:
    assert provider_of(endpoint("xendit", tmp_path)).info.headers == ()


# ---- Adyen covers fields ---------------------------------------------------------------------


def test_adyen_covers_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    vector = next(each for each in VECTORS if each["sender"] == "adyen")
    judge = bound(vector, tmp_path)
    genuine = outcome(judge, message(vector))
    assert isinstance(genuine, Verification)
    for old, new, covered in (
        ('"value": 1130', '"value": 11300', True),
        ('"EUR"', '"USD"', True),
        ('"true"', '"false"', True),
        ('"AUTHORISATION"', '"REFUND"', True),
        ('"live": "false"', '"live": "true"', False),
    ):
        assert old in vector["body"]
        changed = {**vector, "body": vector["body"].replace(old, new)}
        found = outcome(judge, message(changed))
        if covered:
            assert found is Reason.SIGNATURE_MISMATCH
        else:
            assert isinstance(found, Verification)
            assert found.content != genuine.content


def items_of_adyen(vector: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the message with its genuine item first, and others behind it."""
    body = json.loads(vector["body"])
    forged = json.loads(json.dumps(body["notificationItems"][0]))
    forged["NotificationRequestItem"]["amount"]["value"] = 999999
    body["notificationItems"] = [*body["notificationItems"], forged, forged][:number]
    return {**vector, "body": json.dumps(body)}


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, Reason.SIGNATURE_MISSING), (2, Reason.FIELD_INVALID), (3, Reason.FIELD_INVALID)],
)
def test_items_of_adyen_that_nobody_verified_are_refused(
    number: int, expected: Reason, tmp_path: Path
) -> None:
    vector = next(each for each in VECTORS if each["sender"] == "adyen")
    judge = bound(vector, tmp_path)
    assert isinstance(outcome(judge, message(items_of_adyen(vector, 1))), Verification)
    assert outcome(judge, message(items_of_adyen(vector, number))) is expected


def test_a_colon_in_adyens_fields_is_told(tmp_path: Path) -> None:
    vector = next(each for each in VECTORS if each["sender"] == "adyen")
    body = vector["body"].replace("TestPayment-1407325143704", "Test:Payment")
    signed = "7914073381342284::TestMerchant:Test:Payment:1130:EUR:AUTHORISATION:true"
    signature = base64(hmac.digest(bytes.fromhex(vector["secret"]), signed.encode(), "sha256"))
    item = json.loads(body)
    fields = item["notificationItems"][0]["NotificationRequestItem"]
    fields["additionalData"]["hmacSignature"] = signature
    found = outcome(bound(vector, tmp_path), message({**vector, "body": json.dumps(item)}))
    assert isinstance(found, Verification)
    assert found.ambiguous
