"""A command line to try, without processes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from relay.cli import application

Invoke = Callable[..., Result]

CONFIGURATION = """
listen: [{bind: "127.0.0.1:0"}]
trusted_proxies: ["127.0.0.1/32"]
admin: {bind: "127.0.0.1:0"}
upstreams: {billing: {url: "http://127.0.0.1:1/"}}
endpoints:
  - name: midtrans
    path: /midtrans/notification
    provider: midtrans
    environment: sandbox
    secrets: ["${env:MIDTRANS_SERVER_KEY}"]
    upstream: billing
  - name: vipps
    path: /vipps
    provider: vipps
    environment: test
    secrets: ["${env:VIPPS_SECRET}"]
    upstream: billing
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    return path


@pytest.fixture
def relay() -> Invoke:
    def invoke(*words: object) -> Result:
        environ = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "a-secret"}
        return CliRunner().invoke(application(), [str(word) for word in words], env=environ)

    return invoke
