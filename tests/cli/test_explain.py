"""`relay explain` on the command line: 0 would accept, 1 would refuse, 2 is a mistake."""

import errno
import os
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from relay.cli import application
from relay.core.clock import SystemClock
from relay.core.secret import Secret
from relay.providers import Provider, SampleOrder
from relay.providers.builtin import provider_named
from tests.cli.conftest import Invoke

NOT_THERE = os.strerror(errno.ENOENT)

MIDTRANS: Provider = provider_named("midtrans")
LISTED = "34.101.68.130"


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "request.http"
    path.write_bytes(raw())
    return path


def raw(key: str = "SB-Mid-server-x") -> bytes:
    sample = MIDTRANS.sample(SampleOrder("https://x/", Secret(key), SystemClock().now(), {}))
    head = f"POST /midtrans/notification HTTP/1.1\r\nHost: h\r\nContent-Length: {len(sample.body)}"
    return head.encode() + b"\r\n\r\n" + sample.body


def test_what_would_be_accepted(relay: Invoke, config: Path, request_file: Path) -> None:
    result = relay("explain", request_file, "-c", config, "--peer", LISTED)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "step\tresult\tdetail"
    assert lines[-1] == "verdict\tok\taccept"
    assert "SB-Mid-server-x" not in result.output


def test_without_a_peer_the_verdict_says_so(
    relay: Invoke, config: Path, request_file: Path
) -> None:
    result = relay("explain", request_file, "-c", config)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "verdict\tok\taccept, from an allowed address"


def test_the_health_check_is_no_refusal(relay: Invoke, config: Path, request_file: Path) -> None:
    request_file.write_bytes(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    result = relay("explain", request_file, "-c", config)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "verdict\tok\tanswered 200, and no delivery"


def test_what_would_be_refused_as_json(relay: Invoke, config: Path, request_file: Path) -> None:
    request_file.write_bytes(raw("other"))
    words = ("explain", request_file, "-c", config, "--peer", "203.0.113.1", "--format", "json")
    result = relay(*words)
    assert result.exit_code == 1
    told = orjson.loads(result.output)
    assert (told["verdict"], told["reason"]) == ("refuse", "source_not_allowed")
    assert told["steps"][-1]["detail"] == "signature_mismatch: fits no secret"


def test_standard_input_is_read(config: Path) -> None:
    environ = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "a-secret"}
    words = ["explain", "-", "-c", str(config)]
    result = CliRunner().invoke(application(), words, input=raw(), env=environ)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("words", [("--peer", "nobody"), ("--at", "soon")])
def test_a_mistake_in_the_call_says_what_to_write(
    words: tuple[str, str], relay: Invoke, config: Path, request_file: Path
) -> None:
    result = relay("explain", request_file, "-c", config, *words)
    assert result.exit_code == 2
    assert words[0] in result.stderr


def test_what_the_relay_could_not_read_is_refused_and_says_where(
    relay: Invoke, config: Path, request_file: Path
) -> None:
    request_file.write_bytes(b"POST / HTTP/1.1\r\nno field\r\n\r\n")
    result = relay("explain", request_file, "-c", config)
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines()[1:] == [
        "head\tno\tbody_malformed: not strict HTTP: a header line, line 2",
        "verdict\tno\trefuse, body_malformed",
    ]


def test_a_file_that_holds_no_request_is_named(
    relay: Invoke, config: Path, request_file: Path
) -> None:
    request_file.write_bytes(b'{"order_id": 1}')
    result = relay("explain", request_file, "-c", config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"{request_file}:1:1: not a request line; write METHOD /path HTTP/1.1\n"
    )
    missing = relay("explain", request_file.with_name("none"), "-c", config)
    assert (missing.exit_code, NOT_THERE in missing.stderr) == (2, True)
