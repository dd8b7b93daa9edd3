"""A real Prometheus (Debian's) that scrapes relays on loopback each second."""

import asyncio
import json
import shutil
from asyncio.subprocess import DEVNULL
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from tests.harness.ports import free_port


class Prometheus:
    """A Prometheus that scrapes each second. fired: the alerts that have, by instance."""

    def __init__(self, port: int, session: ClientSession) -> None:
        self._url, self._session = f"http://127.0.0.1:{port}", session
        self.fired: defaultdict[str, set[str]] = defaultdict(set)

    async def ask(self, path: str, **query: str) -> Any:
        """Return the data of an answer of its API.

        Raises:
            KeyError: it has refused to answer.
        """
        async with self._session.get(self._url + path, params=query) as answer:
            return (await answer.json())["data"]

    async def look(self) -> None:
        """Note what fires now."""
        for alert in (await self.ask("/api/v1/alerts"))["alerts"]:
            if alert["state"] == "firing":
                self.fired[alert["labels"]["instance"]].add(alert["labels"]["alertname"])

    async def has_scraped(self, targets: int, times: int) -> None:
        """Return when so many targets were scraped so often."""
        query = f"count(count_over_time(up[1m]) >= {times})"
        while True:
            with suppress(ClientError, KeyError):
                found = (await self.ask("/api/v1/query", query=query))["result"]
                if found and int(found[0]["value"][1]) >= targets:
                    return
            await asyncio.sleep(0.2)


@asynccontextmanager
async def prometheus(
    directory: Path, targets: Sequence[str], rules: Mapping[str, Any] | None = None, *, left: str
) -> AsyncIterator[Prometheus]:
    """Run one that scrapes these targets, as `127.0.0.1:9464`; skip where there is none.

    left: what is said of the skip, as `alerts were NOT seen to fire`.
    """
    if shutil.which("prometheus") is None:
        pytest.skip(f"prometheus is not installed: {left}")
    (directory / "rules.yml").write_text(json.dumps(rules or {"groups": []}))
    scraping = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "relay", "static_configs": [{"targets": list(targets)}]}],
    }
    (directory / "prometheus.yml").write_text(json.dumps(scraping))
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        async with ClientSession() as session:
            yield Prometheus(port, session)
    finally:
        process.terminate()
        await process.wait()
