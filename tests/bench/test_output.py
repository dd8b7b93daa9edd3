"""What is shown is a table, and can become a section of a file."""

from pathlib import Path

import pytest

from tests.bench.output import kept, show, show_table

PAGE = "Before.\n<!-- a -->\nold\n<!-- end of a -->\nBetween.\n<!-- b -->\n<!-- end of b -->\n"


def test_a_section_is_replaced_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with kept("a", page):
        show("new")
    assert page.read_text() == PAGE.replace("old", "\nnew\n")
    assert capsys.readouterr().out == "new\n"


def test_a_section_that_is_not_there_is_said_before_the_work(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with pytest.raises(ValueError, match="no section <!-- c -->"), kept("c", page):
        pytest.fail("the work began")
    assert page.read_text() == PAGE


def test_columns_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["", "events/s"], [["relay", "5"], ["bare", "12"]])
    assert capsys.readouterr().out.strip().splitlines() == [
        "|       | events/s |",
        "| ----- | -------: |",
        "| relay |        5 |",
        "| bare  |       12 |",
    ]
