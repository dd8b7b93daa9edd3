"""Where the spool lies when nobody says."""

import os
from pathlib import Path

import pytest

from relay.config import Settings, SqliteSpool, load_text
from relay.config.spool_place import SpoolPlace, chosen
from tests.config.files import ENVIRON, GOOD


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    return tmp_path / "lib"


def test_the_state_directory_of_the_unit_comes_first(etc: Path, system: Path) -> None:
    found = chosen({"STATE_DIRECTORY": "/var/lib/private/relay"}, etc, system)
    assert found == SpoolPlace(Path("/var/lib/private/relay"), "$STATE_DIRECTORY")
    # systemd lists several with colons.
    assert chosen({"STATE_DIRECTORY": "/one:/two"}, etc, system).directory == Path("/one")


@pytest.mark.parametrize("environ", [{}, {"STATE_DIRECTORY": ""}])
def test_then_that_of_an_installed_service(
    environ: dict[str, str], etc: Path, system: Path
) -> None:
    assert chosen(environ, etc, system) == SpoolPlace(system, f"{system} is there and writable")


def test_else_beside_the_file(etc: Path, system: Path) -> None:
    beside = SpoolPlace(etc, "beside the file")
    assert chosen({}, etc, system / "none") == beside
    (system / "file").touch()
    assert chosen({}, etc, system / "file") == beside


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_not_taken(etc: Path, system: Path) -> None:
    system.chmod(0o555)
    assert chosen({}, etc, system).directory == etc


def test_what_was_acknowledged_is_not_left_behind(etc: Path, system: Path) -> None:
    (etc / "relay.db").touch()
    stays = SpoolPlace(etc, f"a spool lies beside the file, and none in {system}")
    assert chosen({}, etc, system) == stays
    assert chosen({"STATE_DIRECTORY": str(system)}, etc, system) == stays
    (system / "relay.db").touch()
    assert chosen({}, etc, system).directory == system


def placed(text: str, etc: Path, state: Path) -> tuple[Path, Path]:
    environ = {**ENVIRON, "STATE_DIRECTORY": str(state)}
    settings: Settings = load_text(text, "relay.yaml", environ, etc)
    assert isinstance(settings.spool, SqliteSpool)
    return settings.spool.path, settings.state_dir


def test_in_a_file(etc: Path, system: Path) -> None:
    assert placed(GOOD, etc, system) == (system / "relay.db", system)
    # Other keys of the spool do not say where it lies.
    assert placed(GOOD + "spool: {retain: 9d}\n", etc, system) == (system / "relay.db", system)
    assert placed(GOOD + "state_dir: .\n", etc, system) == (system / "relay.db", etc)
    written = GOOD + "spool: {path: relay.db}\n"
    assert placed(written, etc, system) == (etc / "relay.db", etc)
