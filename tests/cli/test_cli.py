"""Short commands import what they use, and nothing that takes long besides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay.cli import VERBS
from tests.cli.conftest import Invoke

_CALL = """
import sys
from relay.cli import main
sys.argv = ["relay", *sys.argv[1:]]
try:
    main()
finally:
    sys.stderr.write("\\n".join(sys.modules))
"""

#: Libraries that no command needs that only reads, and the halves of the relay.
_SERVING = frozenset(
    {"aiohttp", "dns", "httptools", "jinja2", "prometheus_client", "rich", "watchfiles"}
) | {f"relay.{name}" for name in ("admin.server", "app.builder", "delivery", "edge", "ingest")}

#: What reading a configuration and a spool needs, and the version does not.
_READING = frozenset({"apsw", "asyncio", "cryptography", "netaddr", "yaml"}) | {
    f"relay.{name}" for name in ("app", "config", "providers", "spool", "telemetry")
}


def _imported(*words: object) -> set[str]:
    """Return the modules that a command has imported, which has to succeed."""
    environ = {**os.environ, "MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "a-secret"}
    done = subprocess.run(
        [sys.executable, "-c", _CALL, *map(str, words)],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [("version",), ("--version",), ("version", "--format", "json")])
def test_the_version_needs_no_library_but_the_command_line_s(words: tuple[str, ...]) -> None:
    assert _imported(*words) & (_SERVING | _READING) == set()


def test_history_is_read_without_what_serves(relay: Invoke, config: Path) -> None:
    assert relay("migrate", "-c", config).exit_code == 0
    imported = _imported("events", "list", "-c", config)
    assert imported & _SERVING == set()
    assert "relay.spool.sqlite" in imported


def test_a_verb_imports_no_other() -> None:
    verbs = {name for name in _imported("version") if name.startswith("relay.cli.")}
    assert verbs == {"relay.cli.output", "relay.cli.process"}


def test_help_knows_every_verb() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "relay", "--help"], capture_output=True, text=True, check=True
    )
    assert set(VERBS) <= set(told.stdout.split())
