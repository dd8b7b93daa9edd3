import hashlib
import hmac
from base64 import b64encode

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.signatures.shared_secret import Algorithm, Encoding, Hmac

KEY = Secret("webhook-secret")
ALGORITHMS: tuple[Algorithm, ...] = ("sha1", "sha256", "sha512")
ENCODINGS: tuple[Encoding, ...] = ("base64", "hex")


def signed(algorithm: str, encoding: Encoding, message: bytes = b"m") -> str:
    mac = hmac.new(KEY.reveal(), message, algorithm).digest()
    return b64encode(mac).decode() if encoding == "base64" else mac.hex()


def refusal(verifier: Hmac, message: bytes, signature: str) -> Reason:
    with pytest.raises(Refusal) as caught:
        verifier.verify(message, signature)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_right_mac_fits(algorithm: Algorithm, encoding: Encoding) -> None:
    verifier = Hmac(algorithm, [KEY], encoding)
    assert verifier.verify(b"m", signed(algorithm, encoding)) == 0
    assert refusal(verifier, b"n", signed(algorithm, encoding)) is Reason.SIGNATURE_MISMATCH


def test_rfc_4231_test_case_two() -> None:
    published = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    verifier = Hmac("sha256", [Secret("Jefe")], "hex")
    assert verifier.verify(b"what do ya want for nothing?", published) == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_flipped_bit_is_refused(encoding: Encoding) -> None:
    """Base64 has four spellings of a last digit with unused bits: one of them is right."""
    good, verifier = signed("sha256", encoding).encode(), Hmac("sha256", [KEY], encoding)
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            found = refusal(verifier, b"m", bad.decode("latin-1"))
            assert found is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_other_spelling_is_refused(encoding: Encoding) -> None:
    good, verifier = signed("sha256", encoding), Hmac("sha256", [KEY], encoding)
    for bad in (
        "",
        good[:-1],
        good + "=",
        good + "\n",
        " " + good,
        good[:4] + "\n" + good[4:],
        good.swapcase(),
        good.replace("+", "-").replace("/", "_") + "!",
        good[:-1] + "\u0130",
        hashlib.sha256(b"m").hexdigest(),
    ):
        assert refusal(verifier, b"m", bad) is Reason.SIGNATURE_MISMATCH, bad


def test_the_other_encoding_is_refused() -> None:
    assert refusal(Hmac("sha256", [KEY], "hex"), b"m", signed("sha256", "base64"))
    assert refusal(Hmac("sha256", [KEY], "base64"), b"m", signed("sha256", "hex"))


def test_the_first_secret_that_fits_is_told() -> None:
    other, signature = Secret("other"), signed("sha256", "base64")
    assert Hmac("sha256", [other, KEY], "base64").verify(b"m", signature) == 1
    assert Hmac("sha256", [KEY, other], "base64").verify(b"m", signature) == 0
    assert Hmac("sha256", [other, KEY, KEY], "base64").verify(b"m", signature) == 1


def test_without_secrets_nothing_fits() -> None:
    verifier = Hmac("sha256", [], "base64")
    assert refusal(verifier, b"m", signed("sha256", "base64")) is Reason.SIGNATURE_MISMATCH


def test_neither_a_refusal_nor_a_repr_shows_the_secret() -> None:
    verifier = Hmac("sha256", [KEY], "hex")
    with pytest.raises(Refusal) as caught:
        verifier.verify(b"m", "0" * 64)
    shown = f"{caught.value} {verifier!r} {vars(verifier)!r}"
    assert "webhook-secret" not in shown
    assert signed("sha256", "hex") not in shown
