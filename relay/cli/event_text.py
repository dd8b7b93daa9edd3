"""One event as text: its fields, what became of it at each upstream, each attempt, and the body."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from relay.admin.readable_body import indented
from relay.cli.output import print_rows, print_table
from relay.core.event import Status
from relay.core.visible_text import visible

_CONTENT: Final = ("environment", "method", "signed")
_NESTED: Final = frozenset({"content", "destinations", "references", "attempt_log"})

_DESTINATION: Final = (
    *("upstream", "status", "attempts", "due_at", "settled_at", "last_outcome", "reason"),
)
_ATTEMPT: Final = (
    *("number", "at", "upstream", "outcome", "status", "cause", "duration_ms", "answer"),
)

#: Letters of an answer that a table shows; all that is kept stands in JSON.
_ANSWER: Final = 200


def print_event(detail: Mapping[str, Any], *, gone: str) -> None:
    """Print everything about one event.

    detail: as the admin API returns it. gone: why there is no body any more.
    For a person these are tables, and the body has a line for each member where it is JSON; for a
    pipe all of it has one line a field.
    """
    content = detail["content"]
    rows = [
        (name, value) for name, value in detail.items() if name not in _NESTED and value is not None
    ]
    rows += [(f"reference {name}", text) for name, text in detail["references"]]
    body = gone
    if isinstance(content, Mapping):
        rows += [(name, content[name]) for name in _CONTENT]
        rows += [(f"header {name}", value) for name, value in content["headers"]]
        body = gone if content["body"] is None else content["body"]
    destinations = detail["destinations"]
    if not destinations and detail.get("status") == Status.DELIVERED:
        rows.append(("destinations", "none: its route leads nowhere"))
    attempts = [_shortened(each) for each in detail["attempt_log"]]
    if not sys.stdout.isatty():
        rows += [(f"destination {each['upstream']}", _told(each)) for each in destinations]
        rows += [(f"attempt {each['number']} {each['upstream']}", _told(each)) for each in attempts]
        print_table(("field", "value"), [*rows, ("body", body)])
        return
    print_table(("field", "value"), rows)
    _print_section("destinations", _DESTINATION, destinations)
    _print_section("attempts", _ATTEMPT, attempts)
    sys.stdout.write(f"\nbody\n{visible(indented(body) or body, lines=True)}\n")


def _shortened(attempt: Mapping[str, Any]) -> dict[str, Any]:
    """Return an attempt with the beginning of its answer on one line."""
    answer = attempt["answer"]
    if answer is None:
        return dict(attempt)
    line = " ".join(answer.split())
    return {**attempt, "answer": line if len(line) <= _ANSWER else f"{line[:_ANSWER]}…"}


def _told(row: Mapping[str, Any]) -> str:
    """Return the fields of a row that are there, on one line."""
    return ", ".join(
        f"{name} {value}"
        for name, value in row.items()
        if value is not None and name not in {"upstream", "number"}
    )


def _print_section(
    title: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Print a table under a heading, of the columns that any row has a value for."""
    given = list(rows)
    if not given:
        return
    sys.stdout.write(f"\n{title}\n")
    sys.stdout.flush()
    print_rows([name for name in columns if any(row.get(name) is not None for row in given)], given)
