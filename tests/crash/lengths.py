"""Every proof has a short form, which always runs, and a long one, behind the marker `long`.

What is printed is shown when a proof fails, or with `-s`.
"""

import os
from random import Random, SystemRandom

import pytest

_TIMES = os.environ.get("RELAY_PROOF_TIMES")
_SEED = os.environ.get("RELAY_PROOF_SEED")


def lengths(short: int, long: int) -> pytest.MarkDecorator:
    """Run a test with `times` so short and so long; RELAY_PROOF_TIMES is another long one."""
    at_length = int(_TIMES or long)
    return pytest.mark.parametrize(
        "times",
        [
            # A machine that does other things besides needs several times as long as alone.
            pytest.param(short, id="short", marks=pytest.mark.timeout(240)),
            pytest.param(at_length, id="long", marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
        ],
    )


def parts(times: int, most: int) -> list[int]:
    """Cut a number into parts of at most so many."""
    return [most] * (times // most) + [times % most] * (times % most > 0)


def dice() -> Random:
    """Return dice that can be thrown again: RELAY_PROOF_SEED takes the seed that is printed."""
    seed = int(_SEED) if _SEED else SystemRandom().randrange(1_000_000)
    tell(RELAY_PROOF_SEED=seed)
    return Random(seed)


def tell(**figures: object) -> None:
    """Print what a proof has seen."""
    print(*(f"{name}={value}" for name, value in figures.items()))  # noqa: T201 - for people
