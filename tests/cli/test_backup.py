from pathlib import Path

import orjson

from tests.cli.conftest import Invoke


def test_it_tells_where_the_copy_is(relay: Invoke, config: Path, tmp_path: Path) -> None:
    relay("migrate", "-c", config)
    copy = tmp_path / "copy.db"
    told = orjson.loads(relay("backup", copy, "-c", config, "--format", "json").output)
    assert told == {"file": str(copy), "bytes": copy.stat().st_size, "schema": told["schema"]}
    assert relay("backup", copy, "-c", config).output.split("\t")[:2] == ["file", "bytes"]


def test_a_copy_is_a_spool(relay: Invoke, config: Path, tmp_path: Path) -> None:
    relay("migrate", "-c", config)
    relay("backup", tmp_path / "copy.db", "-c", config)
    text = config.read_text()
    config.write_text(f"{text}spool: {{path: copy.db}}\n")
    listed = relay("events", "list", "-c", config, "--format", "json")
    assert (listed.exit_code, orjson.loads(listed.output)["events"]) == (0, [])


def test_without_a_spool_there_is_no_copy(relay: Invoke, config: Path, tmp_path: Path) -> None:
    result = relay("backup", tmp_path / "copy.db", "-c", config)
    assert result.exit_code == 1
    assert "there is no spool at" in str(result.exception)
    assert not (tmp_path / "copy.db").exists()


def test_without_a_name_it_is_a_mistake_in_the_call(relay: Invoke, config: Path) -> None:
    assert relay("backup", "-c", config).exit_code == 2
