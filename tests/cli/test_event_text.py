"""An event is shown with what became of it at each upstream, each attempt, and its body."""

import sys
from typing import Any

import pytest

from relay.cli.event_text import print_event

DETAIL: dict[str, Any] = {
    "id": "evt_1",
    "status": "pending",
    "subject": None,
    "due_at": "2026-01-05T12:00:30.000Z",
    "references": [["order_id", "order-1"]],
    "destinations": [
        {
            "upstream": "billing",
            "status": "pending",
            "attempts": 1,
            "due_at": "2026-01-05T12:00:30.000Z",
            "settled_at": None,
            "last_outcome": "rejected 503",
            "reason": None,
        }
    ],
    "attempt_log": [
        {
            "number": 1,
            "at": "2026-01-05T12:00:00.000Z",
            "upstream": "billing",
            "outcome": "rejected",
            "status": 503,
            "cause": None,
            "duration_ms": 12.5,
            "answer": "try\n  later" + "x" * 300,
        }
    ],
    "content": {
        "environment": "sandbox",
        "method": "POST",
        "signed": ["body"],
        "headers": [["Content-Type", "application/json"]],
        "body": '{"order_id":"order-1","n":1.50}',
    },
}


def test_a_pipe_gets_a_line_for_each_destination_and_attempt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_event(DETAIL, gone="removed")
    answer = "try later" + "x" * 191 + "…"
    assert capsys.readouterr().out.splitlines() == [
        "field\tvalue",
        "id\tevt_1",
        "status\tpending",
        "due_at\t2026-01-05T12:00:30.000Z",
        "reference order_id\torder-1",
        "environment\tsandbox",
        "method\tPOST",
        "signed\t['body']",
        "header Content-Type\tapplication/json",
        (
            "destination billing\tstatus pending, attempts 1, due_at 2026-01-05T12:00:30.000Z,"
            " last_outcome rejected 503"
        ),
        (
            "attempt 1 billing\tat 2026-01-05T12:00:00.000Z, outcome rejected, status 503,"
            f" duration_ms 12.5, answer {answer}"
        ),
        'body\t{"order_id":"order-1","n":1.50}',
    ]


def test_a_terminal_gets_tables_and_a_body_that_can_be_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_event(DETAIL, gone="removed")
    shown = capsys.readouterr().out
    before, attempts = shown.split("\nattempts\n")
    assert "\ndestinations\n" in before
    heading = attempts.splitlines()[1]
    assert [each.strip() for each in heading.split("┃")[1:-1]] == [
        *("number", "at", "upstream", "outcome", "status", "duration_ms", "answer"),
    ]
    assert shown.endswith('\nbody\n{\n  "order_id": "order-1",\n  "n": 1.50\n}\n')


def test_an_event_that_goes_nowhere_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere: dict[str, Any] = {
        "status": "delivered",
        "upstream": None,
        "destinations": [],
        "attempt_log": [],
    }
    print_event(DETAIL | nowhere, gone="removed")
    shown = capsys.readouterr().out.splitlines()
    assert "destinations\tnone: its route leads nowhere" in shown
    assert not any(line.startswith("upstream") for line in shown)


def test_a_body_that_is_gone_says_so_and_no_letter_steers_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: dict[str, Any] = {"destinations": [], "attempt_log": [], "references": []}
    print_event({"id": "evt_1", "content": None, **nothing}, gone="removed")
    assert capsys.readouterr().out == "field\tvalue\nid\tevt_1\nbody\tremoved\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    content = {**DETAIL["content"], "body": "\x1b[2J\u202e"}
    print_event({"id": "evt_1", **nothing, "content": content}, gone="removed")
    shown = capsys.readouterr().out
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
