"""What is printed stays on its line."""

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
