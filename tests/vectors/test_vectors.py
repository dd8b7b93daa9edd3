"""Every published message is judged as it should be, by the inspector that serves requests."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha512
from pathlib import Path
from typing import Any

import pytest

from relay.core.errors import Reason
from relay.core.request import Headers, Verification
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Inspector, Sample, Window
from relay.providers.builtin import provider_named
from tests.contracts.provider import delivery_of, outcome, parsed

HERE = Path(__file__).parent
MIDTRANS: list[dict[str, Any]] = json.loads((HERE / "midtrans.json").read_text())
VIPPS: list[dict[str, Any]] = json.loads((HERE / "vipps.json").read_text())
SAMPLES: list[dict[str, str]] = json.loads((HERE / "midtrans_samples.json").read_text())["samples"]
KEYS = sorted({vector["secret"] for vector in MIDTRANS})
UNLIMITED = Window(past=None, future=None)


def bind(provider: str, *secrets: str, window: Window | None = None) -> Inspector:
    options = EndpointOptions(secrets=tuple(Secret(secret) for secret in secrets), window=window)
    inspector: Inspector = provider_named(provider).bind(options)
    return inspector


def inspected(inspector: Inspector, body: str) -> Verification | Reason:
    return outcome(inspector, delivery_of(Sample("POST", "", Headers(), body.encode())))


def judged(found: Verification | Reason) -> str:
    return "accepted" if isinstance(found, Verification) else str(found)


@pytest.mark.parametrize("vector", MIDTRANS, ids=lambda v: v["id"])
def test_midtrans(vector: dict[str, Any]) -> None:
    found = inspected(bind("midtrans", vector["secret"]), vector["body"])
    assert judged(found) == vector["verdict"]


@pytest.mark.parametrize("vector", MIDTRANS, ids=lambda v: v["id"])
def test_midtrans_among_other_keys(vector: dict[str, Any]) -> None:
    found = inspected(bind("midtrans", *KEYS), vector["body"])
    if vector["verdict"] == "accepted":
        assert isinstance(found, Verification)
        assert KEYS[found.secret or 0] == vector["secret"]
    else:
        assert found == vector["verdict"]


@pytest.mark.parametrize("vector", VIPPS, ids=lambda v: v["id"])
@pytest.mark.parametrize("secrets", [0, 1])
def test_vipps(vector: dict[str, Any], secrets: int) -> None:
    sample = Sample(
        vector["method"], "", Headers(tuple(vector["headers"].items())), vector["body"].encode()
    )
    inspector = bind("vipps", *["another"] * secrets, vector["secret"], window=UNLIMITED)
    found = outcome(inspector, delivery_of(sample, vector["url"], datetime(2026, 1, 5, tzinfo=UTC)))
    assert judged(found) == vector["verdict"]


def test_every_vector_says_where_it_comes_from() -> None:
    assert len(MIDTRANS) == 10
    assert len(VIPPS) == 3
    assert all(vector["source"] and vector["note"] for vector in (*MIDTRANS, *VIPPS))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s["channel"])
def test_a_published_sample_has_the_usual_shape_but_no_right_signature(
    sample: dict[str, str],
) -> None:
    body = sample["body"]
    if sample["channel"] == "KlikBCA":
        assert inspected(bind("midtrans", *KEYS), body) is Reason.BODY_MALFORMED
        body = body.replace('",\n}', '"\n}')
    assert isinstance(parsed(body.encode()), dict)
    # The shapes are checked before the signature, so this says that the shape is right.
    assert inspected(bind("midtrans", *KEYS), body) is Reason.SIGNATURE_MISMATCH


def as_signed(body: str, **changes: str) -> str:
    """Return a published sample with these fields and a right signature."""
    message = json.loads(body.replace('",\n}', '"\n}')) | changes
    covered = message["order_id"] + message["status_code"] + message["gross_amount"]
    message["signature_key"] = sha512((covered + KEYS[0]).encode()).hexdigest()
    return json.dumps(message)


def raised(bodies: Sequence[str]) -> list[str]:
    """Return what is held or known under another transaction among these, in order of receipt."""
    told: list[str] = []
    subjects: dict[bytes, str | None] = {}
    for body in bodies:
        found = inspected(bind("midtrans", *KEYS), body)
        assert isinstance(found, Verification), found
        if found.hold is not None:
            told.append(body)
        if found.replay_digest is not None:
            first = subjects.setdefault(found.replay_digest, found.subject)
            if first != found.subject:
                told.append(body)
    return told


def test_nothing_is_raised_by_what_midtrans_has_signed() -> None:
    bodies = [vector["body"] for vector in MIDTRANS if vector["verdict"] == "accepted"]
    assert len(bodies) > 5
    assert raised(bodies) == []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s["channel"])
def test_nothing_is_raised_by_a_published_sample_and_what_comes_before_and_after(
    sample: dict[str, str],
) -> None:
    """A customer begins twice, by two methods, one expires, the other is paid and paid back."""
    body, other = sample["body"], {"transaction_id": "another"}
    steps: list[dict[str, str]] = [
        {"transaction_status": "pending", "status_code": "201", **other},
        {"transaction_status": "pending", "status_code": "201"},
        {"transaction_status": "expire", "status_code": "407", **other},
        {"transaction_status": "cancel", "status_code": "200", **other},
        {"transaction_status": "capture", "status_code": "201", "fraud_status": "challenge"},
        {"transaction_status": "capture"},
        {},
        {"transaction_status": "settlement"},
        {"transaction_status": "partial_refund", "refund_amount": "1.00"},
        {"transaction_status": "refund"},
    ]
    assert raised([as_signed(body, **step) for step in steps]) == []


def test_nothing_is_raised_by_all_published_samples_but_where_one_order_is_paid_twice() -> None:
    twice = [each for each in SAMPLES if '"orderid-01"' in each["body"]]
    assert [each["channel"] for each in twice] == ["BCA Klikpay", "Akulaku"]
    bodies = [as_signed(each["body"]) for each in SAMPLES if each is not twice[1]]
    assert raised(bodies) == []
    assert raised([*bodies, as_signed(twice[1]["body"])]) == [as_signed(twice[1]["body"])]


def test_all_published_samples_are_here() -> None:
    assert len(SAMPLES) == 16


def test_an_amount_that_is_a_number_is_refused() -> None:
    body = SAMPLES[0]["body"].replace('"10000.00"', "10000")
    assert inspected(bind("midtrans", *KEYS), body) is Reason.FIELD_INVALID
