"""`relay check` and `relay schema`."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from relay.cli import check
from relay.config.loader import text
from relay.core.sealing import SealingKey
from relay.core.secret import Secret
from relay.providers.builtin import provider_named
from relay.spool.sqlite import open_spool
from tests.config.files import GOOD, VIPPS
from tests.harness.clock import ManualClock
from tests.harness.deliveries import RECEIVED, verified
from tests.harness.wire import write_pair

# Where the test's files lie is a finding of its own elsewhere.
SERVICE = "spool: {path: /srv/relay.db}\n"

# Asked before delivery, so that there is nothing to say of it.
ASKED = GOOD + "    confirm: {with: status}\n"


def run(*arguments: str, **environ: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(check.check)
    app.command()(check.schema)
    secrets = {"KEY": "canary-1", "OTHER": "canary-2"}
    result = CliRunner().invoke(app, arguments, env={**secrets, **environ})
    assert "canary" not in result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "relay.yaml"


def test_a_good_file_is_explained_and_exits_0(file: Path) -> None:
    file.write_text(ASKED + VIPPS + SERVICE)
    result = run("check", "-c", str(file))
    midtrans, vipps = provider_named("midtrans").info, provider_named("vipps").info
    listings = midtrans.environments["production"].listings
    hosts = ", ".join(vipps.environments["production"].hosts)
    asked = "GET status at https://api.midtrans.com, at most 10 a second"
    rows = [
        ("listener", "127.0.0.1:8080"),
        ("speaks", "HTTP, not encrypted"),
        ("PROXY protocol", "off"),
        ("spool", "/srv/relay.db"),
        ("chosen by", "spool.path"),
        ("endpoint", "midtrans"),
        ("path", "/midtrans/notification"),
        ("provider", "Midtrans HTTP notification, production"),
        ("other addresses", "refused"),
        *(("may send", f"{len(each.networks)} networks: {each.origin}") for each in listings),
        ("verified by", f"1 secret; {midtrans.signature}"),
        ("confirmed by", f"{asked}; without an answer, held when give_up_after is over"),
        (
            "subscriptions",
            (
                "refused, for Midtrans does not sign them; if you have some, give them an endpoint"
                " of their own with secrets: [] and unsigned: accept"
            ),
        ),
        ("goes to", "billing, http://127.0.0.1:8081/webhooks"),
        ("endpoint", "vipps"),
        ("path", "/vipps"),
        ("provider", "Vipps MobilePay Webhooks API, production"),
        ("other addresses", "refused"),
        ("may send", f"8 host names: {hosts}"),
        ("verified by", f"1 secret; {vipps.signature}"),
        ("goes to", "billing, http://127.0.0.1:8081/webhooks"),
    ]
    assert result.stdout.splitlines() == ["\t".join(row) for row in rows]
    assert (result.exit_code, result.stderr) == (0, "")


def test_an_endpoint_without_secrets_is_verified_by_address(file: Path) -> None:
    unsigned = GOOD.replace('["${env:KEY}"]', "[]") + "    unsigned: accept\n"
    file.write_text(unsigned + "    allowlist: {replace: [192.0.2.1]}\n" + SERVICE)
    lines = run("check", "-c", str(file)).stdout.splitlines()
    assert "may send\t1 network: configuration" in lines
    assert "verified by\taddress only; unsigned deliveries are accepted" in lines


@pytest.mark.parametrize(
    ("mode", "said"), [("off", "may send too"), ("report", "may send too, and are counted")]
)
def test_it_is_said_what_becomes_of_other_addresses(file: Path, mode: str, said: str) -> None:
    file.write_text(ASKED + f"    allowlist: {{mode: {mode}}}\n" + SERVICE)
    assert f"other addresses\t{said}" in run("check", "-c", str(file)).stdout.splitlines()


def test_it_is_said_whether_anybody_is_asked_before_delivery(file: Path) -> None:
    file.write_text(GOOD + VIPPS + SERVICE)
    lines = run("check", "-c", str(file)).stdout.splitlines()
    # Vipps has nobody to ask.
    said = [line for line in lines if line.startswith("confirmed by")]
    assert said == ["confirmed by\tnobody is asked before delivery"]
    found = json.loads(run("check", "-c", str(file), "--format", "json").stdout)
    assert [each["confirm"] for each in found["endpoints"]] == [None, None]
    other = 'confirm: {on_error: deliver, rate: 3, url: "https://status.example.com"}'
    file.write_text(f"{GOOD}    {other}\n" + SERVICE)
    assert (
        "confirmed by\tGET status at https://status.example.com, at most 3 a second; without an"
        " answer, sent unconfirmed after confirm.wait, or half of give_up_after if that is sooner"
    ) in run("check", "-c", str(file)).stdout.splitlines()


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_query_of_an_upstream_may_hold_a_key_and_is_not_shown(file: Path, form: str) -> None:
    file.write_text(ASKED.replace("/webhooks", "/webhooks?key=canary-3") + SERVICE)
    result = run("check", "-c", str(file), "--format", form)
    assert "http://127.0.0.1:8081/webhooks?…" in result.stdout


UNSIGNED = """\
  - name: subscriptions
    path: /midtrans/subscriptions
    provider: midtrans
    environment: production
    secrets: []
    unsigned: accept
    upstream: billing
