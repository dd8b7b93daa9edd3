import hashlib

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.signatures.shared_secret import Digest, DigestAlgorithm

KEY = Secret("server-key")
ALGORITHMS: tuple[DigestAlgorithm, ...] = ("sha1", "sha256", "sha512")


def signed(algorithm: str, message: bytes, secret: Secret = KEY) -> str:
    return hashlib.new(algorithm, message + secret.reveal()).hexdigest()


def refusal(verifier: Digest, message: bytes, signature: str) -> Reason:
    with pytest.raises(Refusal) as caught:
        verifier.verify(message, signature)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_right_digest_fits(algorithm: DigestAlgorithm) -> None:
    assert Digest(algorithm, [KEY]).verify(b"m", signed(algorithm, b"m")) == 0


def test_it_is_a_plain_hash_with_the_secret_behind() -> None:
    key = Secret("askvnoibnosifnboseofinbofinfgbiufglnbfg")
    published = (
        "edc076b21793ebe3e17926350f5b8ae67d902fe657b3d0aa31b932d5c127e237"
        "5d308a2bc94f3265ac2d80a1f181a79b997ac178a236fcff35af263fc4d4c231"
    )
    assert Digest("sha512", [key]).verify(b"1111200100000.00", published) == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_any_other_spelling_is_refused(algorithm: DigestAlgorithm) -> None:
    good, verifier = signed(algorithm, b"m"), Digest(algorithm, [KEY])
    for bad in (
        "",
        good.upper(),
        good[:-1],
        good + "0",
        good + "\n",
        " " + good,
        "0x" + good,
        good[:-1] + "g",
        "\uff10" + good[1:],
        good[:-1] + "\ud800",
        "0" * len(good),
    ):
        assert refusal(verifier, b"m", bad) is Reason.SIGNATURE_MISMATCH, bad


def test_every_flipped_bit_is_refused() -> None:
    good, verifier = signed("sha512", b"m").encode(), Digest("sha512", [KEY])
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            assert refusal(verifier, b"m", bad.decode("latin-1")) is Reason.SIGNATURE_MISMATCH


def test_another_message_is_refused() -> None:
    found = refusal(Digest("sha512", [KEY]), b"n", signed("sha512", b"m"))
    assert found is Reason.SIGNATURE_MISMATCH


def test_the_first_secret_that_fits_is_told() -> None:
    other = Secret("other")
    signature = signed("sha512", b"m")
    assert Digest("sha512", [other, KEY]).verify(b"m", signature) == 1
    assert Digest("sha512", [KEY, other]).verify(b"m", signature) == 0
    assert Digest("sha512", [other, KEY, KEY]).verify(b"m", signature) == 1


def test_without_secrets_nothing_fits() -> None:
    assert refusal(Digest("sha512", []), b"m", signed("sha512", b"m")) is Reason.SIGNATURE_MISMATCH
    empty = hashlib.sha512(b"m").hexdigest()
    assert refusal(Digest("sha512", []), b"m", empty) is Reason.SIGNATURE_MISMATCH


def test_neither_a_refusal_nor_a_repr_shows_the_secret() -> None:
    verifier = Digest("sha512", [KEY])
    with pytest.raises(Refusal) as caught:
        verifier.verify(b"m", "0" * 128)
    shown = f"{caught.value} {verifier!r} {vars(verifier)!r}"
    assert "server-key" not in shown
    assert signed("sha512", b"m") not in shown
