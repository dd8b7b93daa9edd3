"""What an operator deploys is accepted by the tool that will read it."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.core.clock import SystemClock
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogFormat, LogWriter
from relay.telemetry.metrics import Snapshot
from tests.harness import unit_sandbox

DEPLOY = Path(__file__).parent.parent.parent / "deploy"


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    found = _run(Path(sys.executable).parent / "hadolint", DEPLOY / "Dockerfile")
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_image_does_not_run_as_root() -> None:
    users = [
        line.split()[1]
        for line in (DEPLOY / "Dockerfile").read_text().splitlines()
        if line.startswith("USER ")
    ]
    assert users == ["10001:10001"]


UNITS = [*sorted(path.name for path in DEPLOY.glob("*.service")), "relay-firewall.timer"]


@pytest.mark.debian
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(name: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip(f"systemd-analyze is not installed: {name} was NOT verified")
    for each in UNITS:
        # The verifier wants the programs to exist where the unit says.
        text = (DEPLOY / each).read_text().replace("=/opt/relay/bin/relay", f"={sys.executable}")
        (tmp_path / each).write_text(text.replace("=/usr/sbin/nft", f"={sys.executable}"))
    found = _run("systemd-analyze", "verify", tmp_path / name)
    complaints = [line for line in found.stderr.splitlines() if "relay" in line]
    assert (found.returncode, complaints) == (0, [])


@pytest.mark.debian
@pytest.mark.parametrize(("name", "most"), [("relay", 1.6), ("relay-firewall", 2.0)])
def test_the_unit_is_exposed_as_little_as_it_says(name: str, most: float) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip(f"systemd-analyze is not installed: {name}.service was NOT judged")
    found = _run("systemd-analyze", "security", "--offline=true", DEPLOY / f"{name}.service")
    exposure = re.search(rf"Overall exposure level for {name}.service: ([0-9.]+)", found.stdout)
    assert exposure is not None, found.stdout + found.stderr
    assert float(exposure[1]) <= most


def test_a_mistake_in_the_configuration_is_not_tried_again() -> None:
    """Exit code 2 counts of the main process alone: nothing may read the file before it does."""
    service = unit_sandbox.service(DEPLOY / "relay.service")
    assert service["RestartPreventExitStatus"] == ["2"]
    assert "ExecStartPre" not in service


@pytest.mark.debian
def test_promtool_accepts_the_scrape_configuration() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: prometheus.yml was NOT checked")
    found = _run("promtool", "check", "config", DEPLOY / "prometheus.yml")
    assert found.returncode == 0, found.stdout + found.stderr


# Minutes of samples from a scrape a minute, and when each alert is up: one series is enough to
# see it rise, and another endpoint without trouble sees that it stays down.
RULES = {
    "a disagreement is told at once and for a while": (
        {'relay_confirmations_total{endpoint="a",result="contradicted"}': "0 0 1 1x30"},
        "RelayDisagreement",
        {"1m": False, "3m": True, "10m": True, "30m": False},
    ),
    "what is held is told for as long as it is": (
        {'relay_spool_events{endpoint="a",status="held"}': "0 0 2x10 0x10"},
        "RelayEventsHeld",
        {"3m": False, "8m": True, "11m": True, "14m": False},
    ),
    "other events are not held": (
        {'relay_spool_events{endpoint="a",status="pending"}': "9x30"},
        "RelayEventsHeld",
        {"30m": False},
    ),
    "events that nobody is to have are told": (
        {'relay_upstream_missing{upstream="a"}': "0 1x10 0x10"},
        "RelayUpstreamMissing",
        {"3m": False, "8m": True, "14m": False},
    ),
    "bodies that go within a day are told": (
        {'relay_undelivered_expiring{endpoint="a"}': "0 3x10 0x10"},
        "RelayUndeliveredExpiring",
        {"0m": False, "2m": True, "11m": True, "14m": False},
    ),
    "an api that answers nothing is told": (
        {
            'relay_confirmations_total{endpoint="a",result="error"}': "0+1x40",
            'relay_confirmations_total{endpoint="a",result="confirmed"}': "5x40",
        },
        "RelayConfirmationFailing",
        {"5m": False, "15m": True, "40m": True},
    ),
    "an api that answers now and then is not": (
        {
            'relay_confirmations_total{endpoint="a",result="limited"}': "0+9x40",
            'relay_confirmations_total{endpoint="a",result="confirmed"}': "0+1x40",
        },
        "RelayConfirmationFailing",
        {"15m": False, "40m": False},
    ),
    "a host that grows is told, also by the first count": (
        {'relay_allowlist_growth_total{host="a"}': "_x4 1x40"},
        "RelayAllowlistGrown",
        {"3m": False, "6m": True, "30m": True},
    ),
    "strangers that hold all connections are told while they do": (
        {'relay_connections_evicted_total{instance="a"}': "0x4 0+9x10 90x30"},
        "RelayConnectionsTaken",
        {"4m": False, "9m": True, "14m": True, "25m": False},
    ),
    "a right signature from an unknown address is told": (
        {'relay_unknown_but_signed_total{endpoint="a"}': "0x4 1x40"},
        "RelaySenderUnknown",
        {"4m": False, "6m": True, "25m": False},
    ),
}


@pytest.mark.debian
@pytest.mark.parametrize("rule", RULES)
def test_alerts_are_up_when_somebody_has_to_look(rule: str, tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: the alerts were NOT tried")
    series, alert, expected = RULES[rule]
    quiet = [name.replace('"a"', '"b"') for name in series]
    tests = [
        {"expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})', "eval_time": at}
        | {"exp_samples": [{"labels": "{}", "value": 1}] if up else []}
        for at, up in expected.items()
    ]
    told = [{"series": name, "values": values} for name, values in series.items()]
    told += [{"series": name, "values": "0x40"} for name in quiet]
    document = {
        "rule_files": [str(DEPLOY / "prometheus-rules.yml")],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": told, "promql_expr_test": tests}],
    }
    # JSON is YAML.
    (tmp_path / "test.yml").write_text(json.dumps(document))
    found = _run("promtool", "test", "rules", tmp_path / "test.yml")
    assert found.returncode == 0, found.stdout + found.stderr


def test_alerts_go_by_metrics_that_there_are() -> None:
    rules = (DEPLOY / "prometheus-rules.yml").read_text()
    telemetry = Telemetry(Log(LogWriter(io.BytesIO()), SystemClock(), LogFormat.JSON))
    telemetry.init_series({"a": "midtrans"}, ["billing"])
    shown = telemetry.expose(Snapshot(spool_events={("a", "held"): 1})).decode()
    selectors = re.findall(r"(relay_[a-z_]+)\{result=~?\"([a-z_|]+)\"\}", rules)
    assert len(selectors) == rules.count("{result=")
    for name, results in selectors:
        for result in results.split("|"):
            assert f'{name}{{endpoint="a",result="{result}"}} 0.0' in shown
    assert "relay_connections_evicted_total[" in rules
    assert "relay_connections_evicted_total 0.0" in shown
    assert "relay_unknown_but_signed_total[" in rules
    assert 'relay_unknown_but_signed_total{endpoint="a"} 0.0' in shown
    assert 'relay_spool_events{status="held"}' in rules
    assert 'relay_spool_events{endpoint="a",status="held"} 1.0' in shown
