"""The timer's unit brings the sets of a real firewall up to date, in a network of its own."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness.node import install
from tests.harness.unit_sandbox import service
from tests.repository import pages

pytestmark = pytest.mark.debian

_CONFIG = """
listen: [{{bind: "127.0.0.1:0"}}]
upstreams: {{billing: {{url: "http://127.0.0.1:1/"}}}}
endpoints:
  - name: vipps
    path: /vipps
    provider: vipps
    environment: test
    secrets: ["${{env:VIPPS_SECRET}}"]
    upstream: billing
    allowlist: {{{allowlist}}}
"""


SECRET = "a-secret-of-the-tests"


class Firewall:
    """Commands of the unit and of `nft`, typed in one network namespace, one after the other."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._relay = directory / "relay"
        install(self._relay, pages.ROOT, "relay")
        self._typed: list[str] = [f"nft -f {pages.ROOT}/deploy/relay-firewall.nft"]

    def update(self, allowlist: str) -> None:
        """Do what the unit does with this `allowlist`; the first command that fails is the last."""
        config = self._directory / f"{len(self._typed)}.yaml"
        config.write_text(_CONFIG.format(allowlist=allowlist))
        unit = service(pages.ROOT / "deploy/relay-firewall.service")
        [state] = unit["Environment"]
        assert state == "STATE_DIRECTORY=/var/lib/relay"
        commands = unit["ExecStart"]
        line = " && ".join(commands).replace("/opt/relay/bin/relay", str(self._relay))
        self._typed.append(f"{line.replace('/etc/relay/relay.yaml', str(config))} || echo failed")

    def type(self, command: str) -> None:
        self._typed.append(command)

    def result(self) -> tuple[str, dict[str, list[str]]]:
        """Run all of it; return what was printed, and the elements of each set."""
        script = "\n".join([*self._typed, "echo ruleset; nft -j list ruleset"])
        done = subprocess.run(
            ["unshare", "--net", "bash", "-eu", "-c", script],
            cwd=self._directory,
            env={**os.environ, "VIPPS_SECRET": SECRET, "STATE_DIRECTORY": str(self._directory)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said, _, listed = done.stdout.partition("ruleset\n")
        sets = [each["set"] for each in json.loads(listed)["nftables"] if "set" in each]
        return said, {each["name"]: list(map(_spelled, each.get("elem", ()))) for each in sets}


def _spelled(element: object) -> str:
    if isinstance(element, dict):
        return f"{element['prefix']['addr']}/{element['prefix']['len']}"
    return str(element)


@pytest.fixture
def firewall(tmp_path: Path) -> Firewall:
    if shutil.which("nft") is None or os.geteuid() != 0:
        pytest.skip("NOT TESTED with a real firewall: this takes root and nft (package nftables)")
    return Firewall(tmp_path)


def test_the_sets_follow_what_relay_allows(firewall: Firewall) -> None:
    firewall.update('replace: ["104.45.17.199/32", "104.45.17.0/25", "2603:1020::/32"]')
    firewall.update('replace: ["104.45.17.0/25", "51.105.122.53/32"]')
    # The rules may be loaded again, as by a restart of nftables.service.
    firewall.type(f"nft -f {pages.ROOT}/deploy/relay-firewall.nft")
    said, sets = firewall.result()
    assert said == ""
    assert sets == {"vipps_v4": ["51.105.122.53", "104.45.17.0/25"], "vipps_v6": []}


def test_a_host_that_is_not_known_yet_leaves_the_sets_as_they_are(firewall: Firewall) -> None:
    """As after a loss of `state_dir`: a firewall without any address would keep everybody out."""
    firewall.update('replace: ["104.45.17.199/32"]')
    firewall.update("")
    said, sets = firewall.result()
    assert said == "failed\n"
    assert sets == {"vipps_v4": ["104.45.17.199"], "vipps_v6": []}


def test_a_mistake_leaves_the_sets_as_they_are(firewall: Firewall) -> None:
    firewall.update('replace: ["104.45.17.199/32"]')
    firewall.update("mode: none")
    said, sets = firewall.result()
    assert said == "failed\n"
    assert sets == {"vipps_v4": ["104.45.17.199"], "vipps_v6": []}
