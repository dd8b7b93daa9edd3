"""deploy/compose.yaml: every part is there and accepted by the tool that reads it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from relay.cli import application
from relay.config import load
from tests.harness.deliveries import ENVIRON
from tests.harness.optional_tools import promtool

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
FILE = DEPLOY / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def mounts(service: str) -> dict[str, Path]:
    """Return the files that a service sees, by their place in its container."""
    split = [each.split(":") for each in SERVICES[service]["volumes"]]
    return {words[1]: DEPLOY / words[0] for words in split if words[0].startswith(".")}


def test_compose_accepts_it() -> None:
    checked = subprocess.run(
        [
            *(Path(sys.executable).parent / "check-jsonschema", "--builtin-schema"),
            *("vendor.compose-spec", FILE),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_mounted_is_there(service: str) -> None:
    if "volumes" not in SERVICES[service]:
        return
    assert all(path.is_file() for path in mounts(service).values())
    named = {each.split(":")[0] for each in SERVICES[service]["volumes"] if each[0] != "."}
    assert named <= set(COMPOSE["volumes"])


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_is_published_beyond_this_machine(service: str) -> None:
    published = SERVICES[service].get("ports", ())
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", each) for each in published)


@pytest.mark.parametrize("service", [name for name in SERVICES if "build" not in SERVICES[name]])
def test_an_image_has_a_version(service: str) -> None:
    image = SERVICES[service]["image"]
    assert image == "relay" or re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", image)


def test_no_secret_is_written_down() -> None:
    assigned = [
        value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if re.search("KEY|TOKEN|PASSWORD", name)
    ]
    assert len(assigned) == 3
    # With `:?` it does not start without.
    assert all(re.fullmatch(r"\$\{\w+:\?.+\}", each) for each in assigned)


def test_relay_takes_its_configuration(tmp_path: Path) -> None:
    environ = {name: ENVIRON[name] for name in SERVICES["relay"]["environment"]}
    settings = load(
        mounts("relay")["/etc/relay/relay.yaml"], environ | {"STATE_DIRECTORY": str(tmp_path)}
    )
    ports = {str(each.bind.port) for each in settings.listen} | {str(settings.admin.bind.port)}
    assert {each.rsplit(":", 1)[1] for each in SERVICES["relay"]["ports"]} == ports
    # Who is trusted to say who called is the one way in: the gateway, which publishes the ports.
    [network] = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert [str(each) for each in settings.trusted_proxies] == [f"{network['gateway']}/32"]
    [upstream] = settings.upstreams.values()
    bound = SERVICES["sink"]["command"][-1]
    assert f"//sink:{bound.rsplit(':', 1)[1]}/" in str(upstream.url)


def test_the_sink_is_a_command_of_relay() -> None:
    verb, *arguments = SERVICES["sink"]["command"]
    command: Any = get_command(application([verb]))
    command.commands[verb].make_context(verb, arguments)


def test_grafana_asks_the_prometheus_and_shows_the_dashboard() -> None:
    mounted = mounts("grafana")
    provisioning = "/etc/grafana/provisioning"
    [source] = _read(mounted[f"{provisioning}/datasources/relay.yaml"])["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    [provider] = _read(mounted[f"{provisioning}/dashboards/relay.yaml"])["providers"]
    shown = [file.name for place, file in mounted.items() if place.endswith(".json")]
    assert shown == ["grafana-dashboard.json"]
    [place] = [place for place in mounted if place.endswith(".json")]
    assert str(Path(place).parent) == provider["options"]["path"]


def _read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    return document


@pytest.mark.debian
def test_promtool_accepts_what_prometheus_mounts(tmp_path: Path) -> None:
    for place, file in mounts("prometheus").items():
        assert place.startswith("/etc/prometheus/")
        shutil.copy(file, tmp_path / Path(place).name)
    left = "compose/prometheus.yml was NOT checked"
    promtool("check", "config", tmp_path / "prometheus.yml", left=left)
    assert "relay:9464" in (tmp_path / "prometheus.yml").read_text()
