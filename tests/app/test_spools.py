"""The configured spool is opened, created and migrated; another kind is refused."""

from pathlib import Path

import pytest

from relay.app.spools import (
    check_keys,
    existing_spool,
    migrate_spool,
    open_spool,
    rows_by_key,
    sealing_keys,
)
from relay.config.loader import load_text
from relay.config.settings import PostgresSpool, Settings
from relay.core.errors import ConfigError, SpoolUnavailable
from tests.harness.deliveries import ENVIRON, configuration, verified


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_text(configuration("http://127.0.0.1:1"), "relay.yaml", ENVIRON, tmp_path)


def test_migrating_makes_the_spool(settings: Settings, tmp_path: Path) -> None:
    assert migrate_spool(settings).before == 0
    assert (tmp_path / "relay.db").exists()


async def test_only_what_runs_makes_a_spool(settings: Settings) -> None:
    with pytest.raises(SpoolUnavailable, match="there is no spool"):
        await existing_spool(settings)
    await (await open_spool(settings)).close()
    await (await existing_spool(settings)).close()


async def test_a_kind_that_is_not_available_is_refused(settings: Settings) -> None:
    # Reading a configuration refuses it before.
    elsewhere = settings.model_copy(update={"spool": PostgresSpool.model_construct()})
    with pytest.raises(SpoolUnavailable, match="PostgreSQL is not available"):
        await open_spool(elsewhere)


# ---- keys -----------------------------------------------------------------------------------


def sealed(directory: Path, *digits: str) -> Settings:
    keys = ", ".join(f"'{digit * 64}'" for digit in digits)
    text = configuration("http://127.0.0.1:1").replace("relay.db", f"relay.db, encrypt: [{keys}]")
    return load_text(text, "relay.yaml", ENVIRON, directory)


async def test_a_spool_is_opened_with_the_keys_that_are_named(tmp_path: Path) -> None:
    settings = sealed(tmp_path, "0")
    assert rows_missing(settings)
    spool = await open_spool(settings)
    await spool.put(verified())
    await spool.close()
    assert rows_by_key(settings) == {sealing_keys(settings)[0].fingerprint: 1}
    both = sealed(tmp_path, "1", "0")
    await (await existing_spool(both)).close()
    check_keys(both, rows_by_key(both))


def rows_missing(settings: Settings) -> bool:
    with pytest.raises(SpoolUnavailable):
        rows_by_key(settings)
    return True


@pytest.mark.parametrize("digits", ["", "1", "12"])
async def test_a_key_that_rows_need_and_that_is_not_named_is_a_mistake_of_the_file(
    tmp_path: Path, digits: str
) -> None:
    spool = await open_spool(sealed(tmp_path, "0"))
    await spool.put(verified())
    await spool.close()
    settings = sealed(tmp_path, *digits)
    said = []
    for opens in (open_spool, existing_spool):
        with pytest.raises(ConfigError) as refused:
            await opens(settings)
        said += [*refused.value.problems]
    with pytest.raises(ConfigError) as refused:
        check_keys(settings, rows_by_key(settings))
    assert {*said, *refused.value.problems} == {said[0]}
    assert said[0].where == "spool.encrypt"
    fingerprint = sealing_keys(sealed(tmp_path, "0"))[0].fingerprint
    named = ", ".join(key.fingerprint for key in sealing_keys(settings))
    none = f"which is none of those named ({named})" if named else "and no key is named"
    assert said[0].message == (
        f"1 row of the spool is sealed with the key {fingerprint}, {none}; name it again in"
        " spool.encrypt, behind the first, until nothing needs it"
    )
