"""What is sealed opens with its key, in its place, unchanged; nothing else does."""

from base64 import b64encode
from itertools import product

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core.sealing import OVERHEAD, NotAuthentic, SealingKey, key_bytes
from relay.core.secret import Secret

BYTES = bytes(range(100, 132))
KEY = SealingKey(Secret(b64encode(BYTES)))
OTHER = SealingKey(Secret("7f" * 32))


@pytest.mark.parametrize("value", [b"", b"a", b"body" * 10_000])
def test_what_was_sealed_opens_in_its_place(value: bytes) -> None:
    sealed = KEY.seal(value, b"event 1")
    assert KEY.open(sealed, b"event 1") == value
    assert len(sealed) == len(value) + OVERHEAD
    if len(value) > OVERHEAD:
        assert value not in sealed


def test_it_is_aes_256_gcm_and_opens_without_relay() -> None:
    sealed = KEY.seal(b"body", b"event 1")
    assert AESGCM(BYTES).decrypt(sealed[:12], sealed[12:], b"event 1") == b"body"


def test_no_two_are_sealed_alike() -> None:
    assert len({KEY.seal(b"body", b"event 1")[:12] for _ in range(100)}) == 100


@pytest.mark.parametrize(("key", "place"), [(OTHER, b"event 1"), (KEY, b"event 2"), (KEY, b"")])
def test_it_opens_with_no_other_key_and_in_no_other_place(key: SealingKey, place: bytes) -> None:
    sealed = KEY.seal(b"body", b"event 1")
    with pytest.raises(NotAuthentic):
        key.open(sealed, place)


def test_no_bit_of_it_can_be_changed_and_nothing_be_cut_off() -> None:
    sealed = KEY.seal(b"body", b"event 1")
    changed = [bytearray(sealed) for _ in range(len(sealed) * 8)]
    for each, (at, bit) in zip(changed, product(range(len(sealed)), range(8)), strict=True):
        each[at] ^= 1 << bit
    cut = [sealed[:length] for length in range(len(sealed))]
    for value in [*map(bytes, changed), *cut]:
        with pytest.raises(NotAuthentic):
            KEY.open(value, b"event 1")


@pytest.mark.parametrize(
    "written", [b64encode(BYTES), b64encode(BYTES)[:-1], BYTES.hex(), BYTES.hex().upper()]
)
def test_a_key_is_written_as_base64_or_hex(written: str | bytes) -> None:
    assert key_bytes(Secret(written)) == BYTES
    assert SealingKey(Secret(written)).fingerprint == KEY.fingerprint


@pytest.mark.parametrize(
    "written",
    [
        BYTES,
        b64encode(BYTES[:-1]),
        b64encode(BYTES + b"x"),
        BYTES[:-1].hex(),
        BYTES.hex() + "00",
        BYTES.hex() + "\n",
        " " + BYTES.hex(),
        "canary-key",
        b"\xff" * 64,
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(written: str | bytes) -> None:
    with pytest.raises(ValueError, match="is not 32 bytes as Base64 or hex; openssl") as refused:
        SealingKey(Secret(written))
    assert "canary" not in str(refused.value)


def test_a_key_prints_its_fingerprint_which_is_not_a_part_of_it() -> None:
    assert repr(KEY) == f"SealingKey({KEY.fingerprint})"
    assert len(KEY.fingerprint) == 16
    assert KEY.fingerprint != OTHER.fingerprint
    assert KEY.fingerprint not in BYTES.hex()
