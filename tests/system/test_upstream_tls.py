"""Upstreams behind TLS: what is wrong is said exactly, and certificates are exchanged under way."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.authority import Authority, Pair
from tests.harness.clock import wait_until
from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.node import Node
from tests.harness.ports import free_port
from tests.harness.tls_server import TlsServer
from tests.harness.wire import exchange
from tests.system.fronts import Front, haproxy, nginx

NAME = "billing.internal"


async def delivered(node: Node) -> None:
    raw = midtrans_request(midtrans_body())
    assert (await exchange(node.public[0], raw)).status == 200


@dataclass
class Files:
    """What the configuration of a relay names, and the configuration."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.directory / "client.crt"

    @property
    def key(self) -> Path:
        return self.directory / "client.key"

    @property
    def pair(self) -> tuple[Path, Path]:
        return self.certificate, self.key

    def show(self, pair: Pair) -> None:
        shutil.copy(pair.certificate, self.certificate)
        shutil.copy(pair.key, self.key)

    def configured(self, url: str, *, shows: bool = True, mode: str = "store") -> Path:
        """Write a configuration whose upstream is called with these files."""
        shown = f", certificate: {self.certificate}, key: {self.key}" if shows else ""
        tls = f"    tls: {{ca: {self.ca}, server_name: {NAME}{shown}}}"
        text = configuration(url).replace("    timeout: 2s", f"{tls}\n    timeout: 2s")
        path = self.directory / "relay.yaml"
        path.write_text(text.replace("upstream: billing", f"upstream: billing\n    mode: {mode}"))
        return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    directory = tmp_path / "relay"
    directory.mkdir()
    return Files(directory)


# ---- certificates that are exchanged --------------------------------------------------------


@pytest.mark.parametrize("mode", ["store", "proxy"])
async def test_a_client_certificate_is_exchanged_when_its_files_change(
    mode: str, files: Files, tmp_path: Path
) -> None:
    """Half of a new pair is refused, and the one before stays until the other half is there."""
    own, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    first, second = clients.issue("relay"), clients.issue("relay")
    shutil.copy(own.file, files.ca)
    files.show(first)
    with TlsServer(own.server(NAME, clients=clients)) as upstream:
        config = files.configured(upstream.url, mode=mode)
        async with Node(config, ENVIRON, options=("--watch",)) as node:
            await delivered(node)
            assert await wait_until(lambda: upstream.serials == [first.serial], 10)
            shutil.copy(second.certificate, files.certificate)
            refused = await node.wait_for(event="reload_refused")
            assert "do not fit together" in refused["detail"]
            await delivered(node)
            assert await wait_until(lambda: upstream.serials == [first.serial] * 2, 10)
            shutil.copy(second.key, files.key)
            await node.wait_for(event="reloaded")
            await delivered(node)
            assert await wait_until(lambda: len(upstream.serials) == 3, 10)
            assert upstream.serials[-1] == second.serial
            assert await node.end() == 0
            assert node.noise == []


@pytest.mark.proof
async def test_files_are_looked_at_without_a_reload(files: Files, tmp_path: Path) -> None:
    """As those of listeners are; the configuration itself is not read again."""
    own, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    first, second = clients.issue("relay"), clients.issue("relay")
    shutil.copy(own.file, files.ca)
    files.show(first)
    with TlsServer(own.server(NAME, clients=clients)) as upstream:
        config = files.configured(upstream.url)
        async with Node(config, ENVIRON) as node:
            await delivered(node)
            config.write_text("nothing that could be read")
            shutil.copy(second.certificate, files.certificate)
            kept = await node.wait_for(event="upstream_tls_kept")
            assert "do not fit together" in kept["detail"]
            shutil.copy(second.key, files.key)
            renewed = await node.wait_for(event="upstream_tls_renewed")
            assert set(renewed["files"]) == {str(each) for each in (files.ca, *files.pair)}
            await delivered(node)
            assert await wait_until(lambda: len(upstream.serials) == 2, 10)
            assert upstream.serials == [first.serial, second.serial]
            assert node.having(event="reloaded") == node.having(event="reload_refused") == []


async def test_an_authority_is_exchanged_by_the_swap_of_a_link(
    files: Files, tmp_path: Path
) -> None:
    """As Kubernetes does it. What could not be delivered meanwhile is delivered then."""
    before, after = Authority(tmp_path, "before"), Authority(tmp_path, "after")
    for name, authority in (("..1", before), ("..2", after)):
        (files.directory / name).mkdir()
        shutil.copy(authority.file, files.directory / name / "ca.pem")
    data = files.directory / "..data"
    data.symlink_to("..1")
    files.ca.symlink_to("..data/ca.pem")
    with TlsServer(before.server(NAME)) as upstream:
        config = files.configured(upstream.url, shows=False)
        async with Node(config, ENVIRON, options=("--watch",)) as node:
            await delivered(node)
            await node.wait_for(event="attempt", outcome="delivered")
            # The connection that is kept would go on with what it has.
            upstream.renew(after.server(NAME))
            await delivered(node)
            await node.wait_for(event="attempt", cause="tls: unknown CA")
            (files.directory / "..new").symlink_to("..2")
            (files.directory / "..new").rename(data)
            await node.wait_for(event="reloaded")
            await node.wait_for(2, event="attempt", outcome="delivered")
            assert upstream.received == 2


# ---- causes, told by real servers -----------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """What is served at one port: with which pair, and to whom."""

    port: int
    pair: Pair
    clients: Authority


Server = Callable[[Path, Sequence[Served]], Front]


