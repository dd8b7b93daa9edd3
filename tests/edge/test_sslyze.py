"""What a scanner of TLS servers finds: nothing below TLS 1.2, and none of the known holes."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relay.edge.listener import Listener
from relay.edge.tls import ServerTls
from tests.harness.certified import certified
from tests.harness.edge import running_edge

_REFUSED = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
_SPOKEN = ("tls_1_2", "tls_1_3")
_VERSIONS = ("--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3")


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_scanner_finds_nothing_below_tls_1_2(tmp_path: Path) -> None:
    scanner = await asyncio.to_thread(_install, tmp_path / "venv")
    certified(tmp_path, "pay.example.com")
    pem = tmp_path / "certificate.pem"
    tls = ServerTls(pem, pem)
    # As after a renewal: handshakes are moved to another context than the listener's first.
    certified(tmp_path, "pay.example.com")
    tls.renew()
    listener = Listener("127.0.0.1", 0, tls.context)
    async with running_edge(
        tmp_path, listener=listener, connections=1000, per_address=1000
    ) as edge:
        host, port = edge.address
        found = await asyncio.to_thread(_scan, scanner, f"{host}:{port}", tmp_path / "found.json")
    for version in _REFUSED:
        assert found[f"{version}_cipher_suites"]["accepted_cipher_suites"] == [], version
    for version in _SPOKEN:
        accepted = found[f"{version}_cipher_suites"]["accepted_cipher_suites"]
        assert accepted != [], version
        assert not any(each["cipher_suite"]["is_anonymous"] for each in accepted)
        assert all(each["cipher_suite"]["key_size"] >= 128 for each in accepted)
    assert found["heartbleed"]["is_vulnerable_to_heartbleed"] is False
    assert found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"] is False
    assert found["tls_compression"]["supports_compression"] is False
    assert found["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"] is False


def _install(directory: Path) -> Path:
    """Install sslyze where its own version of cryptography is in nobody's way."""
    try:
        subprocess.run([sys.executable, "-m", "venv", directory], check=True, capture_output=True)
        subprocess.run(
            [directory / "bin" / "pip", "install", "-q", "sslyze"],
            check=True,
            capture_output=True,
            timeout=600,
        )
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"NOT SCANNED with sslyze: it cannot be installed here ({error})")
    return directory / "bin" / "sslyze"


def _scan(scanner: Path, address: str, to: Path) -> dict[str, Any]:
    """Return what each check found, by its name."""
    asked = [*_VERSIONS, "--heartbleed", "--openssl_ccs", "--compression", "--reneg"]
    asked += ["--json_out", str(to), "--sni", "pay.example.com", "--mozilla_config", "disable"]
    said = subprocess.run(
        [str(scanner), *asked, address], check=False, capture_output=True, text=True, timeout=300
    )
    assert to.exists(), said.stdout + said.stderr
    (server,) = json.loads(to.read_text())["server_scan_results"]
    assert server["scan_status"] == "COMPLETED", server
    checks = server["scan_result"]
    return {name: check["result"] for name, check in checks.items() if check and check["result"]}
