"""A stack counts for the innermost part in it, as much as its thread has used."""

from pathlib import Path

from tests.bench.profiling import shares_of_stacks

STACKS = """\
thread (7): MainThread;run (/relay/edge/listener.py:1);inspect (/relay/providers/answers.py:2) 30
thread (7): MainThread;run (/relay/edge/listener.py:1);dumps (/lib/json/__init__.py:2) 10
thread (7): MainThread;main (/somewhere.py:1) 10
thread (8): writer;_commit (/relay/spool/sqlite/writer.py:5) 1
thread (8): writer;run (/relay/spool/sqlite/writer.py:5);Condition.wait (/lib/threading.py:3) 99
"""


def test_time_is_shared_out_by_thread_and_part(tmp_path: Path) -> None:
    path = tmp_path / "stacks"
    path.write_text(STACKS)
    shares = shares_of_stacks(path, {7: 1.0, 8: 0.5})
    assert {spot.part: each for spot, each in shares.items()} == {
        "verify": 600_000,
        "HTTP in": 200_000,
        "other": 200_000,
        "spool": 500_000,
    }
