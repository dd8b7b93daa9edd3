"""A relay at work and a chromium for each test, and axe-core for all."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.chromium import PATIENCE, Chromium, Visitor
from tests.browser.scene import TOKEN, Scene
from tests.harness import optional_tools


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    expect.set_options(timeout=PATIENCE)
    async with Chromium() as running:
        yield running


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with Scene(tmp_path) as running:
        yield running


@pytest.fixture
async def visitor(chromium: Chromium, scene: Scene) -> AsyncIterator[Visitor]:
    """A visitor who has logged in. Behind the test, nothing may have been complained of."""
    visitor = await chromium.visitor(scene.url)
    await visitor.log_in(TOKEN)
    yield visitor
    assert visitor.complaints == []


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from npm."""
    directory = optional_tools.npm_install(tmp_path_factory.mktemp("npm"), "axe-core@4")
    return (directory / "node_modules/axe-core/axe.min.js").read_text()
