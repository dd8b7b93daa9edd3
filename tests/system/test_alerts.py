"""A real Prometheus with the rules of deploy/ watches relays to which the things happen.

What takes a day or more is in `deploy/prometheus-rules.test.yml` alone, with all the others.
"""

import asyncio
import re
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.harness.clock import wait_until
from tests.harness.prometheus import prometheus
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
        watching = await stack.enter_async_context(
            prometheus(tmp_path, targets, faster_rules(), left="alerts were NOT seen to fire")
        )
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
