"""`relay run` with a configuration that cannot run ends at once, in plain words."""

from pathlib import Path

import orjson

from tests.cli.conftest import Invoke


def test_a_file_that_is_not_there_is_a_configuration_error(relay: Invoke, tmp_path: Path) -> None:
    result = relay("run", "-c", tmp_path / "none.yaml")
    assert result.exit_code != 0
    assert "none.yaml" in str(result.exception)


def test_an_unknown_role_is_a_mistake_in_the_call(relay: Invoke, config: Path) -> None:
    result = relay("run", "-c", config, "--role", "both")
    assert result.exit_code == 2
    assert "all" in result.stderr


# ---- migrate and version --------------------------------------------------------------------
# Migrations.


def test_migrate_says_from_where_to_where(relay: Invoke, config: Path) -> None:
    first = orjson.loads(relay("migrate", "-c", config, "--format", "json").output)
    assert first["from"] == 0
    assert first["to"] >= 1
    again = orjson.loads(relay("migrate", "-c", config, "--format", "json").output)
    assert again == {"from": first["to"], "to": first["to"]}
