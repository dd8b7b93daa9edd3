"""What is going on now is told to who may read."""

import orjson
import pytest

from tests.admin.test_server import BEARER, READER, Bench, bench

__all__ = ["bench"]


@pytest.mark.parametrize("token", [BEARER, READER])
async def test_the_status_is_for_every_token(bench: Bench, token: dict[str, str]) -> None:
    code, text = await bench.get("/api/v1/status", headers=token)
    assert (code, orjson.loads(text)["version"]) == (200, "1")


async def test_the_status_is_for_nobody_else(bench: Bench) -> None:
    assert (await bench.get("/api/v1/status"))[0] == 401


async def test_the_stream_is_for_every_token_and_nobody_else(bench: Bench) -> None:
    assert (await bench.get("/api/v1/stream"))[0] == 401
    async with bench.client.get("/api/v1/stream", headers=READER) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert await response.content.readline() == b"retry: 1000\n"
    status, text = await bench.get("/api/v1/stream?colour=red", headers=READER)
    assert status == 400
    assert "there are: endpoint, status, upstream" in text


async def test_acts_are_for_every_token_and_nobody_else(bench: Bench) -> None:
    assert (await bench.get("/api/v1/audit"))[0] == 401
    await bench.post("/-/reload", headers=BEARER)
    status, text = await bench.get("/api/v1/audit?actor=token", headers=READER)
    assert status == 200
    [act] = orjson.loads(text)["audit"]
    assert (act["act"], act["actor"], act["origin"]) == ("reload", "token", "127.0.0.1")
    assert await bench.get("/api/v1/audit?actor=cli", headers=READER) == (200, '{"audit":[]}')
    assert (await bench.get("/api/v1/audit?actor=me", headers=READER))[0] == 400


async def test_head_is_for_every_token_and_a_stream_has_none(bench: Bench) -> None:
    async with bench.client.head("/api/v1/status", headers=READER) as response:
        assert response.status == 200
    async with bench.client.head("/api/v1/status") as response:
        assert response.status == 401
    async with bench.client.head("/api/v1/stream", headers=READER) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")
