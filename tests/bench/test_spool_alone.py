from pathlib import Path

from tests.bench.spool_alone import Slice, measure, row


async def test_a_slice_counts_what_its_events_have_cost(tmp_path: Path) -> None:
    found = await measure(tmp_path / "relay.db", 64, 200)
    assert found.events == 200
    assert 0 < found.transactions < 50
    assert found.written > 200 * 1300
    assert found.cpu > 0


def test_a_row_is_of_one_event() -> None:
    slices = [Slice(100, 0.01, 2, 900_000, 400), Slice(100, 0.02, 4, 900_000, 400)]
    assert row(64, slices, [0.0002, 0.0001]) == [
        *("64", "150", "1.25 [0.50 to 2.00]", "0.030", "9.0", "4.0")
    ]
