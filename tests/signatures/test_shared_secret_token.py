import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.signatures.shared_secret import Token

TEXT = "Bearer canary-0123456789"
TOKEN = Secret(TEXT)


def refusal(verifier: Token, signature: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        verifier.verify(b"m", signature)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    return caught.value


def test_the_whole_token_fits_whatever_the_message_is() -> None:
    for message in (b"", b"m", b"\xff" * 100):
        assert Token([TOKEN]).verify(message, TEXT) == 0


@pytest.mark.parametrize(
    "other",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "canary-0123456789",
        " " + TEXT,
        TEXT + " ",
        TEXT + "\n",
        TEXT[:-1],
        TEXT + "0",
        TEXT + "\0",
        TEXT.lower(),
        TEXT.upper(),
        TEXT.replace(" ", "  "),
        TEXT.replace("-", "\u2010"),
        f'"{TEXT}"',
        TEXT + ", " + TEXT,
        "***",
    ],
)
def test_nothing_is_trimmed_folded_or_taken_off(other: str) -> None:
    refusal(Token([TOKEN]), other)


def test_any_flipped_bit_is_refused() -> None:
    for position in range(len(TEXT)):
        for bit in range(8):
            bad = bytearray(TEXT.encode())
            bad[position] ^= 1 << bit
            refusal(Token([TOKEN]), bad.decode("latin-1"))


@given(st.text())
def test_no_other_text_is_the_token(other: str) -> None:
    if other != TEXT:
        refusal(Token([TOKEN, Secret("another")]), other if other != "another" else "")


@given(st.binary(min_size=1))
def test_a_token_of_any_bytes_fits_as_it_arrives(token: bytes) -> None:
    assert Token([Secret(token)]).verify(b"", token.decode("latin-1")) == 0


def test_the_first_secret_that_fits_is_told() -> None:
    other = Secret("other")
    assert Token([other, TOKEN]).verify(b"m", TEXT) == 1
    assert Token([TOKEN, other]).verify(b"m", TEXT) == 0
    assert Token([other, TOKEN, TOKEN]).verify(b"m", TEXT) == 1


def test_without_secrets_nothing_fits() -> None:
    refusal(Token([]), TEXT)
    refusal(Token([]), "")


def test_an_empty_secret_lets_nobody_in() -> None:
    refusal(Token([Secret("")]), "")


def test_neither_a_refusal_nor_a_repr_shows_a_token() -> None:
    verifier = Token([TOKEN])
    shown = f"{refusal(verifier, 'canary-given')} {verifier!r} {vars(verifier)!r}"
    assert "canary" not in shown
    assert "\\x" not in shown
