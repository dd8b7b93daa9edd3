"""What is exported is what the other program reads."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pytest
from netaddr import IPNetwork

from relay.cli.firewall import Allowed, as_json, haproxy, nftables, nginx

LISTS = [
    Allowed("shop", "enforce", (IPNetwork("192.0.2.0/24"), IPNetwork("2001:db8::/32"))),
    Allowed("a-b", "report", (IPNetwork("192.0.2.9/32"),)),
    Allowed("A_B", "report", ()),
    Allowed("2nd", "enforce", (IPNetwork("0.0.0.0/0"),)),
]


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed: its export was NOT checked")
    return found


@pytest.mark.debian
def test_nginx_takes_it(tmp_path: Path) -> None:
    (tmp_path / "relay.conf").write_text(nginx(LISTS))
    tested = "".join(f"$relay_{name}" for name in ("shop", "a_b", "a_b_", "endpoint_2nd"))
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}}\n"
        f"http {{ access_log off; include {tmp_path}/relay.conf;\n"
        f'map "{tested}" $all {{ default 1; }} }}\n'
    )
    run(program("nginx"), "-t", "-q", "-p", tmp_path, "-c", tmp_path / "nginx.conf")


@pytest.mark.debian
@pytest.mark.parametrize("allowed", LISTS, ids=lambda each: each.endpoint)
def test_haproxy_takes_it(allowed: Allowed, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(haproxy([allowed]))
    (tmp_path / "haproxy.cfg").write_text(
        "defaults\n  mode http\n  timeout client 1s\n  timeout connect 1s\n  timeout server 1s\n"
        f"frontend f\n  bind {tmp_path}/socket\n  acl ok src -f {tmp_path}/list\n"
        "  http-request deny unless ok\n"
    )
    run(program("haproxy"), "-c", "-f", tmp_path / "haproxy.cfg")


@pytest.mark.debian
def test_nft_takes_it(tmp_path: Path) -> None:
    (tmp_path / "relay.nft").write_text(nftables(LISTS))
    run(program("nft"), "-c", "-f", tmp_path / "relay.nft")


def test_sets_are_filled_anew() -> None:
    assert nftables(LISTS[:1]) == (
        "# Written by `relay allowlist export`.\n"
        "# shop: 2 networks, mode enforce\n"
        "table inet relay {\n"
        "    set shop_v4 { type ipv4_addr; flags interval; }\n"
        "    set shop_v6 { type ipv6_addr; flags interval; }\n"
        "}\n"
        "flush set inet relay shop_v4\n"
        "add element inet relay shop_v4 { 192.0.2.0/24 }\n"
        "flush set inet relay shop_v6\n"
        "add element inet relay shop_v6 { 2001:db8::/32 }\n"
    )


def test_an_empty_list_fills_nothing() -> None:
    assert "add element" not in nftables(LISTS[2:3])


def test_a_file_for_haproxy_holds_one_endpoint() -> None:
    with pytest.raises(ValueError, match="--endpoint, one of shop, a-b"):
        haproxy(LISTS[:2])


def test_json_names_the_endpoint_and_its_mode() -> None:
    told = orjson.loads(orjson.dumps(as_json(LISTS[1:2])))
    assert told == [{"endpoint": "a-b", "mode": "report", "networks": ["192.0.2.9/32"]}]


@pytest.mark.parametrize("writer", [nftables, nginx, haproxy])
def test_who_lets_in_everybody_gets_no_list(
    writer: Callable[[Sequence[Allowed]], str],
) -> None:
    lists = [Allowed("shop", "off", (IPNetwork("192.0.2.0/24"),))]
    with pytest.raises(ValueError, match=r"shop: everybody may send .* write mode: enforce"):
        writer(lists)
