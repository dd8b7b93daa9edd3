"""The JSON Schema agrees with the models, the examples and the file in config/."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types

from relay.config.loader import schema, text
from relay.config.yaml_document import parse

CONFIG = Path(__file__).parents[2] / "config"


def plain(name: str) -> dict[str, Any]:
    """Return the data of an example as JSON has it."""
    data: dict[str, Any] = json.loads(json.dumps(parse((CONFIG / name).read_text()).data))
    return data


def marked(data: object) -> list[str]:
    return [error.message for error in Draft202012Validator(schema()).iter_errors(data)]


def test_the_file_is_current() -> None:
    # When this fails: relay schema > config/relay.schema.json
    assert (CONFIG / "relay.schema.json").read_text() == text()


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", ["relay.minimal.yaml", "relay.example.yaml"])
def test_the_examples_are_valid(name: str) -> None:
    assert marked(plain(name)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"lisen": []},
        {"listen": []},
        {"limits": {"body": "64KB"}},
        {"dns": {"timeout": "2 s"}},
        {"spool": {"kind": "redis"}},
        {"upstreams": {"a b": {"url": "http://x/"}}},
        {"forwarded_header": "Via"},
    ],
)
def test_mistakes_are_marked(change: dict[str, object]) -> None:
    assert len(marked({**plain("relay.minimal.yaml"), **change})) == 1


def test_every_key_is_described() -> None:
    whole = schema()
    for key, value in _properties(whole):
        name = value.get("$ref", "").removeprefix("#/$defs/")
        # A description that is the section's own is not repeated.
        assert value.get("description") or whole["$defs"][name]["description"], key


def _properties(whole: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for part in (whole, *whole["$defs"].values()):
        yield from part.get("properties", {}).items()


def test_defaults_are_written_as_in_the_file() -> None:
    definitions = schema()["$defs"]
    assert definitions["Dns"]["properties"]["timeout"]["default"] == "2s"
    assert definitions["Limits"]["properties"]["body"]["default"] == "256KiB"
    assert definitions["Admin"]["properties"]["bind"]["default"] == "127.0.0.1:9464"
    assert "default" not in definitions["Endpoint"]["properties"]["environment"]
