"""What is usually written in place of relay: a FastAPI handler that checks, and stores or forwards.

Settings come from the environment: BENCH_KEY, BENCH_NETWORKS, BENCH_UPSTREAM, BENCH_DATABASE.
"""

import hashlib
import ipaddress
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from fastapi import FastAPI, HTTPException, Request

_NETWORKS = [ipaddress.ip_network(each) for each in os.environ["BENCH_NETWORKS"].split()]
_KEY = os.environ["BENCH_KEY"]


def storing() -> FastAPI:
    """Return the one that commits every notification to SQLite. Nothing delivers them."""
    database = sqlite3.connect(os.environ["BENCH_DATABASE"])
    database.execute("pragma journal_mode=wal")
    database.execute("pragma synchronous=full")
    database.execute("create table event (id integer primary key, at text, body text)")

    async def hook(request: Request) -> dict[str, bool]:
        message = await _checked(request)
        database.execute(
            "insert into event (at, body) values (datetime(), ?)", (json.dumps(message),)
        )
        database.commit()
        return {"ok": True}

    app = FastAPI()
    app.add_api_route("/hook", hook, methods=["POST"])
    return app


def forwarding() -> FastAPI:
    """Return the one that passes every notification on and answers what came back."""
    sessions: list[aiohttp.ClientSession] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            sessions.append(session)
            yield

    async def hook(request: Request) -> dict[str, int]:
        message = await _checked(request)
        async with sessions[0].post(os.environ["BENCH_UPSTREAM"], json=message) as response:
            await response.read()
            return {"status": response.status}

    app = FastAPI(lifespan=lifespan)
    app.add_api_route("/hook", hook, methods=["POST"])
    return app


async def _checked(request: Request) -> Any:
    forwarded = request.headers["x-forwarded-for"].rpartition(",")[2].strip()
    client = ipaddress.ip_address(forwarded)
    if not any(client in network for network in _NETWORKS):
        raise HTTPException(403)
    message = await request.json()
    signed = message["order_id"] + message["status_code"] + message["gross_amount"] + _KEY
    if hashlib.sha512(signed.encode()).hexdigest() != message["signature_key"]:
        raise HTTPException(401)
    return message
