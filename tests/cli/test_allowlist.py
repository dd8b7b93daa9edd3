"""Who may send can be asked without starting anything."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from netaddr import IPNetwork

from relay.cli.allowlist import (
    Allowed,
    BadList,
    Difference,
    as_json,
    differences,
    haproxy,
    nftables,
    nginx,
    parse_list,
)
from tests.cli.conftest import Invoke


def remember(directory: Path, **hosts: list[str]) -> None:
    """Write what a running relay would have kept of DNS."""
    now = datetime.now(UTC).isoformat()  # noqa: TID251 - the command asks the real clock
    saved = {
        f"{name.replace('_', '-')}.vipps.no": {
            "answered_at": now,
            "addresses": [
                {"address": each, "seen_at": now, "missing_seconds": 0.0} for each in addresses
            ],
        }
        for name, addresses in hosts.items()
    }
    (directory / "dns.json").write_bytes(orjson.dumps({"version": 1, "hosts": saved}))


def test_every_network_is_shown_with_its_origin(relay: Invoke, config: Path) -> None:
    remember(config.parent, callback_mt_1=["104.40.249.200"])
    rows = orjson.loads(relay("allowlist", "show", "-c", config, "--format", "json").output)
    origins = {row["origin"] for row in rows if row["network"] == "34.101.68.130/32"}
    assert any("2022-03-15" in origin for origin in origins)
    (found,) = [row for row in rows if row["network"] == "104.40.249.200/32"]
    assert found["endpoint"] == "vipps"
    assert (found["host"], found["origin"]) == ("callback-mt-1.vipps.no", "dns")
    assert found["last_seen"] is not None


def test_what_came_and_went_is_shown(relay: Invoke, config: Path) -> None:
    remember(config.parent, callback_mt_1=["104.40.249.200"])
    file = config.parent / "dns.json"
    saved = orjson.loads(file.read_bytes())
    host = saved["hosts"]["callback-mt-1.vipps.no"]
    host["addresses"][0]["first_seen_at"] = "2026-01-05T12:00:00Z"
    change = {"at": "2026-01-05T12:00:00Z", "change": "removed", "address": "104.40.249.201"}
    host["history"] = [change]
    file.write_bytes(orjson.dumps(saved))
    words = ("allowlist", "show", "-c", config, "--format", "json")
    (found,) = [row for row in orjson.loads(relay(*words).output) if row["host"]]
    assert found["first_seen"].startswith("2026-01-05T1")
    [row] = orjson.loads(relay(*words, "--changes").output)
    assert row["at"].startswith("2026-01-05T1")
    assert {**row, "at": ""} == {
        "endpoint": "vipps",
        "at": "",
        "host": "callback-mt-1.vipps.no",
        "change": "removed",
        "address": "104.40.249.201",
    }
    assert "removed" in relay("allowlist", "show", "-c", config, "--changes").output


def test_one_address_is_checked(relay: Invoke, config: Path) -> None:
    assert relay("allowlist", "check", "34.101.68.130", "-c", config).exit_code == 0
    assert relay("allowlist", "check", "::ffff:34.101.68.130", "-c", config).exit_code == 0
    refused = relay("allowlist", "check", "103.208.23.6", "-c", config)
    assert refused.exit_code == 1
    assert "False" in refused.output


def test_one_endpoint_is_asked(relay: Invoke, config: Path) -> None:
    words = ("allowlist", "check", "34.101.68.130", "-c", config, "--endpoint")
    assert relay(*words, "midtrans").exit_code == 0
    assert relay(*words, "vipps").exit_code == 1
    wrong = relay(*words, "other")
    assert wrong.exit_code == 2
    assert "there are: midtrans, vipps" in wrong.stderr


def test_what_is_no_address_is_a_mistake_in_the_call(relay: Invoke, config: Path) -> None:
    assert relay("allowlist", "check", "34.101.68", "-c", config).exit_code == 2


def test_what_the_configuration_changes_is_told(relay: Invoke, config: Path) -> None:
    remember(config.parent, callback_mt_1=["104.40.249.200"])
    assert relay("allowlist", "diff", "-c", config).exit_code == 0
    text = config.read_text().replace(
        "path: /vipps", 'path: /vipps\n    allowlist: {replace: ["192.0.2.0/24"]}'
    )
    config.write_text(text)
    result = relay("allowlist", "diff", "-c", config)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == [
        "vipps\tallowed here alone\t192.0.2.0/24",
        "vipps\tallowed there alone\t104.40.249.200/32",
    ]


def test_a_list_of_somebody_else_is_compared(relay: Invoke, config: Path) -> None:
    remember(config.parent, callback_mt_1=["104.40.249.200"])
    theirs = config.parent / "theirs"
    theirs.write_text("104.40.249.200 # Vipps\n192.0.2.1\n")
    words = ("allowlist", "diff", "-c", config, "--endpoint", "vipps", "--against", theirs)
    result = relay(*words, "--format", "json")
    assert result.exit_code == 1
    assert orjson.loads(result.output) == [
        {"endpoint": "vipps", "network": "192.0.2.1/32", "difference": "allowed there alone"}
    ]
    theirs.write_text("104.40.249.200\n192.0.2.1/24\n")
    wrong = relay(*words)
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith(f"{theirs}:2:1: 192.0.2.1/24 has host bits")
    assert relay(*words[:-1], config.parent / "none").exit_code == 2


def test_an_export_is_no_different_from_what_it_was_made_of(relay: Invoke, config: Path) -> None:
    remember(config.parent, callback_mt_1=["104.40.249.200"], callback_mt_2=["104.40.249.201"])
    exported = relay("allowlist", "export", "-c", config)
    assert exported.exit_code == 0, exported.stderr
    file = config.parent / "exported.json"
    file.write_text(exported.stdout)
    assert relay("allowlist", "diff", "-c", config, "--against", file).exit_code == 0


def test_hosts_without_addresses_are_named(relay: Invoke, config: Path) -> None:
    words = ("allowlist", "export", "-c", config, "--endpoint", "vipps", "--format", "haproxy")
    result = relay(*words)
    assert result.exit_code == 1
    assert "callback-mt-1.vipps.no" in result.stderr
    assert relay(*words[:4], "--format", "haproxy").exit_code == 2


def test_networks_that_overlap_are_exported_once(relay: Invoke, config: Path) -> None:
    text = config.read_text().replace(
        "path: /vipps", 'path: /vipps\n    allowlist: {replace: ["192.0.2.0/24", "192.0.2.1/32"]}'
    )
    config.write_text(text)
    words = ("allowlist", "export", "-c", config, "--endpoint", "vipps", "--format", "haproxy")
    assert relay(*words).stdout.splitlines()[2:] == ["192.0.2.0/24"]


def with_mode(config: Path, mode: str) -> None:
    text = config.read_text()
    config.write_text(
        text.replace("path: /vipps", f'path: /vipps\n    allowlist: {{mode: "{mode}"}}')
    )


def test_no_firewall_keeps_out_whom_relay_lets_in(relay: Invoke, config: Path) -> None:
    with_mode(config, "off")
    words = ("allowlist", "export", "-c", config)
    for dialect in ("nftables", "nginx"):
        result = relay(*words, "--format", dialect)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "vipps: everybody may send" in " ".join(result.stderr.split())
        assert relay(*words, "--format", dialect, "--endpoint", "midtrans").exit_code == 0
    told = relay(*words)
    assert orjson.loads(told.stdout)[1]["mode"] == "off"
    assert "vipps: relay lets in everybody (allowlist.mode: off)" in told.stderr


def test_a_list_that_is_only_reported_says_so(relay: Invoke, config: Path) -> None:
    with_mode(config, "report")
    told = relay("allowlist", "export", "-c", config, "--format", "nginx")
    assert "geo $relay_vipps" in told.stdout
    assert "vipps: relay lets in everybody (allowlist.mode: report)" in told.stderr


def test_an_endpoint_that_is_not_there_is_named_with_the_nearest(
    relay: Invoke, config: Path
) -> None:
    said = 'no endpoint named "vips"; did you mean "vipps"? there are: midtrans, vipps'
    for verb in ("show", "diff", "export"):
        result = relay("allowlist", verb, "-c", config, "--endpoint", "vips")
        assert result.exit_code == 2
        assert said in " ".join(result.stderr.split())
    theirs = config.parent / "theirs.json"
    theirs.write_text('[{"endpoint": "vips", "networks": ["192.0.2.1"]}]')
    result = relay("allowlist", "diff", "-c", config, "--against", theirs)
    assert (result.exit_code, result.stderr) == (2, f"{theirs}: {said}\n")
    # What is there and not asked for is no mistake.
    theirs.write_text('[{"endpoint": "midtrans", "networks": ["192.0.2.1"]}]')
    words = ("allowlist", "diff", "-c", config, "--against", theirs, "--endpoint", "vipps")
    assert relay(*words).exit_code == 0


# ---- differences ----------------------------------------------------------------------------


def networks(*texts: str) -> list[IPNetwork]:
    return [IPNetwork(text) for text in texts]


def test_lists_are_compared_by_their_addresses() -> None:
    halves = networks("192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32")
    assert differences(networks("192.0.2.0/24", "2001:db8::/32"), halves) == []


def test_what_is_in_one_alone_is_told_in_the_fewest_networks() -> None:
    found = differences(networks("192.0.2.0/24"), networks("192.0.2.0/25", "198.51.100.1"))
    assert found == [
        Difference(IPNetwork("192.0.2.128/25"), allowed=True),
        Difference(IPNetwork("198.51.100.1/32"), allowed=False),
    ]


def test_a_list_has_one_network_a_line() -> None:
    text = "# ours\n192.0.2.0/24 # office\n\n  2001:db8::1;\n"
    assert parse_list(text) == networks("192.0.2.0/24", "2001:db8::1")
    assert parse_list("") == []


def test_what_relay_wrote_is_read_by_endpoint() -> None:
    exported = orjson.dumps(as_json([Allowed("a", "enforce", tuple(networks("192.0.2.0/24")))]))
    assert parse_list(exported.decode()) == {"a": networks("192.0.2.0/24")}
    shown = [{"endpoint": "a", "network": "192.0.2.1/32"}, {"endpoint": "a", "network": "::1/128"}]
    assert parse_list(orjson.dumps(shown).decode()) == {"a": networks("192.0.2.1/32", "::1/128")}


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("192.0.2.1\n  192.0.2.1/24", 2, 3),
        ("nonsense", 1, 1),
        ("[{]", 1, 3),
        ("[1]", 1, 1),
        ('[{"endpoint": "a"}]', 1, 1),
        ('[{"endpoint": "a", "network": "x"}]', 1, 1),
    ],
)
def test_what_is_no_list_is_refused_with_its_place(text: str, line: int, column: int) -> None:
    with pytest.raises(BadList) as caught:
        parse_list(text)
    assert (caught.value.line, caught.value.column) == (line, column)


# ---- exports for firewalls and proxies ------------------------------------------------------


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
