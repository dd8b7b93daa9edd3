"""What is printed stays on its line."""

import json
import sys

import orjson
import pytest

from relay import __version__
from relay.cli.output import (
    print_details,
    print_line,
    print_table,
)
from tests.cli.conftest import Invoke


def test_a_pipe_gets_tab_separated_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [(1, None), ("x\ty", "z\n")])
    assert capsys.readouterr().out == "a\tb\n1\t\nx\\ty\tz\\n\n"


def test_a_document_on_a_line_of_its_own_has_no_other_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_line({"a": "x\ny"})
    assert capsys.readouterr().out == '{"a":"x\\ny"}\n'


@pytest.mark.parametrize(("width", "table"), [(40, True), (12, False)])
def test_a_terminal_that_is_too_narrow_for_a_table_gets_lines(
    width: int,
    table: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("endpoint", "id"), [("midtrans", "evt_0123456789"), ("[bold]", None)])
    shown = capsys.readouterr().out
    assert ("━" in shown) == table
    if not table:
        assert shown == "endpoint: midtrans\nid: evt_0123456789\n\nendpoint: [bold]\nid: \n\n"


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_word_stays_whole_on_a_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    columns = ("received_at", "endpoint", "status", "key", "attempts", "upstream", "id")
    key = "3edf68ab-0f81-4a52-bc45-e6af10b570ac:settlement:200:accept"
    row = ("2026-11-30T16:39:25.773Z", "midtrans", "delivered", key, 1, "billing", "evt_0123")
    print_table(columns, [row])
    shown = capsys.readouterr().out
    assert [
        each for each in (*columns, "midtrans", "delivered", "billing") if each not in shown
    ] == []


def test_details_leave_out_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    content = {"method": "POST", "target": "/x", "headers": [["A", "b"]], "body": "{}"}
    shown = {"id": "evt_1", "subject": None, "attempts": 0, "content": content}
    print_details(shown, ("method",), gone="removed")
    lines = "field\tvalue", "id\tevt_1", "attempts\t0", "method\tPOST", "header A\tb", "body\t{}"
    assert capsys.readouterr().out.splitlines() == list(lines)


def test_details_say_why_there_is_no_content(capsys: pytest.CaptureFixture[str]) -> None:
    print_details({"id": "evt_1", "content": None}, ("method",), gone="removed; see below")
    lines = ["field\tvalue", "id\tevt_1", "body\tremoved; see below"]
    assert capsys.readouterr().out.splitlines() == lines


# ---- relay version --------------------------------------------------------------------------


def test_the_version_is_that_of_the_package(relay: Invoke) -> None:
    assert orjson.loads(relay("version", "--format", "json").output)["relay"] == __version__


def test_an_option_prints_it_alone(relay: Invoke) -> None:
    result = relay("--version")
    assert (result.exit_code, result.output) == (0, f"relay {__version__}\n")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_an_id_never_wraps_on_a_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    event_id = "evt_01a22c5159487189afa3c915d1ecc349"
    row = ("2026-01-05T12:00:00.000Z", "order_id ORDER-1, " + "x" * 60, event_id)
    print_table(("received_at", "references", "id"), [row])
    lines = capsys.readouterr().out.splitlines()
    assert sum(event_id in line for line in lines) == 1
    # The others fold, and lose nothing.
    assert "".join(lines).count("x") == 60


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("column", ["client", "network", "address", "erased", "detail"])
def test_what_people_copy_is_whole_in_whatever_column(
    column: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    ids = [f"evt_{number:032x}" for number in range(3)]
    whole = ids if column in {"detail", "erased"} else ["2001:db8:1234:5678:9abc:def0:1234:5678"]
    cell = json.dumps({"events": ids}) if column == "detail" else whole[0]
    rows = [("2026-01-05T12:00:00.000Z", "x" * 60, cell)]
    print_table(("at", "path", column), rows)
    shown = capsys.readouterr().out
    for each in whole if column == "detail" else whole[:1]:
        assert each in shown


def test_what_there_are_several_of_is_told_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {
        "id": "evt_1",
        "references": [["order_id", "ORDER-1"], ["transaction_id", "b0"]],
        "destinations": [{"upstream": "billing", "status": "dead", "attempts": 2, "due_at": None}],
        "attempt_log": [{"number": 1, "outcome": "rejected", "status": 500, "cause": None}],
    }
    print_details({**shown, "content": None}, (), gone="removed")
    assert capsys.readouterr().out.splitlines()[2:6] == [
        "reference order_id\tORDER-1",
        "reference transaction_id\tb0",
        "destination 1\tupstream billing, status dead, attempts 2",
        "attempt 1\tnumber 1, outcome rejected, status 500",
    ]
