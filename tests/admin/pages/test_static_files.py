"""Style and scripts are kept by browsers for good, and under a new name when they change."""

import pytest

from relay.admin.pages.static_files import StaticFiles
from tests.admin.test_server import Bench, bench

__all__ = ["bench"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("style.css", "text/css"),
        ("relay.js", "text/javascript"),
        ("htmx.min.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ],
)
async def test_a_file_is_served_without_a_session(name: str, kind: str, bench: Bench) -> None:
    path = StaticFiles().path(name)
    async with bench.client.get(path) as answer:
        assert (answer.status, answer.content_type) == (200, kind)
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "path",
    [
        "/static/x/style.css",
        "/static/x/none",
        "/static/x/..%2f..%2fauth.py",
        "/static/htmx.LICENSE",
    ],
)
async def test_nothing_else_is(path: str, bench: Bench) -> None:
    assert (await bench.get(path))[0] == 404
