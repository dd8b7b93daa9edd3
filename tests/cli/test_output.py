"""What is printed stays on its line."""

import pytest

from relay.cli.output import print_table


def test_a_pipe_gets_tab_separated_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [(1, None), ("x\ty", "z\n")])
    assert capsys.readouterr().out == "a\tb\n1\t\nx\\ty\tz\\n\n"
