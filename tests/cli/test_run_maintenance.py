"""Migrations."""

from pathlib import Path

import orjson

from tests.cli.conftest import Invoke


def test_migrate_says_from_where_to_where(relay: Invoke, config: Path) -> None:
    first = orjson.loads(relay("migrate", "-c", config, "--format", "json").output)
    assert first["from"] == 0
    assert first["to"] >= 1
    again = orjson.loads(relay("migrate", "-c", config, "--format", "json").output)
    assert again == {"from": first["to"], "to": first["to"]}
