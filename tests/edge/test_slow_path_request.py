"""Header fields are what came, byte by byte and in order."""

from aiohttp import web
from aiohttp.test_utils import RawTestServer

from relay.core.request import Headers
from relay.edge.slow_path import headers_of
from tests.harness.wire import exchange

_SENT = b"GET / HTTP/1.1\r\nHost: h\r\nX-Odd: \xe9\xff\r\nx-odd: 2\r\nConnection: close\r\n\r\n"


async def test_fields_keep_their_order_their_case_and_their_bytes() -> None:
    found: list[Headers] = []

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        found.append(headers_of(request))
        return web.Response()

    async with RawTestServer(take) as server:
        assert server.port is not None
        assert (await exchange(("127.0.0.1", server.port), _SENT)).status == 200
    assert list(found[0])[1:3] == [("X-Odd", "\xe9\xff"), ("x-odd", "2")]
    assert found[0].values("X-ODD") == ("\xe9\xff", "2")
