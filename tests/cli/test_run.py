"""`relay run` with a configuration that cannot run ends at once, in plain words."""

from pathlib import Path

from tests.cli.conftest import Invoke


def test_a_file_that_is_not_there_is_a_configuration_error(relay: Invoke, tmp_path: Path) -> None:
    result = relay("run", "-c", tmp_path / "none.yaml")
    assert result.exit_code != 0
    assert "none.yaml" in str(result.exception)


def test_an_unknown_role_is_a_mistake_in_the_call(relay: Invoke, config: Path) -> None:
    result = relay("run", "-c", config, "--role", "both")
    assert result.exit_code == 2
    assert "all" in result.stderr
