"""`relay check` and `relay schema`."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from relay.cli import check
from relay.config import provider
from relay.config.schema import text
from tests.config.files import GOOD, VIPPS
from tests.config.pem import write_pair

# Where the test's files lie is a finding of its own elsewhere.
SERVICE = "spool: {path: /srv/relay.db}\n"


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
    file.write_text(GOOD + VIPPS + SERVICE)
    result = run("check", "-c", str(file))
    midtrans, vipps = provider("midtrans").facts, provider("vipps").facts
    counts = [
        f"{len(listing.networks)} networks ({listing.origin})"
        for listing in midtrans.environments["production"].listings
    ]
    hosts = vipps.environments["production"].hosts
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert rows[0] == ["endpoint", "path", "provider", "who may send", "how verified", "where to"]
    assert [cell.replace("\\\\", "\\") for cell in rows[1]] == [
        "midtrans",
        "/midtrans/notification",
        "midtrans production",
        "enforce: " + ", ".join(counts),
        f"1 secret: {midtrans.signature}",
        "billing http://127.0.0.1:8081/webhooks",
    ]
    assert rows[2][:3] == ["vipps", "/vipps", "vipps production"]
    assert rows[2][3] == f"enforce: 8 host names ({', '.join(hosts)})"
    assert len(rows) == 3
    assert (result.exit_code, result.stderr) == (0, "")


def test_an_endpoint_without_secrets_is_verified_by_address(file: Path) -> None:
    unsigned = GOOD.replace('["${env:KEY}"]', "[]") + "    unsigned: accept\n"
    file.write_text(unsigned + "    allowlist: {replace: [192.0.2.1]}\n" + SERVICE)
    row = run("check", "-c", str(file)).stdout.splitlines()[1].split("\t")
    assert row[3:5] == [
        "enforce: 1 network (configuration)",
        "by address only: unsigned deliveries are accepted",
    ]


def test_findings_follow_and_exit_1(file: Path) -> None:
    file.write_text(GOOD + "    allowlist: {mode: off}\n" + SERVICE)
    result = run("check", "-c", str(file))
    assert result.stdout.splitlines()[2:] == [
        (
            f"{file}:13:23: warning: endpoints.0.allowlist.mode: anybody may send; only the"
            " signature is checked"
        )
    ]
    assert (result.exit_code, result.stderr) == (1, "")


def test_mistakes_go_to_standard_error_and_exit_2(file: Path) -> None:
    file.write_text(GOOD + "    mode: stroe\nlimit: {}\n")
    result = run("check", "-c", str(file))
    assert result.stdout == ""
    assert result.stderr == (
        f'{file}:13:11: endpoints.0.mode: write one of store, proxy; did you mean "store"?\n'
        f'{file}:14:1: limit: unknown key "limit"; did you mean "limits"?\n'
    )
    assert result.exit_code == 2


def test_a_missing_file_is_a_mistake(file: Path) -> None:
    result = run("check", "-c", str(file))
    assert result.stderr == f"{file}:1:1: cannot read the file: No such file or directory\n"
    assert result.exit_code == 2


def test_json(file: Path) -> None:
    file.write_text(GOOD + "    allowlist: {mode: off, add: [192.0.2.1]}\n" + SERVICE)
    result = run("check", "-c", str(file), "--format", "json")
    found = json.loads(result.stdout)
    assert found["valid"] is True
    assert found["file"] == str(file)
    assert found["listeners"] == [{"bind": "127.0.0.1:8080", "tls": False}]
    endpoint = found["endpoints"][0]
    assert endpoint["senders"]["origins"]["configuration"] == 1
    assert endpoint["senders"]["networks"] == sum(endpoint["senders"]["origins"].values())
    assert endpoint["verified"]["secrets"] == 1
    assert endpoint["upstream"] == {"name": "billing", "url": "http://127.0.0.1:8081/webhooks"}
    assert found["findings"] == [
        {
            "file": str(file),
            "line": 13,
            "column": 23,
            "where": "endpoints.0.allowlist.mode",
            "code": "allowlist-off",
            "message": "anybody may send; only the signature is checked",
        }
    ]
    assert result.exit_code == 1


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
    file.write_text(GOOD.replace('8080"\n', tls) + SERVICE)
    result = run("check", "-c", str(file))
    assert f"{file}:3:24: warning: listen.0.tls.certificate: the certificate is self-signed" in (
        result.stdout
    )


def test_asking_dns_is_refused_and_not_ignored(file: Path) -> None:
    file.write_text(GOOD + SERVICE)
    result = run("check", "-c", str(file), "--resolve")
    assert result.stderr == "relay: --resolve is not available in this version\n"
    assert result.exit_code == 2


def test_the_schema_is_printed() -> None:
    result = run("schema")
    assert result.stdout == text()
    assert result.exit_code == 0
