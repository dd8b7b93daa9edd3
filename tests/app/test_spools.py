"""The configured spool is opened, created and migrated; another kind is refused."""

from pathlib import Path

import pytest

from relay.app.spools import existing_spool, migrate_spool, open_spool
from relay.config.loader import load_text
from relay.config.settings import PostgresSpool, Settings
from relay.core.errors import SpoolUnavailable
from tests.harness.deliveries import ENVIRON, configuration


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
