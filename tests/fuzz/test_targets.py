"""The fuzzers' own promises, tried with their seeds and some damage to them, without atheris."""

from random import Random

import pytest

from tests.fuzz.targets import MODULES, target


def damaged(seed: bytes, words: list[bytes], dice: Random) -> bytes:
    """Cut, repeat, flip or put in a word, a few times."""
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(seed))
        end = min(len(seed), at + dice.randint(0, 8))
        piece = dice.choice([b"", dice.choice(words), seed[at:end] * 2, dice.randbytes(1)])
        seed = seed[:at] + piece + seed[end:]
    return seed


@pytest.mark.parametrize("name", MODULES)
def test_everything_holds_for_seeds_and_what_is_near_them(name: str) -> None:
    tried, dice = target(name), Random(name)
    words = list(tried.WORDS)
    for seed in tried.SEEDS:
        tried.check(seed)
        for _ in range(20):
            tried.check(damaged(seed, words, dice))


@pytest.mark.parametrize("name", MODULES)
def test_anything_may_come(name: str) -> None:
    tried = target(name)
    for data in (b"", b"\x00", b"\xff" * 9, b"\n\n", bytes(range(256)), b"[" * 300):
        tried.check(data)
