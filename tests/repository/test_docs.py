"""What users rely on is in the pages: every key, metric, reason, verb, provider and header."""

import ast
import io
import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from relay.cli import application
from relay.config.settings import Settings
from relay.core.clock import SystemClock
from relay.core.errors import Reason
from relay.core.event import Status
from relay.providers.builtin import names
from relay.telemetry import Telemetry
from relay.telemetry.gauges import Snapshot
from relay.telemetry.log import Log, LogWriter
from tests.repository import pages

ROOT = Path(__file__).parent.parent.parent
README = pages.text("README.md")
CONFIG_PAGE = pages.text("config/README.md")
DEPLOY_PAGE = pages.text("deploy/README.md")
PAGES = "\n".join(map(pages.text, pages.NAMES))


def _keys(model: type[BaseModel], seen: set[str]) -> set[str]:
    for name, field in model.model_fields.items():
        seen.add(field.alias or name)
        for inner in _models(field.annotation):
            _keys(inner, seen)
    return seen


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for each in getattr(annotation, "__args__", ()) for model in _models(each)]


@pytest.mark.parametrize("key", sorted(_keys(Settings, set())))
def test_every_configuration_key_is_documented(key: str) -> None:
    assert f"| `{key}` |" in CONFIG_PAGE
    assert re.search(rf"\b{key}:", (ROOT / "config/relay.example.yaml").read_text())


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_documented(reason: Reason) -> None:
    assert f"`{reason}`" in CONFIG_PAGE


def _metrics() -> set[str]:
    writer = LogWriter(io.BytesIO())
    text = Telemetry(Log(writer, SystemClock())).expose(Snapshot()).decode()
    writer.close()
    return set(re.findall(r"^# TYPE relay_(\w+) ", text, re.MULTILINE))


@pytest.mark.parametrize("metric", sorted(_metrics()))
def test_every_metric_is_documented(metric: str) -> None:
    assert f"`{metric}`" in DEPLOY_PAGE


@pytest.mark.parametrize("verb", sorted(get_command(application()).commands))  # type: ignore[attr-defined]
def test_every_verb_is_documented(verb: str) -> None:
    assert f"relay {verb}" in README


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_documented(status: Status) -> None:
    assert f"| `{status}` |" in DEPLOY_PAGE


def _warnings() -> set[str]:
    """Return the code of every warning that is made somewhere."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "relay/config").glob("*.py"))
    made = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {
        call.args[1].value
        for call in made
        if isinstance(call.func, ast.Name)
        and call.func.id == "Advice"
        and isinstance(call.args[1], ast.Constant)
        and isinstance(call.args[1].value, str)
    }


@pytest.mark.parametrize("code", sorted(_warnings()))
def test_every_warning_is_documented(code: str) -> None:
    assert re.search(rf"^\| [^|]*`{code}`", CONFIG_PAGE, re.MULTILINE)


@pytest.mark.parametrize("provider", names())
def test_every_provider_is_documented(provider: str) -> None:
    assert f"provider: {provider}\n" in CONFIG_PAGE
    assert provider.split("-", maxsplit=1)[0] in README.lower()


@pytest.mark.parametrize(
    "header",
    sorted(
        set(
            re.findall(
                r"\\r\\n((?:Relay|webhook)-[A-Za-z-]+): ",
                (ROOT / "relay/delivery/request.py").read_text(),
            )
        )
    ),
)
def test_every_header_that_is_added_is_documented(header: str) -> None:
    assert f"`{header}`" in CONFIG_PAGE


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "config").glob("*.yaml")))
def test_every_configuration_file_is_in_the_pages(name: str) -> None:
    assert name in PAGES


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:relay|tests|config|deploy)/[\w./]*)`", PAGES)))
)
def test_every_path_in_the_pages_exists(path: str) -> None:
    assert (ROOT / path).exists()
