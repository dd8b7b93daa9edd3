"""What is handed to operators as `deploy/` works as it stands, but for ports and certificates."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.harness.clock import wait_until
from tests.harness.ports import free_port
from tests.system.fronts import (
    HAPROXY,
    NGINX,
    SENDER,
    STRANGER,
    STREAM,
    Front,
    Relay,
    haproxy,
    message,
    needed,
    nginx,
    replaced,
    seen,
    send,
)

pytestmark = pytest.mark.debian

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
CERTIFICATES = ("/etc/haproxy/pay.example.com.pem", "/etc/nginx/tls/fullchain.pem")
KEY = "/etc/nginx/tls/privkey.pem"


def deployed(name: str, directory: Path, changes: Mapping[str, object]) -> str:
    """Return a file of `deploy/` with other ports, and the test's certificate."""
    text = replaced((DEPLOY / name).read_text(), changes)
    for each in (*CERTIFICATES, KEY):
        text = text.replace(each, str(directory / "certificate.pem"))
    return text


#: Lets HAProxy say how its checks went; one failure is enough to say so.
CHECKED = {
    "option httpchk": "log stdout format raw daemon\n  option log-health-checks\n  option httpchk",
    "server relay1": "default-server inter 500ms fall 1\n  server relay1",
}


async def serves(front: Front, relay: Relay, port: int, via: str, checked: bool = False) -> None:
    """Check that clients of this front are themselves, and its own checks content."""
    async with front:
        for client, status in ((SENDER, 200), (STRANGER, 403)):
            found = await seen(relay, port, client, trust=relay.trust)
            assert found == (status, client, via)
        if checked:
            assert await wait_until(lambda: "Health check" in front.output, 10)
            assert ("succeeded" in front.output, "DOWN" in front.output) == (True, False)
    assert await relay.node.end() == 0
    refused = relay.node.having(event="delivery", reason="proxy_header_invalid")
    assert refused == []


async def test_haproxy_passes_tls_on(tmp_path: Path, relay: Relay) -> None:
    port = free_port()
    changes = {":443": f":{port}", ":8443": f":{relay.proxied_tls}", **CHECKED}
    text = deployed("haproxy-tcp.cfg", tmp_path, changes)
    await serves(haproxy(tmp_path, text, port), relay, port, "proxy", checked=True)


async def test_haproxy_ends_tls(tmp_path: Path, relay: Relay) -> None:
    port = free_port()
    changes = {":443": f":{port}", ":8080": f":{relay.plain}", **CHECKED}
    text = deployed("haproxy-http.cfg", tmp_path, changes)
    await serves(haproxy(tmp_path, text, port), relay, port, "x-forwarded-for", checked=True)


async def test_nginx_passes_tls_on(tmp_path: Path, relay: Relay) -> None:
    needed(STREAM)
    port = free_port()
    changes = {":443": f":{port}", ":8443": f":{relay.proxied_tls}"}
    text = deployed("nginx-stream.conf", tmp_path, changes)
    await serves(nginx(tmp_path, text, port), relay, port, "proxy")


async def test_nginx_ends_tls(tmp_path: Path, relay: Relay) -> None:
    port = free_port()
    changes = {":443": f":{port}", ":8080": f":{relay.plain}"}
    text = deployed("nginx-http.conf", tmp_path, changes)
    await serves(nginx(tmp_path, text, port), relay, port, "x-forwarded-for")


# ---- when relay is down ---------------------------------------------------------------------
# Midtrans repeats 502 five times, 503 four times and 500 once.


async def stopped(front: Front, relay: Relay, port: int, told: str = "") -> set[int]:
    """Stop relay behind this front; return what senders are answered then.

    told: what the front says once its own check has noticed.
    """
    async with front:
        assert (await send(port, message(), trust=relay.trust)).status == 200
        assert await relay.node.end() == 0
        assert await wait_until(lambda: told in front.output, 10)
        return {(await send(port, message(), trust=relay.trust)).status for _ in range(5)}


@pytest.mark.parametrize("told", ["", "is DOWN"])
async def test_haproxy_answers_502_for_a_relay_that_is_down(
    told: str, tmp_path: Path, relay: Relay
) -> None:
    port = free_port()
    changes = {":443": f":{port}", ":8080": f":{relay.plain}", **CHECKED}
    front = haproxy(tmp_path, deployed("haproxy-http.cfg", tmp_path, changes), port)
    assert await stopped(front, relay, port, told) == {502}


async def test_nginx_answers_502_for_a_relay_that_is_down(tmp_path: Path, relay: Relay) -> None:
    port = free_port()
    text = deployed("nginx-http.conf", tmp_path, {":443": f":{port}", ":8080": f":{relay.plain}"})
    assert await stopped(nginx(tmp_path, text, port), relay, port) == {502}


@pytest.mark.parametrize("status", [500, 503])
async def test_nginx_answers_502_for_what_it_cannot_do(
    status: int, tmp_path: Path, relay: Relay
) -> None:
    port = free_port()
    changes = {":443": f":{port}", "proxy_pass http://127.0.0.1:8080;": f"return {status};"}
    async with nginx(tmp_path, deployed("nginx-http.conf", tmp_path, changes), port):
        assert (await send(port, message(), trust=relay.trust)).status == 502


@pytest.mark.parametrize("name", sorted(path.name for path in DEPLOY.glob("haproxy-*.cfg")))
def test_haproxy_accepts(name: str, tmp_path: Path, certificate: None) -> None:
    needed(HAPROXY)
    file = tmp_path / name
    file.write_text(deployed(name, tmp_path, {}))
    # -dW: a warning is a fault.
    checked = subprocess.run(
        [HAPROXY, "-c", "-dW", "-f", file], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", sorted(path.name for path in DEPLOY.glob("nginx-*.conf")))
def test_nginx_accepts(name: str, tmp_path: Path, certificate: None) -> None:
    needed(NGINX, *([STREAM] if "stream" in name else []))
    file = tmp_path / name
    # A port that needs no rights: it is bound while the file is checked.
    text = deployed(name, tmp_path, {":443": f":{free_port()}"})
    file.write_text(text.replace("\nhttp {", f"\nhttp {{ access_log {tmp_path}/access.log;"))
    checked = subprocess.run(
        [NGINX, "-t", "-q", "-p", tmp_path, "-c", file, "-g", f"pid {tmp_path}/pid;"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
