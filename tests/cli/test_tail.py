"""What happens is a line each; a relay that cannot be listened to is told of."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.cli.tail import line
from tests.cli.conftest import Invoke
from tests.cli.test_reload import closed, written

__all__ = ["closed"]

DELIVERY = {
    "at": "2026-01-05T12:00:00.012Z",
    "id": "evt_1",
    "endpoint": "midtrans",
    "client": "192.0.2.1",
    "verdict": "refused",
    "reason": "signature_mismatch",
    "code": 401,
    "key": "order-1",
}
ATTEMPT = {
    "at": "2026-01-05T12:00:00.012Z",
    "id": "evt_1",
    "endpoint": "midtrans",
    "upstream": "billing",
    "number": 2,
    "status": "pending",
    "code": None,
    "cause": "refused",
}


@pytest.mark.parametrize(
    ("kind", "fields", "cells"),
    [
        ("delivery", DELIVERY, "signature_mismatch 401 midtrans 192.0.2.1 order-1 evt_1"),
        ("delivery", DELIVERY | {"reason": None}, "refused 401 midtrans 192.0.2.1 order-1 evt_1"),
        (
            "delivery",
            DELIVERY | {"reason": None, "verdict": "accepted", "upstreams": []},
            "accepted_(goes_nowhere) 401 midtrans 192.0.2.1 order-1 evt_1",
        ),
        ("attempt", ATTEMPT, "pending refused midtrans billing 2 evt_1"),
        ("attempt", ATTEMPT | {"status": None, "code": 503}, "lost 503 midtrans billing 2 evt_1"),
        (
            "act",
            {**DELIVERY, "act": "pause", "actor": "token", "address": "::1", "touched": {"a": 1}},
            'pause token ::1 {"a":1}',
        ),
        ("reload", {"at": DELIVERY["at"], "taken": False}, "refused"),
    ],
)
def test_a_happening_is_a_line(kind: str, fields: dict[str, Any], cells: str) -> None:
    assert line(kind, fields, person=False).replace(" (goes ", "_(goes_").split("\t") == [
        *("2026-01-05T12:00:00.012Z", kind),
        *cells.split(" "),
    ]


def test_a_person_reads_it_with_local_time() -> None:
    said = line("delivery", DELIVERY | {"key": None, "id": None}, person=True)
    assert said.endswith(":00:00  delivery  signature_mismatch  401  midtrans  192.0.2.1")


def test_a_kind_of_a_later_version_is_shown_as_it_came() -> None:
    fields = {"at": DELIVERY["at"], "x": "a\x1b[31m\u202e"}
    said = line("other", fields, person=True)
    assert said.isprintable()
    assert orjson.loads(said.split("  ")[-1])["x"] == "a\x1b[31m\u202e"


def test_where_no_relay_runs_it_says_so(relay: Invoke, config: Path, closed: int) -> None:
    found = relay("events", "tail", "-c", written(config, f"127.0.0.1:{closed}"))
    assert found.exit_code == 1
    assert found.stderr.startswith(f"relay events tail: no relay answers at 127.0.0.1:{closed}")


def test_without_a_token_it_says_so(relay: Invoke, config: Path, closed: int) -> None:
    found = relay("events", "tail", "-c", written(config, f"127.0.0.1:{closed}", ""))
    assert found.exit_code == 1
    assert "admin.token is not set" in found.stderr


def test_a_status_that_is_none_is_a_mistake(relay: Invoke, config: Path) -> None:
    found = relay("events", "tail", "-c", config, "--status", "gone")
    assert found.exit_code == 2
    assert 'no status "gone"; there are: ' in found.stderr.replace("\n", " ")


@pytest.mark.parametrize("option", ["endpoint", "upstream"])
def test_a_name_that_is_not_configured_is_told(
    relay: Invoke, config: Path, closed: int, option: str
) -> None:
    path = written(config, f"127.0.0.1:{closed}")
    found = relay("events", "tail", "-c", path, f"--{option}", "nobody")
    assert f'nothing is shown: no {option} named "nobody"; ' in found.stderr
    path.write_text(path.read_text() + "\ncolour: red\n")
    found = relay("events", "tail", "-c", path, f"--{option}", "nobody")
    assert found.stderr.startswith("relay events tail: no relay answers")