"""


def test_it_is_said_who_takes_messages_about_subscriptions(file: Path) -> None:
    file.write_text(ASKED + UNSIGNED + VIPPS + SERVICE)
    lines = run("check", "-c", str(file)).stdout.splitlines()
    assert [line for line in lines if line.startswith("subscriptions")] == [
        "subscriptions\tbelong to the endpoint subscriptions",
        "subscriptions\ttaken as they come, for Midtrans does not sign them",
    ]

    def told() -> list[str | None]:
        found = json.loads(run("check", "-c", str(file), "--format", "json").stdout)
        return [each["subscriptions"] for each in found["endpoints"]]

    assert told() == ["subscriptions", "taken", None]
    # The sandbox's are others.
    file.write_text(ASKED + UNSIGNED.replace("production", "sandbox") + SERVICE)
    assert told() == ["refused", "taken"]


def test_it_is_said_which_challenges_are_answered(file: Path) -> None:
    text = GOOD.replace("midtrans\n    environment: production", "meta")
    file.write_text(text + "    allowlist: {mode: off}\n" + SERVICE)
    environ = {"META_VERIFY_TOKEN": "canary-of-the-handshake"}
    (told,) = json.loads(run("check", "-c", str(file), "--format", "json", **environ).stdout)[
        "endpoints"
    ][0]["challenges"]
    assert told.endswith("the parameter hub.verify_token is a secret, signed or not")
    assert f"challenge\t{told}" in run("check", "-c", str(file), **environ).stdout.splitlines()


def test_it_is_said_how_connections_begin(file: Path) -> None:
    write_pair(file.parent)
    proxied = '8080"\n    tls: {certificate: certificate.pem, key: key.pem}\n'
    proxied += "    proxy_protocol: true\n"
    file.write_text(ASKED.replace('8080"\n', proxied) + SERVICE)
    assert run("check", "-c", str(file)).stdout.splitlines()[:3] == [
        "listener\t127.0.0.1:8080",
        "speaks\tHTTPS",
        "PROXY protocol\trequired, v1 or v2, and only from trusted_proxies",
    ]
    found = json.loads(run("check", "-c", str(file), "--format", "json").stdout)
    assert found["listeners"] == [{"bind": "127.0.0.1:8080", "tls": True, "proxy_protocol": True}]


def test_warnings_go_to_standard_error_and_exit_1_only_when_strict(file: Path) -> None:
    file.write_text(ASKED + "    allowlist: {mode: off}\n" + SERVICE)
    warning = (
        f"{file}:14:23: warning: endpoints.0.allowlist.mode: anybody may send; only the signature"
        " is checked\n"
    )
    result = run("check", "-c", str(file))
    assert "warning" not in result.stdout
    assert (result.exit_code, result.stderr) == (0, warning)
    strict = run("check", "-c", str(file), "--strict")
    assert (strict.exit_code, strict.stderr, strict.stdout) == (1, warning, result.stdout)


def test_warnings_in_json_exit_1_only_when_strict(file: Path) -> None:
    file.write_text(ASKED + "    allowlist: {mode: off}\n" + SERVICE)
    words = ("check", "-c", str(file), "--format", "json")
    result, strict = run(*words), run(*words, "--strict")
    assert [each["code"] for each in json.loads(result.stdout)["findings"]] == ["allowlist-off"]
    assert (result.exit_code, result.stderr) == (0, "")
    assert (strict.exit_code, strict.stdout) == (1, result.stdout)


def test_without_warnings_strict_exits_0(file: Path) -> None:
    file.write_text(ASKED + SERVICE)
    result = run("check", "-c", str(file), "--strict")
    assert (result.exit_code, result.stderr) == (0, "")


def test_mistakes_go_to_standard_error_and_exit_2(file: Path) -> None:
    file.write_text(GOOD + "    mode: stroe\nlimit: {}\n")
    result = run("check", "-c", str(file))
    assert result.stdout == ""
    assert result.stderr == (
        f'{file}:13:11: endpoints.0.mode: write one of store, proxy; did you mean "store"?\n'
        f'{file}:14:1: limit: unknown key "limit"; did you mean "limits"?\n'
    )
    assert result.exit_code == 2


def test_it_is_said_where_the_spool_lies_and_why(file: Path) -> None:
    file.write_text(ASKED)
    state = file.parent / "state"
    state.mkdir()
    lines = run("check", "-c", str(file), STATE_DIRECTORY=str(state)).stdout.splitlines()
    assert lines[3:5] == [f"spool\t{state}/relay.db", "chosen by\t$STATE_DIRECTORY"]
    words = ("check", "-c", str(file), "--format", "json")
    found = json.loads(run(*words, STATE_DIRECTORY=str(state)).stdout)
    assert found["spool"] == {"path": f"{state}/relay.db", "chosen_by": "$STATE_DIRECTORY"}


def test_a_missing_file_is_a_mistake(file: Path) -> None:
    result = run("check", "-c", str(file))
    assert result.stderr == (
        f"{file}:1:1: there is no such file; name one with -c FILE or in RELAY_CONFIG, or write"
        " one with relay init\n"
    )
    assert result.exit_code == 2


def test_json(file: Path) -> None:
    file.write_text(ASKED + "    allowlist: {mode: off, add: [192.0.2.1]}\n" + SERVICE)
    result = run("check", "-c", str(file), "--format", "json")
    found = json.loads(result.stdout)
    assert found["valid"] is True
    assert found["file"] == str(file)
    assert found["listeners"] == [{"bind": "127.0.0.1:8080", "tls": False, "proxy_protocol": False}]
    endpoint = found["endpoints"][0]
    assert endpoint["senders"]["origins"]["configuration"] == 1
    assert endpoint["senders"]["networks"] == sum(endpoint["senders"]["origins"].values())
    assert endpoint["verified"]["secrets"] == 1
    assert endpoint["confirm"] == {
        "with": "status",
        "url": "https://api.midtrans.com",
        "rate": 10,
        "on_error": "hold",
    }
    assert endpoint["upstream"] == {"name": "billing", "url": "http://127.0.0.1:8081/webhooks"}
    assert found["findings"] == [
        {
            "file": str(file),
            "line": 14,
            "column": 23,
            "where": "endpoints.0.allowlist.mode",
            "code": "allowlist-off",
            "message": "anybody may send; only the signature is checked",
        }
    ]
    assert result.exit_code == 0


def test_mistakes_in_json(file: Path) -> None:
    file.write_text(GOOD + "limit: {}\n")
    result = run("check", "-c", str(file), "--format", "json")
    message = 'unknown key "limit"; did you mean "limits"?'
    assert json.loads(result.stdout) == {
        "valid": False,
        "problems": [
            {"file": str(file), "line": 13, "column": 1, "where": "limit", "message": message}
        ],
    }
    assert result.stderr == f"{file}:13:1: limit: {message}\n"
    assert result.exit_code == 2


def test_certificates_of_the_listeners_are_looked_at(file: Path) -> None:
    write_pair(file.parent, issuer="pay.example.com")
    tls = '8080"\n    tls: {certificate: certificate.pem, key: key.pem}\n'
    file.write_text(ASKED.replace('8080"\n', tls) + SERVICE)
    result = run("check", "-c", str(file))
    assert f"{file}:3:24: warning: listen.0.tls.certificate: the certificate is self-signed" in (
        result.stderr
    )


def test_certificates_of_upstreams_are_looked_at(file: Path) -> None:
    certificate, _ = write_pair(file.parent, end=datetime(2020, 1, 1, tzinfo=UTC))
    (file.parent / "ca.pem").write_bytes(certificate.read_bytes())
    tls = 'https://b/", tls: {certificate: certificate.pem, key: key.pem, ca: ca.pem}'
    file.write_text(ASKED.replace('http://127.0.0.1:8081/webhooks"', tls) + SERVICE)
    result = run("check", "-c", str(file))
    assert "upstreams.billing.tls.certificate: the client certificate ended on 2020-01-01" in (
        result.stderr
    )
    assert "upstreams.billing.tls.ca: the last authority in this file ended on 2020-01-01" in (
        result.stderr
    )


def test_the_schema_is_printed() -> None:
    result = run("schema")
    assert result.stdout == text()
    assert result.exit_code == 0


# ---- what the spool holds -------------------------------------------------------------------


async def test_events_of_an_upstream_that_is_gone_are_told(file: Path) -> None:
    path = file.parent / "relay.db"
    spool = await open_spool(path, ManualClock(RECEIVED))
    await spool.put(verified(upstream="ledger"))
    await spool.put(verified(key="2", upstream="billing"))
    await spool.close()
    file.write_text(ASKED)
    before = path.read_bytes()
    result = await asyncio.to_thread(run, "check", "-c", str(file), "--format", "json")
    [told] = [
        each for each in json.loads(result.stdout)["findings"] if each["code"] == "upstream_missing"
    ]
    assert told["where"] == "upstreams"
    assert told["message"] == (
        'events wait for "ledger" since 2026-01-05T12:00:00.000Z, and it is not configured: name'
        " it again"
    )
    assert path.read_bytes() == before


async def test_keys_that_rows_need_or_that_nothing_needs_are_told(file: Path) -> None:
    path, keys = file.parent / "relay.db", [f"{digit}123456789abcdef" * 4 for digit in "78"]
    spool = await open_spool(path, ManualClock(RECEIVED), keys=[SealingKey(Secret(keys[0]))])
    await spool.put(verified())
    await spool.close()
    names = {"SEAL0": keys[0], "SEAL1": keys[1]}
    said, complaint = [], ""
    for written in ("['${env:SEAL1}', '${env:SEAL0}']", "['${env:SEAL0}', '${env:SEAL1}']", "[]"):
        file.write_text(ASKED + f"spool: {{path: {path}, encrypt: {written}}}\n")
        result = await asyncio.to_thread(
            lambda: run("check", "-c", str(file), "--format", "json", **names)
        )
        told = json.loads(result.stdout)
        codes = [each["code"] for each in told.get("findings", [])]
        said.append((result.exit_code, told["valid"], "key-unused" in codes))
        complaint = result.stderr
    assert said == [(0, True, False), (0, True, True), (2, False, False)]
    assert "1 row of the spool is sealed with the key" in complaint


def test_the_keys_of_the_spool_are_told_by_their_fingerprints(file: Path) -> None:
    written = "0123456789abcdef" * 4
    fingerprint = SealingKey(Secret(written)).fingerprint
    file.write_text(ASKED + "spool: {path: /srv/relay.db, encrypt: ['${env:SEAL}']}\n")
    result = run("check", "-c", str(file), SEAL=written)
    table = [("spool", "/srv/relay.db"), ("chosen by", "spool.path"), ("sealed with", fingerprint)]
    assert "\n".join("\t".join(row) for row in table) in result.stdout
    assert written not in result.output


@pytest.mark.parametrize("content", [None, b"", b"no database" * 100])
def test_without_a_spool_there_is_nothing_to_tell_of_it(file: Path, content: bytes | None) -> None:
    file.write_text(ASKED)
    if content is not None:
        (file.parent / "relay.db").write_bytes(content)
    result = run("check", "-c", str(file), "--format", "json")
    assert "upstream_missing" not in result.stdout
    assert (file.parent / "relay.db").exists() is (content is not None)
