"""The reference: an aiohttp server that reads what it is sent, and answers. `python bare.py PORT`.

Nothing on aiohttp does less, so a share of its rate says what everything else costs.
"""

import asyncio
import sys

from aiohttp import web


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    await request.read()
    return web.Response(text="OK")


async def _serve(port: int) -> None:
    runner = web.ServerRunner(web.Server(_answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
