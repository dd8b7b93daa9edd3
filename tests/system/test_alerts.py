"""A real Prometheus with the rules of deploy/ watches relays to which the things happen.

What takes a day or more is in `deploy/prometheus-rules.test.yml` alone, with all the others.
"""

import asyncio
import json
import re
import shutil
from asyncio.subprocess import DEVNULL
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from aiohttp import ClientError, ClientSession

from tests.harness.clock import wait_until
from tests.harness.ports import free_port
from tests.system.alert_scenes import SCENES, Stage

RULES: Final = Path(__file__).parent.parent.parent / "deploy" / "prometheus-rules.yml"

#: Alerts that are about days.
OF_DAYS: Final = {
    "RelayUndeliveredExpiring",
    "RelayProviderSilent",
    "RelayVippsRegistrationEnding",
}

# A minute becomes a second, and no alert waits for less than a restart takes.
_FASTER: Final = 60
_LEAST_FOR: Final = 6
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: What is compared with an age; `RelayBacklogAging` and `RelayAllowlistStale`.
_AGES: Final = {"seconds > 900": "seconds > 15", "seconds > 3600": "seconds > 12"}

_PATIENCE: Final = 100.0


def _faster(text: str) -> str:
    """Return an expression whose ranges are shorter."""
    text = re.sub(
        r"(\[|offset )(\d+)([smhd])",
        lambda found: f"{found[1]}{int(found[2]) * _SECONDS[found[3]] // _FASTER}s",
        text,
    )
    for age, sooner in _AGES.items():
        text = text.replace(age, sooner)
    return text


def faster_rules() -> dict[str, Any]:
    """Return the rules that are not about days, as they are for a minute that is a second."""
    document: dict[str, Any] = yaml.safe_load(RULES.read_text())
    for group in document["groups"]:
        group["rules"] = [each for each in group["rules"] if each["alert"] not in OF_DAYS]
        for rule in group["rules"]:
            rule["expr"] = _faster(rule["expr"])
            if "for" in rule:
                seconds = int(rule["for"][:-1]) * _SECONDS[rule["for"][-1]] // _FASTER
                rule["for"] = f"{min(max(seconds, _LEAST_FOR), 15)}s"
    return document


class Prometheus:
    """A Prometheus that scrapes each second. fired: the alerts that have, by instance."""

    def __init__(self, port: int, session: ClientSession) -> None:
        self._url, self._session = f"http://127.0.0.1:{port}", session
        self.fired: defaultdict[str, set[str]] = defaultdict(set)

    async def _ask(self, path: str, **query: str) -> Any:
        async with self._session.get(self._url + path, params=query) as answer:
            return (await answer.json())["data"]

    async def look(self) -> None:
        """Note what fires now."""
        for alert in (await self._ask("/api/v1/alerts"))["alerts"]:
            if alert["state"] == "firing":
                self.fired[alert["labels"]["instance"]].add(alert["labels"]["alertname"])

    async def has_scraped(self, targets: int, times: int) -> None:
        """Return when so many targets were scraped so often."""
        query = f"count(count_over_time(up[1m]) >= {times})"
        while True:
            with suppress(ClientError, KeyError):
                found = (await self._ask("/api/v1/query", query=query))["result"]
                if found and int(found[0]["value"][1]) >= targets:
                    return
            await asyncio.sleep(0.2)


@asynccontextmanager
async def prometheus(directory: Path, targets: list[str]) -> AsyncIterator[Prometheus]:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed: alerts were NOT seen to fire on running relays")
    (directory / "rules.yml").write_text(json.dumps(faster_rules()))
    scraping = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "relay", "static_configs": [{"targets": targets}]}],
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


@pytest.mark.proof
@pytest.mark.debian
@pytest.mark.timeout(300)
async def test_the_right_alert_fires_and_no_other(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        things, targets = [], []
        for scene, _ in SCENES:
            directory = tmp_path / scene.__name__
            directory.mkdir()
            stage = Stage(directory, stack)
            things.append(await scene(stage))
            assert stage.node is not None
            targets.append("{}:{}".format(*stage.node.admin))
        watching = await stack.enter_async_context(prometheus(tmp_path, targets))
        await watching.has_scraped(len(targets), 3)
        expected = {
            target: set(alerts) for target, (_, alerts) in zip(targets, SCENES, strict=True)
        }

        def complete() -> bool:
            return all(alerts <= watching.fired[target] for target, alerts in expected.items())

        async def fired(target: str, alert: str) -> None:
            assert await wait_until(lambda: alert in watching.fired[target], _PATIENCE), alert

        async def watch() -> None:
            while True:
                await watching.look()
                await asyncio.sleep(0.5)

        async with asyncio.TaskGroup() as group:
            looking = group.create_task(watch())
            for target, thing in zip(targets, things, strict=True):
                group.create_task(thing(partial(fired, target)))
            await wait_until(complete, _PATIENCE)
            # Another one that follows is seen, too.
            await asyncio.sleep(2 * _LEAST_FOR)
            looking.cancel()
        names = [scene.__name__ for scene, _ in SCENES]
        seen = {name: watching.fired[at] for name, at in zip(names, targets, strict=True)}
        assert seen == {scene.__name__: set(alerts) for scene, alerts in SCENES}


def test_every_alert_has_its_scene_or_takes_days() -> None:
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    assert set(alerts) == OF_DAYS.union(*(alerts for _, alerts in SCENES))
