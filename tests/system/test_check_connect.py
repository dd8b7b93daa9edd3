"""`relay check --connect` against Debian's nginx and HAProxy, as they stand before services."""

import asyncio
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.harness.authority import Authority
from tests.harness.deliveries import ENVIRON, configuration
from tests.harness.ports import free_port
from tests.system.fronts import haproxy, nginx

pytestmark = pytest.mark.debian

_NGINX = """
events {{}}
http {{
  server {{
    listen 127.0.0.1:{plain};
    location = /moved {{ return 301 https://elsewhere.example/in?token=canary; }}
    location / {{ limit_except GET {{ deny all; }} return 405; }}
  }}
  server {{
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {server.certificate};
    ssl_certificate_key {server.key};
    location / {{ if ($http_authorization != "Bearer canary-token") {{ return 401; }} return 204; }}
  }}
  server {{
    listen 127.0.0.1:{mutual} ssl;
    ssl_certificate {server.certificate};
    ssl_certificate_key {server.key};
    ssl_client_certificate {clients.file};
    ssl_verify_client on;
    location / {{ return 204; }}
  }}
}}
"""

_HAPROXY = """
frontend mutual
  mode http
  bind 127.0.0.1:{port} ssl crt {pem} ca-file {clients.file} verify required
  http-request return status 200
"""


async def test_what_stands_in_front_of_a_service_is_told(tmp_path: Path) -> None:
    ports: list[int] = []
    while len(ports) < 4:
        ports.append(free_port(ports))
    authority, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    server, own = authority.issue("localhost"), clients.issue("relay")
    foreign = Authority(tmp_path, "foreign").issue("relay")
    plain, tls, mutual, other = ports
    pem = tmp_path / "both.pem"
    pem.write_bytes(server.certificate.read_bytes() + server.key.read_bytes())
    trust = f"ca: {authority.file}"
    shown = f"{trust}, certificate: {own.certificate}, key: {own.key}"
    wrong = f"{trust}, certificate: {foreign.certificate}, key: {foreign.key}"
    token = 'auth: {bearer: "canary-token"}'
    upstreams = {
        "plain": f'url: "http://127.0.0.1:{plain}/in"',
        "moved": f'url: "http://127.0.0.1:{plain}/moved"',
        "https-on-plain": f'url: "https://localhost:{plain}/", tls: {{{trust}}}',
        "http-on-tls": f'url: "http://localhost:{tls}/"',
        "keyed": f'url: "https://localhost:{tls}/", tls: {{{trust}}}, {token}',
        "keyless": f'url: "https://localhost:{tls}/", tls: {{{trust}}}',
        "wrong-key": f'url: "https://localhost:{tls}/", tls: {{{trust}}}, auth: {{bearer: "no"}}',
        "untrusted": f'url: "https://localhost:{tls}/"',
        "misnamed": f'url: "https://localhost:{tls}/", tls: {{{trust}, server_name: b.internal}}',
    }
    for name, port in (("nginx", mutual), ("haproxy", other)):
        url = f'url: "https://localhost:{port}/"'
        upstreams |= {
            f"{name}-shown": f"{url}, tls: {{{shown}}}",
            f"{name}-missing": f"{url}, tls: {{{trust}}}",
            f"{name}-foreign": f"{url}, tls: {{{wrong}}}",
        }
    file = tmp_path / "relay.yaml"
    text = configuration("http://127.0.0.1:1")
    more = "".join(f"  {name}: {{{keys}}}\n" for name, keys in upstreams.items())
    file.write_text(text.replace("endpoints:\n", f"{more}endpoints:\n"))
    conf = _NGINX.format(plain=plain, tls=tls, mutual=mutual, server=server, clients=clients)
    proxy = _HAPROXY.format(port=other, pem=pem, clients=clients)
    async with nginx(tmp_path, conf, plain, tls, mutual), haproxy(tmp_path, proxy, other):
        command = ("check", "-c", str(file), "--connect", "--format", "json")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay", *command), env=ENVIRON, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
    assert process.returncode == 1
    assert b"canary" not in output
    last = {
        each["upstream"]: (each["steps"][-1]["step"], each["ok"], each["steps"][-1]["detail"])
        for each in orjson.loads(output)["connect"]
    }
    missing = "tls: client certificate wanted: tls.certificate and tls.key name the files of one"
    for name, (step, ok, said) in {
        "billing": ("tcp", False, "refused: nothing listens on port 1 there"),
        "plain": ("http", True, "answers 405 to HEAD: reached"),
        "moved": ("http", False, "answers 301 to HEAD: a redirect to elsewhere.example, which"),
        "https-on-plain": ("tls", False, "tls: no TLS comes back; "),
        "http-on-tls": ("http", False, "it speaks TLS, so the URL has to begin with https://"),
        "keyed": ("http", True, "answers 204 to HEAD: reached"),
        "keyless": ("http", False, "answers 401 to HEAD: it wants credentials, and none are"),
        "wrong-key": ("http", False, "answers 401 to HEAD: the credentials were refused"),
        "untrusted": ("tls", False, "tls: unknown CA: certificate of localhost; issuer "),
        "misnamed": ("tls", False, "tls: wrong name: certificate of localhost; issuer "),
        "nginx-shown": ("http", True, "answers 204 to HEAD: reached"),
        "nginx-missing": ("tls", False, missing),
        "nginx-foreign": ("tls", False, "tls: client certificate refused: "),
        "haproxy-shown": ("http", True, "answers 200 to HEAD: reached"),
        "haproxy-missing": ("tls", False, missing),
        "haproxy-foreign": ("tls", False, "tls: client certificate refused: "),
    }.items():
        assert last[name][:2] == (step, ok), (name, last[name])
        assert last[name][2].startswith(said), (name, last[name])
