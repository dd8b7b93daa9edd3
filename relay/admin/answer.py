"""Answers of the admin API."""

import orjson
from aiohttp import web


def json_answer(content: object, status: int = 200) -> web.Response:
    """Return an answer in JSON."""
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")
