"""Which files a configuration rests on is known, whether it is taken or refused."""

import os
from pathlib import Path

import pytest

from relay.app.watch import ConfigSource, named
from relay.config import Settings, load
from relay.core.errors import ConfigError
from relay.core.files import stamps
from tests.system.conftest import ENVIRON, configuration

TEXT = configuration("http://127.0.0.1:1").replace("${env:MIDTRANS_SERVER_KEY}", "${file:key}")
TLS = '"127.0.0.1:0", tls: {certificate: tls/chain.pem, key: /etc/key.pem}}'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "relay.yaml"
    path.write_text(TEXT)
    (tmp_path / "key").write_text(ENVIRON["MIDTRANS_SERVER_KEY"])
    return path


def from_file(path: Path) -> Settings:
    return load(path, ENVIRON)


def test_secrets_and_certificates_are_named_wherever_they_are(tmp_path: Path) -> None:
    text = TEXT.replace('"127.0.0.1:0"}', TLS, 1).replace(
        "${env:RELAY_ADMIN_TOKEN}", "${file:../t}"
    )
    assert named("\ufeff" + text, tmp_path) == {
        tmp_path / "key",
        tmp_path / "../t",
        tmp_path / "tls/chain.pem",
        Path("/etc/key.pem"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "a: ${file:}",
        "listen: 1",
        "listen: [1, {tls: 1}, {tls: {key: 1}}]",
        "listen: {tls: {key: k}}",
        "\ud800",
        "\0",
    ],
)
def test_what_names_nothing(text: str, tmp_path: Path) -> None:
    assert named(text, tmp_path) == set()


def test_what_is_taken_rests_on_its_files(config: Path) -> None:
    reading = ConfigSource(config, from_file)
    assert reading() == from_file(config)
    assert reading.seen() == stamps([config, config.parent / "key"])


def test_files_are_looked_at_before_they_are_read(config: Path) -> None:
    key = config.parent / "key"
    before = stamps([config, key])

    def change(path: Path) -> Settings:
        found = load(path, ENVIRON)
        key.write_text("SB-Mid-server-another-one-entirely")
        path.write_text(TEXT + "\n")
        return found

    reading = ConfigSource(config, change)
    reading()
    assert reading.seen() == before
    assert all(stamps([path])[path] != stamp for path, stamp in before.items())


def test_what_is_refused_rests_on_its_files_too(config: Path) -> None:
    (config.parent / "key").unlink()
    reading = ConfigSource(config, from_file)
    with pytest.raises(ConfigError, match="cannot read"):
        reading()
    assert reading.seen() == stamps([config, config.parent / "key"])
    config.write_text("[")
    with pytest.raises(ConfigError, match="YAML"):
        reading()
    assert reading.seen() == stamps([config])
    config.unlink()
    with pytest.raises(ConfigError, match=r":1:1: cannot read the file: No such file"):
        reading()
    assert reading.seen() == {config: None}


def test_a_relative_path_is_watched_where_it_is(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    reading = ConfigSource(Path("relay.yaml"), from_file)
    assert reading().source.file == "relay.yaml"
    assert set(reading.seen()) == {config, config.parent / "key"}


@pytest.mark.parametrize("what", ["pipe", "directory"])
def test_what_is_no_file_is_refused_and_not_waited_for(what: str, tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    reading = ConfigSource(path, from_file)
    with pytest.raises(ConfigError) as caught:
        reading()
    assert str(caught.value) == f"{path}:1:1: cannot read the file: it is not a regular file"
    assert set(reading.seen()) == {path}


def test_mistakes_of_other_kinds_are_told_by_who_loads_it(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_bytes(b"a: \xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        ConfigSource(path, from_file)()
    with pytest.raises(ConfigError, match="null byte"):
        ConfigSource(Path("a\0b"), from_file)()
