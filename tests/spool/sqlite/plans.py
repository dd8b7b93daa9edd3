"""How SQLite goes about a statement."""

from collections.abc import Callable

import apsw


def plans(connection: apsw.Connection, work: Callable[[apsw.Connection], object]) -> list[str]:
    """Return every step that SQLite plans for what this work runs, each statement once."""
    statements: dict[str, apsw.Bindings | None] = {}

    def note(_: apsw.Cursor, statement: str, bindings: "apsw.Bindings | None") -> bool:
        statements.setdefault(statement, bindings)
        return True

    connection.exec_trace = note
    try:
        work(connection)
    finally:
        connection.exec_trace = None
    steps: list[str] = []
    for statement, bindings in statements.items():
        if statement.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)
            steps += [str(row[3]) for row in plan]
    return steps


def scans(steps: list[str]) -> list[str]:
    """Return the steps that read all of a table that grows with the number of events."""
    large = ("events", "queue", "settled", "attempts", "subjects", "ended", "refs ")
    return [step for step in steps if step.startswith(tuple(f"SCAN {table}" for table in large))]


def sorts(steps: list[str]) -> list[str]:
    """Return the steps that sort what they have read."""
    return [step for step in steps if "TEMP B-TREE" in step and "ORDER BY" in step]
