"""Style, scripts and icon, under names that change with their content."""

from hashlib import sha256
from importlib.resources import files
from typing import Final

from aiohttp import web

_TYPES: Final = {
    "style.css": "text/css",
    "relay.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


class StaticFiles:
    """Serves the files of `relay/admin/static`, held in memory; browsers keep them for good."""

    def __init__(self) -> None:
        folder = files("relay.admin") / "static"
        self._bodies = {name: (folder / name).read_bytes() for name in _TYPES}
        self._paths = {
            name: f"/static/{sha256(body).hexdigest()[:16]}/{name}"
            for name, body in self._bodies.items()
        }

    def path(self, name: str) -> str:
        """Return the path under which a file is served."""
        return self._paths[name]

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/static/{digest}/{name}", self._file)]

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if self._paths.get(name) != request.path:
            raise web.HTTPNotFound
        answer = web.Response(body=self._bodies[name], content_type=_TYPES[name], charset="utf-8")
        answer.headers["Cache-Control"] = "private, max-age=31536000, immutable"
        return answer
