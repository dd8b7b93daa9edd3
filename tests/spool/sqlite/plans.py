"""How SQLite goes about a statement."""

from collections.abc import Callable

import apsw


def plans(connection: apsw.Connection, work: Callable[[apsw.Connection], object]) -> list[str]:
    """Return every step that SQLite plans for what this work runs on `events`."""
    statements: list[tuple[str, apsw.Bindings | None]] = []

    def note(_: apsw.Cursor, statement: str, bindings: "apsw.Bindings | None") -> bool:
        statements.append((statement, bindings))
        return True

    connection.exec_trace = note
    try:
        work(connection)
    finally:
        connection.exec_trace = None
    steps: list[str] = []
    for statement, bindings in statements:
        if "events" in statement:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)
            steps += [str(row[3]) for row in plan]
    return steps


def scans(steps: list[str]) -> list[str]:
    """Return the steps that read all of `events` or sort what they read."""
    return [step for step in steps if step.startswith(("SCAN events", "SCAN earlier"))]
