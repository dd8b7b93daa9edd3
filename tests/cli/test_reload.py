"""`relay reload` where there is no relay that could reload."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import CONFIGURATION, Invoke

TOKEN = 'token: "a-token"'


@pytest.fixture
def closed() -> Iterator[int]:
    """Return a port that nobody listens on, and nobody takes."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def written(config: Path, bind: str, more: str = TOKEN) -> Path:
    old = 'admin: {bind: "127.0.0.1:0"}'
    assert old in CONFIGURATION
    config.write_text(CONFIGURATION.replace(old, f'admin: {{bind: "{bind}", {more}}}'))
    return config


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"])
def test_where_no_relay_runs_it_says_so(
    host: str, relay: Invoke, config: Path, closed: int
) -> None:
    result = relay("reload", "-c", written(config, f"{host}:{closed}"))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"relay reload: no relay answers at {host}:{closed}")


def test_without_a_token_it_says_what_to_do(relay: Invoke, config: Path, closed: int) -> None:
    result = relay("reload", "-c", written(config, f"127.0.0.1:{closed}", ""))
    assert result.exit_code == 1
    assert "admin.token is not set" in result.stderr
    assert "send SIGHUP" in result.stderr


@pytest.mark.parametrize(
    "text", ["admin: {bind: nonsense}", "admin: 5", 'admin: {token: "${env:NONE}"}', "[", ""]
)
def test_an_admin_section_that_cannot_be_read_is_a_mistake(
    text: str, relay: Invoke, config: Path
) -> None:
    config.write_text(text)
    result = relay("reload", "-c", config)
    assert str(result.exception).startswith(f"{config}:")
