"""What is printed stays on its line."""

import sys

import pytest

from relay.cli.output import print_line, print_table


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
