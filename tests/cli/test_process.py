"""However a verb is started, it ends with what it has to say, and without a traceback."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

ENVIRON = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "s", "PATH": "/usr/bin:/bin"}
#: Python goes by this alone, and takes nothing for UTF-8 that was not said to be.
ASCII = {**ENVIRON, "PYTHONIOENCODING": "ascii"}

REQUEST = b'POST /midtrans/notification?a HTTP/1.1\r\nHost: h\r\n\r\n{"order_id": "caf\xc3\xa9"}'


def shell(command: str, environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which `relay` is this relay."""
    line = command.replace("relay", f"{sys.executable} -m relay", 1)
    return subprocess.run(
        ["/bin/sh", "-c", line], env=environ, capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_letter_that_a_terminal_has_not_is_escaped(form: str, config: Path) -> None:
    file = config.parent / "request"
    file.write_bytes(REQUEST)
    done = shell(f"relay explain {file} -c {config} --format {form}", ASCII)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"?\\u2026" in done.stdout
    if form == "json":
        assert any("?…" in each["detail"] for each in orjson.loads(done.stdout)["steps"])


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("relay version >&-", 0, b""),
        ("relay version >&- 2>&-", 0, b""),
        ("relay explain - -c {} <&-", 2, b"-:1:1: the file is empty"),
        ("relay allowlist diff --against - -c {} <&-", 1, b""),
        ("relay version | true", 0, b""),
        ("relay version > /dev/full", 1, b"relay: No space left on device\n"),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_traceback(
    command: str, code: int, said: bytes, config: Path
) -> None:
    done = shell(command.format(config), ENVIRON)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert b"Traceback" not in done.stderr
