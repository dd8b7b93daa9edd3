"""The status for people and for pipes: nothing in it steers a terminal or breaks a line."""

import io
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from relay.cli.status_view import records, sparkline, tables
from tests.harness.deliveries import RECEIVED

HOSTILE = "a\x1b[31m\u202e[bold]b\n<script>"
NOW = RECEIVED + timedelta(minutes=5)


def status(**changes: Any) -> dict[str, Any]:
    node = {
        "name": "pay-1",
        "version": "1.0",
        "role": "all",
        "since": "2026-01-05T10:00:00.000Z",
        "configuration": "0123456789abcdef",
    }
    endpoint = {
        "name": "midtrans",
        "provider": "midtrans",
        "last_delivery_at": "2026-01-05T12:00:00.000Z",
        "verdicts_24h": {"accepted": 5, "duplicate": 2, "refused": 3, "unavailable": 1},
        "hours": [0] * 23 + [7],
        "allowlist": {"addresses": 12, "age_seconds": 90},
    }
    upstream = {
        "name": "billing",
        "url": "http://billing.internal/",
        "backlog": 4,
        "oldest_at": "2026-01-05T12:04:00.000Z",
        "breaker": "open",
        "paused": True,
        "rate": "5/s",
        "auth": "oauth2",
        "headers": ["X-Api-Key"],
        "tls": None,
        "final": [410],
        "endpoints": ["midtrans", "vipps"],
    }
    matter = {"kind": "dead", "number": 4, "detail": HOSTILE, "since": "2026-01-03T12:00:00Z"}
    made = {
        "version": "1.0",
        "nodes": [node],
        "endpoints": [endpoint],
        "upstreams": [upstream],
        "attention": [matter],
        "spool": {"bytes": 1_234_567, "free_bytes": 40_000_000_000},
    }
    return made | changes


def shown(found: dict[str, Any], note: str | None = None, width: int = 140) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, markup=False).print(tables(found, NOW, note, width=width))
    return stream.getvalue()


def test_a_pipe_gets_one_record_a_line() -> None:
    lines = [line.split("\t") for line in records(status())]
    assert [line[0] for line in lines] == ["node", "endpoint", "upstream", "attention", "spool"]
    assert lines[1][1:] == [
        *("midtrans", "provider=midtrans", "last_delivery_at=2026-01-05T12:00:00.000Z"),
        *("accepted=5", "duplicate=2", "refused=3", "unavailable=1"),
        *("addresses=12", "age_seconds=90"),
    ]
    assert lines[2][-5:] == [
        *("breaker=open", "paused=yes", "rate=5/s"),
        *("called_with=oauth2, X-Api-Key, at most 5/s, final 410", "for=midtrans, vipps"),
    ]
    assert lines[4][2:] == ["bytes=1234567", "free_bytes=40000000000"]
    assert "".join(cell for line in lines for cell in line).isprintable()


def test_a_person_sees_what_needs_somebody_first() -> None:
    text = shown(status())
    assert text.index("Needs somebody") < text.index("Endpoints") < text.index("Upstreams")
    assert "relay 1.0 on pay-1, role all, up for 2 h, configuration 0123456789abcdef" in text
    for cell in ("5 min ago", "90 s", "60 s", "paused", "1.2 MB; 40.0 GB left", "49 h"):
        assert cell.replace("49 h", "2 d") in text
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert "[bold]" in text


def test_where_nothing_needs_anybody_it_says_so() -> None:
    text = shown(status(attention=[], nodes=[]), "read from the spool")
    assert text.startswith("read from the spool\nrelay 1.0\nNothing needs you.")


def test_what_is_not_known_is_left_empty() -> None:
    endpoint = status()["endpoints"][0] | {
        "last_delivery_at": None,
        "allowlist": {"addresses": None, "age_seconds": None},
    }
    found = status(endpoints=[endpoint], spool={"bytes": None, "free_bytes": None})
    assert "never" in shown(found)
    assert "The spool cannot be read." in shown(found)
    assert any(line.endswith("addresses=\tage_seconds=") for line in records(found))


def test_a_narrow_terminal_shows_fewer_columns() -> None:
    wide, narrow = shown(status()), shown(status(), width=80)
    assert max(map(len, narrow.splitlines())) <= 80
    for cell in ("midtrans", "5 min ago", "billing", "60 s"):
        assert cell in narrow
    assert "provider" in wide
    assert "provider" not in narrow


@pytest.mark.parametrize(
    ("hours", "bars"),
    [([0, 0], "  "), ([0, 1, 2, 4, 8], " ▂▃▅█"), ([1, 1_000_000], "▂█"), ([], "")],
)
def test_bars_are_as_long_as_their_numbers(
    hours: list[int], bars: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert sparkline(hours) == bars
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert sparkline(hours) == ""