def nginx_serving(directory: Path, served: Sequence[Served]) -> Front:
    servers = "".join(
        f"""
  server {{
    listen 127.0.0.1:{each.port} ssl;
    ssl_certificate {each.pair.certificate};
    ssl_certificate_key {each.pair.key};
    ssl_client_certificate {each.clients.file};
    ssl_verify_client on;
    location / {{ return 200; }}
  }}"""
        for each in served
    )
    text = f"\nevents {{}}\nhttp {{{servers}\n}}\n"
    return nginx(directory, text, *(each.port for each in served))


def haproxy_serving(version: str) -> Server:
    def front(directory: Path, served: Sequence[Served]) -> Front:
        text = ""
        for each in served:
            chain = directory / f"{each.port}.pem"
            chain.write_bytes(each.pair.certificate.read_bytes() + each.pair.key.read_bytes())
            tls = f"ssl crt {chain} ca-file {each.clients.file} verify required {version}"
            text += f"""
frontend tls-{each.port}
  mode http
  bind 127.0.0.1:{each.port} {tls}
  http-request return status 200
"""
        return haproxy(directory, text, *(each.port for each in served))

    return front


SERVERS = {
    "nginx": nginx_serving,
    "haproxy-1.2": haproxy_serving("force-tlsv12"),
    "haproxy-1.3": haproxy_serving("force-tlsv13"),
}


@dataclass(frozen=True)
class Scene:
    """What is wrong in one scene. `cause`: what is said of it; None where nothing is wrong."""

    cause: str | None
    name: str = NAME
    years: tuple[int, int] = (2020, 2120)
    client: str | None = "clients"
    client_years: tuple[int, int] = (2020, 2120)
    ca: str = "own"


SCENES = {
    "right": Scene(None),
    "unshown": Scene("tls: client certificate wanted", client=None),
    "foreign": Scene("tls: client certificate refused", client="own"),
    "outdated": Scene("tls: client certificate refused", client_years=(2020, 2021)),
    "untrusted": Scene("tls: unknown CA", ca="clients"),
    "expired": Scene("tls: expired", years=(2020, 2021)),
    "early": Scene("tls: not yet valid", years=(2110, 2120)),
    "misnamed": Scene("tls: wrong name", name="ledger.internal"),
}

ENDPOINT = """
  - name: {name}
    path: /{name}
    provider: midtrans
    environment: sandbox
    secrets: ["${{env:MIDTRANS_SERVER_KEY}}"]
    upstream: {name}
    mode: {mode}"""


def scenes(directory: Path, mode: str) -> tuple[list[Served], Path]:
    """Return what is served in each scene, and the configuration that calls all of them."""
    authorities = {each: Authority(directory, each) for each in ("own", "clients")}
    served, upstreams = [], ""
    for name, scene in SCENES.items():
        pair = authorities["own"].issue(scene.name, years=scene.years)
        served.append(Served(free_port(), pair, authorities["clients"]))
        tls = f"ca: {authorities[scene.ca].file}, server_name: {NAME}"
        if scene.client is not None:
            shown = authorities[scene.client].issue("relay", years=scene.client_years)
            tls += f", certificate: {shown.certificate}, key: {shown.key}"
        url = f"https://127.0.0.1:{served[-1].port}"
        retry = "{schedule: [50ms]}"
        upstreams += f"\n  {name}: {{url: '{url}', tls: {{{tls}}}, retry: {retry}}}"
    config = directory / "relay.yaml"
    config.write_text(
        f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0"}}
upstreams:{upstreams}
endpoints:{"".join(ENDPOINT.format(name=name, mode=mode) for name in SCENES)}
"""
    )
    return served, config


async def answered(node: Node, scene: str, **changes: str) -> int:
    raw = midtrans_request(midtrans_body(**changes))
    raw = raw.replace(b"/midtrans/notification", f"/{scene}".encode())
    return (await exchange(node.public[0], raw)).status


@pytest.mark.debian
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
async def test_what_is_wrong_is_said_exactly(server: Server, tmp_path: Path) -> None:
    served, config = scenes(tmp_path, "store")
    async with server(tmp_path, served), Node(config, ENVIRON) as node:
        for name, scene in SCENES.items():
            assert await answered(node, name) == 200
            if scene.cause is None:
                await node.wait_for(event="attempt", upstream=name, outcome="delivered")
                continue
            # It is tried again as ever.
            await node.wait_for(3, event="attempt", upstream=name)
            lines = node.having(event="attempt", upstream=name)
            assert {each["outcome"] for each in lines} == {"unreachable"}, name
            assert {each["cause"] for each in lines} == {scene.cause}, name
        assert await node.end() == 0
        assert node.noise == []


@pytest.mark.debian
@pytest.mark.proof
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
async def test_a_sender_that_waits_is_told_to_come_again(server: Server, tmp_path: Path) -> None:
    served, config = scenes(tmp_path, "proxy")
    async with server(tmp_path, served), Node(config, ENVIRON) as node:
        for name, scene in SCENES.items():
            assert await answered(node, name) == (200 if scene.cause is None else 502), name
            line = await node.wait_for(event="attempt", upstream=name)
            assert line.get("cause") == scene.cause, name


@pytest.mark.debian
@pytest.mark.proof
@pytest.mark.parametrize("version", ["force-tlsv12", "force-tlsv13"])
async def test_an_alert_is_told_whatever_the_size_of_the_request(
    version: str, tmp_path: Path
) -> None:
    """It comes while the request is being written, and the connection is reset behind it."""
    served, config = scenes(tmp_path, "store")
    async with haproxy_serving(version)(tmp_path, served), Node(config, ENVIRON) as node:
        for _ in range(9):
            assert await answered(node, "unshown", padding="x" * 200_000) == 200
        await node.wait_for(9, event="attempt")
        causes = {each["cause"] for each in node.having(event="attempt")}
        assert causes == {"tls: client certificate wanted"}
