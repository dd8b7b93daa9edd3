"""A stall is what the longest wait of an action has beyond that of calm, round for round."""

from tests.bench.probing import Seen
from tests.bench.waits import BOUND, Action, Pair


def seen(worst: float) -> Seen:
    return Seen(asked=100, median=0.1, p99=0.2, worst=worst, worst_at=0.0)


def action(*waits: tuple[float, float]) -> Action:
    return Action("doing", pairs=[Pair(seen(calm), seen(busy), 0.0) for calm, busy in waits])


def test_one_bad_round_decides_nothing() -> None:
    assert action((2, 5), (2, 500), (90, 6)).stall() == 4


def test_what_is_shorter_than_calm_stalls_nothing() -> None:
    assert action((5, 3)).stall() == 0


def test_the_bound_itself_is_met() -> None:
    assert action((1, 1 + BOUND)).row()[-1] == "met"
    assert action((1, 1.1 + BOUND)).row()[-1] == "MISSED"
