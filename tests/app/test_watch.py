"""Which files a configuration rests on is known, whether it is taken or refused."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.app.watch import ConfigSource, named, watch
from relay.config.loader import load
from relay.config.settings import Settings
from relay.core.clock import SystemClock
from relay.core.errors import ConfigError
from relay.core.files import Stamp, stamps
from tests.harness.deliveries import ENVIRON, configuration

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


def test_what_tls_to_upstreams_is_made_of_is_named(tmp_path: Path) -> None:
    tls = "tls: {ca: ca.pem, certificate: tls/client.pem, key: /etc/client.key, server_name: x}"
    text = f"upstreams: {{one: {{url: u, {tls}}}, two: 1, three: {{tls: {{ca: 1}}}}}}"
    assert named(text, tmp_path) == {
        tmp_path / "ca.pem",
        tmp_path / "tls/client.pem",
        Path("/etc/client.key"),
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
    with pytest.raises(ConfigError, match=r":1:1: there is no such file"):
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


# ---- watching for changes -------------------------------------------------------------------
# Changes are noticed from the directory, whatever else lies there, and whenever they came.


class Noticed:
    """Counts what it is told, and reads the files again each time, as a relay does."""

    def __init__(self, *paths: Path) -> None:
        self.times = 0
        self.paths = paths
        self._told = asyncio.Event()
        self._seen = stamps(paths)

    def __call__(self) -> None:
        self.times += 1
        self.read()
        self._told.set()

    def read(self) -> None:
        self._seen = stamps(self.paths)

    def seen(self) -> Mapping[Path, Stamp]:
        return self._seen

    async def again(self) -> None:
        async with asyncio.timeout(20):
            await self._told.wait()
        self._told.clear()


@asynccontextmanager
async def watching(noticed: Noticed) -> AsyncIterator[None]:
    task = asyncio.ensure_future(watch(noticed.seen, noticed, SystemClock()))
    yield
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})


async def test_a_file_that_is_written_or_replaced_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text("one")
    noticed = Noticed(path)
    async with watching(noticed):
        path.write_text("two and more")
        await noticed.again()
        other = tmp_path / "next"
        other.write_text("three")
        other.replace(path)
        await noticed.again()


async def test_what_changed_after_it_was_read_and_before_the_watch_is_noticed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text("one")
    noticed = Noticed(path)
    path.write_text("two and more")
    async with watching(noticed):
        await noticed.again()
    assert noticed.times == 1


async def test_the_swap_of_a_link_on_the_way_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "relay.yaml").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    path = tmp_path / "relay.yaml"
    path.symlink_to("..data/relay.yaml")
    noticed = Noticed(path)
    async with watching(noticed):
        (tmp_path / "..next").symlink_to("two")
        (tmp_path / "..next").replace(tmp_path / "..data")
        await noticed.again()


async def test_what_else_changes_there_is_nothing_to_us(tmp_path: Path) -> None:
    path, database = tmp_path / "relay.yaml", tmp_path / "relay.db"
    path.write_text("one")
    noticed = Noticed(path)
    async with watching(noticed):
        for number in range(5):
            database.write_text(str(number))
        path.write_text("two and more")
        await noticed.again()
        assert noticed.times == 1


async def test_what_is_not_read_again_at_once_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text("one")
    noticed = Noticed(path)
    seen = noticed.seen()
    task = asyncio.ensure_future(watch(lambda: seen, noticed, SystemClock()))
    path.write_text("two and more")
    await noticed.again()
    # It is looked at again, and is still another than was read; only the third change is new.
    (tmp_path / "other").touch()
    path.unlink()
    await noticed.again()
    assert noticed.times == 2
    task.cancel()
    await asyncio.wait({task})


async def test_files_that_are_named_later_are_watched_from_when_they_were_read(
    tmp_path: Path,
) -> None:
    path, secret = tmp_path / "relay.yaml", tmp_path / "secrets" / "key"
    secret.parent.mkdir()
    path.write_text("one")
    secret.write_text("a")
    noticed = Noticed(path)
    async with watching(noticed):
        noticed.paths = (path, secret)
        noticed.read()
        # No notice has been given of it: nobody looks there yet.
        secret.write_text("another")
        await noticed.again()
        secret.write_text("and another")
        await noticed.again()
    assert noticed.times == 2


async def test_a_file_and_its_directory_may_come_later(tmp_path: Path) -> None:
    path, missing = tmp_path / "relay.yaml", tmp_path / "later" / "key"
    path.write_text("one")
    noticed = Noticed(path, missing)
    async with watching(noticed):
        missing.parent.mkdir()
        missing.write_text("a")
        await noticed.again()
    assert noticed.times == 1


async def test_a_directory_that_goes_or_cannot_be_watched_ends_nothing(tmp_path: Path) -> None:
    """Nothing that lies in the way of watching may end what watches: it is part of the relay."""
    path = tmp_path / "config" / "relay.yaml"
    path.parent.mkdir()
    path.write_text("one")
    noticed = Noticed(path, Path("a\0b/key"), Path("/" + "x" * 300 + "/key"))
    async with watching(noticed):
        path.unlink()
        path.parent.rmdir()
        await noticed.again()
        path.parent.mkdir()
        path.write_text("two")
        await noticed.again()
