"""`relay run` with a configuration that cannot run ends at once, in plain words."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import orjson

from tests.cli.conftest import Invoke


def test_a_file_that_is_not_there_is_a_configuration_error(relay: Invoke, tmp_path: Path) -> None:
    result = relay("run", "-c", tmp_path / "none.yaml")
    assert result.exit_code != 0
    assert "none.yaml" in str(result.exception)


def test_an_unknown_role_is_a_mistake_in_the_call(relay: Invoke, config: Path) -> None:
    result = relay("run", "-c", config, "--role", "both")
    assert result.exit_code == 2
    assert "all" in result.stderr


def test_an_admin_listener_needs_an_address_and_a_port(relay: Invoke, config: Path) -> None:
    result = relay("run", "-c", config, "--admin", "9465")
    assert result.exit_code == 2
    assert "--admin: " in result.stderr


def test_a_port_that_is_taken_is_told_by_its_key(relay: Invoke, config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}", 1))
        done = subprocess.run(
            [sys.executable, "-m", "relay", "run", "-c", config],
            env={**os.environ, "MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "s"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    who = Path("/proc/self/comm").read_text().strip()
    assert lines == [
        (
            f"{config}:2:17: listen.0.bind: {os.strerror(errno.EADDRINUSE).lower()}: {who}"
            f" (process {os.getpid()}) has port {port}; stop that, or write another port"
        )
    ]
    told = relay("check", "-c", config, "--format", "json").stdout
    codes = [each["code"] for each in orjson.loads(told)["findings"]]
    assert "port-taken" not in codes


# ---- migrate and version --------------------------------------------------------------------
# Migrations.


def test_migrate_says_from_where_to_where(relay: Invoke, config: Path) -> None:
    first = orjson.loads(relay("migrate", "-c", config, "--format", "json").output)
    assert first["from"] == 0
    assert first["to"] >= 1
    again = orjson.loads(relay("migrate", "-c", config, "--format", "json").output)
    assert again == {"from": first["to"], "to": first["to"]}
