"""BI-SNAP: published messages, bodies and addresses, judged by what serves requests."""

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from netaddr import IPAddress, IPNetwork

from relay.core.request import Headers, Verification
from relay.core.secret import Secret
from relay.core.strict_json import minify
from relay.providers import EndpointOptions, Inspector, Sample, Window
from relay.providers.midtrans.snap import PROVIDER
from relay.signatures.private_key import sign_rsa
from tests.contracts.provider import delivery_of, outcome

PUBLISHED = json.loads((Path(__file__).parent / "midtrans_snap.json").read_text())
MESSAGES: list[dict[str, str]] = PUBLISHED["messages"]
MINIFIED: list[dict[str, str]] = PUBLISHED["minified"]
ADDRESSES: dict[str, list[str]] = PUBLISHED["addresses"]
ENTRIES = [(name, address) for name, listed in ADDRESSES.items() for address in listed]
KEYS = sorted({message["public_key"] for message in MESSAGES})
AT = datetime(2026, 1, 5, tzinfo=UTC)


@cache
def keys() -> tuple[Secret, Secret]:
    """Return a private key and its public one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return (
        Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        Secret(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    )


def bind(*public: str | Secret, public_url: str | None = None) -> Inspector:
    secrets = tuple(key if isinstance(key, Secret) else Secret(key) for key in public)
    window = Window(past=None, future=None)
    return PROVIDER.bind(EndpointOptions(secrets=secrets, window=window, public_url=public_url))


def judge(inspector: Inspector, message: dict[str, Any], body: str, base: str) -> str:
    fields = (
        ("X-TIMESTAMP", message["timestamp"]),
        ("X-SIGNATURE", message["signature"]),
        ("X-EXTERNAL-ID", "1"),
    )
    sample = Sample("POST", message["path"], Headers(fields), body.encode())
    found = outcome(inspector, delivery_of(sample, base, AT))
    return "accepted" if isinstance(found, Verification) else str(found)


# ---- messages -------------------------------------------------------------------------------


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m["id"])
@pytest.mark.parametrize("base", ["https://pay.example.com", "https://pay.example.com/midtrans"])
def test_a_published_message(message: dict[str, str], base: str) -> None:
    for inspector in (bind(message["public_key"]), bind(*KEYS)):
        assert judge(inspector, message, message["body"], base) == message["verdict"]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m["id"])
def test_no_published_message_fits_another_key_path_time_or_body(message: dict[str, str]) -> None:
    base, inspector = "https://pay.example.com", bind(message["public_key"])
    for changed in (
        {"path": message["path"] + "/"},
        {"path": message["path"].upper()},
        {"timestamp": message["timestamp"].replace("T1", "T0")},
    ):
        assert judge(inspector, message | changed, message["body"], base) == "signature_mismatch"
    body = message["body"].replace('"00"', '"06"')
    assert judge(inspector, message, body, base) == "signature_mismatch"
    assert judge(bind(keys()[1]), message, message["body"], base) == "signature_mismatch"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m["id"])
def test_white_space_between_tokens_does_not_matter_and_inside_strings_it_does(
    message: dict[str, str],
) -> None:
    base, inspector = "https://pay.example.com", bind(message["public_key"])
    spaced = message["body"].replace("{", "{ \t\r\n", 1) + "\n"
    assert judge(inspector, message, spaced, base) == message["verdict"]
    inside = message["body"].replace('"00"', '"00 "')
    assert judge(inspector, message, inside, base) == "signature_mismatch"


# ---- minified bodies ------------------------------------------------------------------------


@pytest.mark.parametrize("vector", MINIFIED, ids=lambda v: v["id"])
def test_a_minified_body(vector: dict[str, str]) -> None:
    minified = minify(vector["body"].encode())
    assert minified.decode() == vector["minified"]
    assert hashlib.sha256(minified).hexdigest() == vector["sha256"]


@pytest.mark.parametrize("vector", MINIFIED, ids=lambda v: v["id"])
def test_a_body_signed_after_that_minification(vector: dict[str, str]) -> None:
    path, timestamp = "/v1.0/debit/notify", "2026-01-05T07:00:00+07:00"
    signature = sign_rsa(keys()[0], f"POST:{path}:{vector['sha256']}:{timestamp}".encode())
    message = {"path": path, "timestamp": timestamp, "signature": signature}
    for body in (vector["body"], vector["minified"]):
        found = judge(bind(keys()[1]), message, body, "https://pay.example.com/midtrans")
        assert found == vector["verdict"]


def test_every_vector_says_where_it_comes_from() -> None:
    assert len(MESSAGES) == 3
    assert len(MINIFIED) == 6
    assert all(vector["source"] and vector["note"] for vector in (*MESSAGES, *MINIFIED))


# ---- addresses ------------------------------------------------------------------------------


def listed(environment: str) -> list[str]:
    listings = PROVIDER.info.environments[environment].listings
    return [network for listing in listings for network in listing.networks]


@pytest.mark.parametrize(("environment", "address"), ENTRIES)
def test_an_address_is_in_its_environment_and_in_no_other(environment: str, address: str) -> None:
    assert set(PROVIDER.info.environments) == set(ADDRESSES)
    for name in ADDRESSES:
        holds = any(IPAddress(address) in IPNetwork(network) for network in listed(name))
        assert holds is (name == environment)


def test_no_other_address_is_listed() -> None:
    assert {name: listed(name) for name in PROVIDER.info.environments} == ADDRESSES
    assert not any(found.hosts for found in PROVIDER.info.environments.values())


def test_the_counts_are_those_of_the_page() -> None:
    counts = {name: len(set(found)) for name, found in ADDRESSES.items()}
    assert counts == {"staging": 13, "sandbox": 18, "production": 13}
