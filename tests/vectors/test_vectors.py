"""Every published message is judged as it should be, by the inspector that serves requests."""

import json
from datetime import UTC, datetime
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


def test_all_published_samples_are_here() -> None:
    assert len(SAMPLES) == 16


def test_an_amount_that_is_a_number_is_refused() -> None:
    body = SAMPLES[0]["body"].replace('"10000.00"', "10000")
    assert inspected(bind("midtrans", *KEYS), body) is Reason.FIELD_INVALID
