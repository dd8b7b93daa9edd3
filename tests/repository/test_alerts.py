"""deploy/prometheus-rules.yml: each alert fires on its thing alone, and the runbook tells of it."""

import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command

from relay.cli import application
from relay.core.clock import SystemClock
from relay.telemetry import Telemetry
from relay.telemetry.gauges import Snapshot
from relay.telemetry.log import Log, LogFormat, LogWriter
from tests.harness.optional_tools import promtool
from tests.repository import pages

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text())["groups"]
    for rule in group["rules"]
}
RUNBOOK = pages.text("deploy/runbook.md")
#: The text of each section, by its heading.
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
TESTS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus-rules.test.yml").read_text())


def _cases(alert: str) -> list[dict[str, Any]]:
    return [case for case in TESTS["tests"] if case["name"].startswith(f"{alert}: ")]


@pytest.mark.debian
@pytest.mark.parametrize("alert", RULES)
def test_an_alert_fires_on_its_thing_and_not_beside_it(alert: str, tmp_path: Path) -> None:
    document = TESTS | {
        "rule_files": [str(DEPLOY / name) for name in TESTS["rule_files"]],
        "tests": _cases(alert),
    }
    # JSON is YAML.
    (tmp_path / "test.yml").write_text(json.dumps(document))
    promtool("test", "rules", tmp_path / "test.yml", left=f"{alert} was NOT tried")


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_is_seen_to_fire_and_not_to(alert: str) -> None:
    fires = {_fires(look, alert) for case in _cases(alert) for look in case["promql_expr_test"]}
    assert fires == {True, False}


def _fires(look: dict[str, Any], alert: str) -> bool:
    return any(f'"{alert}"' in sample["labels"] for sample in look.get("exp_samples", []))


def test_every_case_is_of_an_alert_and_compares_all_that_fire() -> None:
    assert {case["name"].partition(": ")[0] for case in TESTS["tests"]} == set(RULES)
    looks = [look for case in TESTS["tests"] for look in case["promql_expr_test"]]
    assert {look["expr"].partition(") (")[2] for look in looks} == {'ALERTS{alertstate="firing"})'}


def _exposed() -> dict[str, list[dict[str, str]]]:
    """Return the labels of every series that a relay exposes, by name."""
    writer = LogWriter(io.BytesIO())
    telemetry = Telemetry(Log(writer, SystemClock(), LogFormat.JSON))
    telemetry.init_series({"a": "vipps"}, ["billing"])
    telemetry.configured(SystemClock().now())
    now = SystemClock().now()
    snapshot = Snapshot(
        spool_events={("a", "held"): 1},
        spool_oldest_pending_seconds={"billing": 1.0},
        upstream_missing=frozenset({"gone"}),
        spool_bytes=1,
        spool_free_bytes=1,
        breaker_open={"billing": False},
        allowlist_addresses={"a": 1},
        allowlist_age_seconds={"example.com": 1.0},
        allowlist_mode={"a": "report"},
        certificate_expiry={"0.0.0.0:443": now},
        upstream_certificate_expiry={"billing": now},
    )
    text = telemetry.expose(snapshot).decode()
    writer.close()
    series: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        names = {family.name, f"{family.name}_total"} if family.type == "counter" else {family.name}
        for name in names:
            series[name] = [sample.labels for sample in family.samples]
    return series


EXPOSED = _exposed()
#: Of Prometheus itself, for each thing that it scrapes.
OF_PROMETHEUS = {"up"}
_WORDS = re.compile(r"\b(?:relay_|process_)\w+|\bup\b")
_SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
_MATCHER = re.compile(r"(\w+)(=~|!=|=)\"([^\"]*)\"")


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_goes_by_metrics_that_there_are(alert: str) -> None:
    names = set(_WORDS.findall(RULES[alert]["expr"]))
    assert names
    assert names - OF_PROMETHEUS <= set(EXPOSED)


def _matchers() -> Iterator[tuple[str, str, str]]:
    """Yield each metric, label, and value that an expression selects or leaves out."""
    for rule in RULES.values():
        for metric, inside in _SELECTOR.findall(rule["expr"]):
            for label, _, values in _MATCHER.findall(inside):
                yield from ((metric, label, value) for value in values.split("|"))


@pytest.mark.parametrize(("metric", "label", "value"), sorted(set(_matchers())))
def test_a_value_that_is_selected_is_exposed(metric: str, label: str, value: str) -> None:
    assert value in {labels[label] for labels in EXPOSED[metric]}


def test_what_is_written_about_an_alert_names_labels_that_it_has() -> None:
    for alert, rule in RULES.items():
        fired = " ".join(
            sample["labels"]
            for case in _cases(alert)
            for look in case["promql_expr_test"]
            for sample in look.get("exp_samples", [])
        )
        told = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert {label for label in told - {"instance"} if f"{label}=" not in fired} == set()


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    assert SECTIONS.keys() == RULES.keys()
    for alert, rule in RULES.items():
        assert rule["annotations"]["runbook"] == f"deploy/runbook.md#{alert.lower()}"


@pytest.mark.parametrize("alert", SECTIONS)
def test_a_section_says_what_it_means_where_to_look_and_what_to_do(alert: str) -> None:
    paragraphs = SECTIONS[alert].strip().split("\n\n")
    begun = [paragraph.partition(".** ")[0] for paragraph in paragraphs]
    assert begun == ["**Meaning", "**Where to look", "**What to do"]


def test_every_section_is_in_the_list_at_the_top() -> None:
    listed = re.findall(r"\[(\w+)\]\(#", RUNBOOK.partition("\n## ")[0])
    assert listed == list(SECTIONS)


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`(relay [a-z][^`]*)`", RUNBOOK))))
def test_a_command_of_the_runbook_can_be_typed(line: str) -> None:
    command: Any = get_command(application())
    arguments = shlex.split(line)[1:]
    context = command.make_context("relay", arguments)
    while hasattr(command, "resolve_command"):
        name, command, arguments = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        if hasattr(command, "resolve_command") and not arguments:
            return
        # An ID may be left out where a command is only named.
        context = command.make_context(
            name, arguments, parent=context, resilient_parsing=not arguments
        )


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:relay|process)_\w+)`", RUNBOOK))))
def test_a_metric_of_the_runbook_is_exposed(name: str) -> None:
    assert name in EXPOSED
