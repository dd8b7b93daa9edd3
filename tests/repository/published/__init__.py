"""What relay publishes: the names, shapes and answers that users, scripts and dashboards rely on.

`names.json` holds them as they are meant to be; `record` takes them from a relay, from outside: it
runs commands and a relay on loopback, sends what providers send, and reads answers, log, metrics
and the admin API. Only the names of the log lines that nothing causes come from the source.

    python -m tests.repository.published                    write them down, on purpose
    python -m tests.repository.published --python PATH      print those of another relay
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.repository.published.commands import exits
from tests.repository.published.relay import Commands
from tests.repository.published.traffic import Traffic

NAMES = Path(__file__).with_name("names.json")


async def record(python: str) -> dict[str, Any]:
    """Return everything that the relay publishes that is installed for this interpreter."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with Commands(python, directory, {"RELAY_CONFIG": "relay.yaml"}) as commands:
            traffic = Traffic(commands, directory, python)
            await traffic.pass_through()
            schema = json.loads((await commands.run("schema")).out)
            return {
                "commands": commands.declared,
                "exits": {
                    "run, SIGTERM": traffic.exit_code,
                    **await exits(commands, directory, traffic.genuine),
                },
                "configuration": dict(_keys(schema, schema, "")),
                "answers": traffic.answers,
                "forwarded": traffic.forwarded,
                "metrics": traffic.metrics,
                "log": traffic.log(),
                "admin": traffic.admin,
            }


def text(names: dict[str, Any]) -> str:
    """Return what is published as it is written down."""
    return json.dumps(names, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return a line for each name that has gone, come, or changed what it stands for."""
    old, new = dict(_lines(before)), dict(_lines(now))
    return [
        *(f"gone: {name} ({old[name]})" for name in sorted(old.keys() - new.keys())),
        *(f"new: {name} ({new[name]})" for name in sorted(new.keys() - old.keys())),
        *(
            f"changed: {name}: {old[name]} -> {new[name]}"
            for name in sorted(old.keys() & new.keys())
            if old[name] != new[name]
        ),
    ]


def _lines(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield each leaf with the way to it."""
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        # An entry of a list of names is a name; it has no place.
        items = [(each, "") if isinstance(each, str) else ("[]", each) for each in value]
    for name, each in items:
        yield from _lines(each, f"{place} > {name}" if place else name)
    if not items:
        yield place, str(value)


#: What says nothing about which values a key takes.
_SPOKEN = frozenset({"description", "examples", "title"})


def _keys(whole: Any, part: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield each key of the configuration, as `upstreams.*.url`, with type, default and bounds."""
    if "$ref" in part:
        found = whole["$defs"][part["$ref"].rpartition("/")[2]]
        part = {**found, **{name: each for name, each in part.items() if name != "$ref"}}
    below = list(_below(part, place))
    if isinstance(part.get("additionalProperties"), dict):
        part = {name: each for name, each in part.items() if name != "additionalProperties"}
    nested = {"$defs", "$schema", "anyOf", "items", "oneOf", "properties"} | _SPOKEN
    plain = {name: each for name, each in part.items() if name not in nested}
    yield place or "(file)", json.dumps(plain, sort_keys=True)
    for name, each in below:
        yield from _keys(whole, each, name)


def _below(part: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield what a part of the schema holds, with the places of it."""
    for name, each in part.get("properties", {}).items():
        yield f"{place}.{name}" if place else name, each
    for name, sign in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(part.get(name), dict):
            yield place + sign, part[name]
    for kind in ("anyOf", "oneOf"):
        for number, each in enumerate(part.get(kind, ()), 1):
            yield f"{place} ({kind} {number})", each
