"""The pages hold: examples load, commands can be typed, links lead somewhere, keys are current."""

import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types
from typer.main import get_command

from relay.cli import application
from relay.cli.demo.services import asymmetric
from relay.config.endpoints import provider_of
from relay.config.loader import load, schema
from relay.config.settings import Settings
from relay.config.types import Section
from relay.config.yaml_document import parse
from relay.providers.builtin import names
from tests.harness.wire import write_pair
from tests.repository import key_table, pages, sender_table
from tests.repository.pages import Block
from tests.repository.test_examples import secret_for

CONFIG = pages.ROOT / "config"
MINIMAL = parse((CONFIG / "relay.minimal.yaml").read_text()).data
EXAMPLES = pages.blocks("yaml")
#: Those that are mappings of their own are explained by their tables.
KEYS = [
    (model, key, key_table.flow(key_table.example(place, model, key, field)))
    for place, model, key, field in key_table.rows()
    if f"{place}.{key}" not in (".listen", ".upstreams", ".endpoints")
]
COMMANDS = [
    (str(block), found[1])
    for block in pages.blocks("sh")
    for line in block.text.replace("\\\n", "").splitlines()
    if (found := re.match(r"(?:/opt/[\w./-]+/bin/)?(relay .*)", line))
]


def test_the_tables_of_keys_are_current() -> None:
    # When this fails: make docs
    assert key_table.written(key_table.PAGE.read_text()) == key_table.PAGE.read_text()


@pytest.mark.parametrize("page", sender_table.PAGES, ids=lambda page: str(page.parent.name))
def test_the_lists_of_senders_are_current(page: Path) -> None:
    # When this fails: make docs
    assert sender_table.written(page) == page.read_text()


@pytest.mark.parametrize(
    ("model", "key", "value"), KEYS, ids=[f"{model.__name__}.{key}" for model, key, _ in KEYS]
)
def test_an_example_of_a_key_may_be_written(model: type[Section], key: str, value: str) -> None:
    data = parse(f"{key}: {value}").data
    whole = schema()
    holder = whole if model is Settings else whole["$defs"][model.__name__]
    found = Draft202012Validator({"$defs": whole["$defs"], **holder["properties"][key]})
    assert isinstance(data, dict)
    assert [error.message for error in found.iter_errors(_plain(data[key]))] == []


def _plain(data: object) -> object:
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    return [_plain(each) for each in data] if isinstance(data, tuple | list) else data


def _whole(block: Block) -> str:
    """Return a configuration with this example in it, and what it leaves out from the minimal."""
    data = parse(block.text).data
    assert isinstance(MINIMAL, dict)
    assert isinstance(data, dict)
    return yaml.safe_dump(_plain(MINIMAL | data))


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_an_example_loads(block: Block, tmp_path: Path) -> None:
    text = _whole(block)
    environ = {name: secret_for(name) for name in re.findall(r"\$\{env:(\w+)\}", text)}
    for file in re.findall(r"\$\{file:([\w./-]+)\}", text):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(asymmetric().verifying if file.endswith(".pem") else "a" * 32)
    (tmp_path / "tls").mkdir(exist_ok=True)
    certificate, key = write_pair(tmp_path / "tls")
    (tmp_path / "tls/internal-ca.pem").write_bytes(certificate.read_bytes())
    certificate.rename(tmp_path / "tls/relay.pem")
    key.rename(tmp_path / "tls/relay.key")
    (tmp_path / "relay.yaml").write_text(text)
    settings = load(tmp_path / "relay.yaml", environ)
    assert all(provider_of(endpoint).info for endpoint in settings.endpoints)


@pytest.mark.parametrize("provider", names())
def test_every_provider_has_an_example(provider: str) -> None:
    shown = [block for block in EXAMPLES if block.page == "config/README.md"]
    assert any(f"provider: {provider}\n" in block.text for block in shown)


@pytest.mark.parametrize(
    "line", [line for _, line in COMMANDS], ids=[place for place, _ in COMMANDS]
)
def test_a_command_can_be_typed(line: str) -> None:
    command: Any = get_command(application())
    typed = re.split(r"[|&]|2?>", line)[0]
    arguments = shlex.split(os.path.expandvars(typed))[1:]
    context = command.make_context("relay", arguments)
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, arguments = command.resolve_command(context, rest)
        context = command.make_context(name, arguments, parent=context)


def _anchors(name: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", pages.text(name), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", pages.NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", pages.text(name)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (pages.ROOT / name).parent / path if path else pages.ROOT / name
        assert found.exists(), target
        if anchor:
            page = found.resolve().relative_to(pages.ROOT)
            assert anchor in _anchors(str(page)), target


@pytest.mark.parametrize("name", sorted(path.name for path in (pages.ROOT / "deploy").glob("*.*")))
def test_every_file_for_operators_is_explained(name: str) -> None:
    assert name == "README.md" or f"]({name})" in pages.text("deploy/README.md")


@pytest.mark.parametrize(
    "path",
    sorted(
        str(path.relative_to(pages.ROOT / "config")) for path in key_table.PAGE.parent.rglob("*.*")
    ),
)
def test_every_file_for_users_is_explained(path: str) -> None:
    assert path == "README.md" or f"]({path})" in pages.text("config/README.md")


def test_the_map_shows_the_layers() -> None:
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    (shown,) = pages.blocks("text", ("CONTRIBUTING.md",))
    assert shown.text.splitlines() == layers


@pytest.mark.parametrize(
    "package", sorted(path.parent.name for path in (pages.ROOT / "relay").glob("*/__init__.py"))
)
def test_the_map_shows_every_package(package: str) -> None:
    assert f"`relay/{package}/`" in pages.text("CONTRIBUTING.md")


@pytest.mark.parametrize(
    "name",
    sorted(set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)`", pages.text("CONTRIBUTING.md")))),
)
def test_a_type_that_is_spoken_of_is_there(name: str) -> None:
    sources = (path.read_text() for path in (pages.ROOT / "relay").rglob("*.py"))
    assert any(re.search(rf"^class {name}\b", text, re.MULTILINE) for text in sources)
