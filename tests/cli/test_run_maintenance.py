"""Migrations and versions."""

from pathlib import Path

import orjson

from relay import __version__
from tests.cli.conftest import Invoke


def test_migrate_says_from_where_to_where(relay: Invoke, config: Path) -> None:
    first = orjson.loads(relay("migrate", "-c", config, "--format", "json").output)
    assert first["from"] == 0
    assert first["to"] >= 1
    again = orjson.loads(relay("migrate", "-c", config, "--format", "json").output)
    assert again == {"from": first["to"], "to": first["to"]}


def test_the_version_is_that_of_the_package(relay: Invoke) -> None:
    assert orjson.loads(relay("version", "--format", "json").output)["relay"] == __version__
