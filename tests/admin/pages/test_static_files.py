"""Style and scripts are kept by browsers for good, and under a new name when they change."""

from hashlib import sha256
from importlib.resources import files

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


def test_htmx_is_as_it_was_published() -> None:
    """Version 2.0.11 of its package, with the licence beside it."""
    folder = files("relay.admin") / "static"
    published = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
    assert sha256((folder / "htmx.min.js").read_bytes()).hexdigest() == published
    assert "Zero-Clause BSD" in (folder / "htmx.LICENSE").read_text()


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
