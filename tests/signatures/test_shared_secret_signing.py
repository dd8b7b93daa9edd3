import base64
import json
from pathlib import Path

import pytest

from relay.core.secret import Secret
from relay.signatures.shared_secret import Signer

_VECTORS = Path(__file__).parent.parent / "vectors"
VECTOR = json.loads((_VECTORS / "standard_webhooks.json").read_text())
PUBLISHED = VECTOR["secret"]
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def sign(*secrets: str, body: bytes | None = None) -> str:
    signer = Signer([Secret(secret) for secret in secrets])
    return signer.sign(VECTOR["id"], VECTOR["timestamp"], body or VECTOR["body"].encode())


def test_the_published_vector_comes_out() -> None:
    assert sign(PUBLISHED) == VECTOR["signature"]


def test_the_prefix_of_a_secret_is_optional() -> None:
    assert sign(PUBLISHED.removeprefix("whsec_")) == VECTOR["signature"]


def test_a_secret_may_lack_its_padding() -> None:
    assert OTHER.endswith("=")
    assert sign(OTHER.rstrip("=")) == sign(OTHER)


def test_every_secret_signs_during_a_rotation() -> None:
    assert sign(OTHER, PUBLISHED) == f"{sign(OTHER)} {VECTOR['signature']}"


def test_the_body_is_signed_byte_for_byte() -> None:
    assert sign(PUBLISHED, body=b"\xff\x00\r\n") != sign(PUBLISHED, body=b"\xff\x00\n")


@pytest.mark.parametrize("size", [24, 64])
def test_keys_of_24_to_64_bytes_are_taken(size: int) -> None:
    assert sign(base64.b64encode(bytes(size)).decode()).startswith("v1,")


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        "whsec_MfKQ9r8GKYqrTwjU PD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwA",
        "whsec_-_KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_\N{SNOWMAN}",
    ],
)
def test_a_secret_that_cannot_be_a_key_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValueError, match="signing secret 1") as caught:
        sign(PUBLISHED, secret)
    assert caught.value.__cause__ is None
    assert len(secret) < 7 or secret[6:] not in str(caught.value)


def test_no_secret_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Signer([])
