"""What `relay check` says of where events go, and of how each upstream is called."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from relay.cli import check
from tests.config.files import GOOD
from tests.harness.wire import write_pair

UPSTREAMS = """\
  billing:
    url: "https://billing.internal/?key=canary-1"
    headers: {X-Api-Key: "${env:TOKEN}", X-Env: prod}
    auth: {bearer: "${env:TOKEN}"}
    rate: 50/s
    final: [400, 422]
    paused: true
    tls: {ca: certificate.pem, certificate: certificate.pem, key: key.pem, server_name: billing}
  ledger:
    url: "https://ledger.internal/"
    auth:
      oauth2:
        token_url: "https://login.internal/token?tenant=canary-2"
        client_id: relay
        client_secret: "${env:TOKEN}"
  crm: {url: "https://crm.internal/", auth: {basic: {user: relay, password: "${env:TOKEN}"}}}
  plain: {url: "https://plain.internal/"}
"""
ROUTES = """\
    upstreams: [billing, plain]
    routes:
      - {when: {json: /order_id, is: a}, upstreams: [ledger]}
      - {when: {json: /status_code, in: ["200", 201]}, upstreams: [crm, ledger]}
      - {when: {header: X-Kind, is: "pi\\tng"}, upstreams: []}
"""
TEXT = GOOD.replace('  billing: {url: "http://127.0.0.1:8081/webhooks"}\n', UPSTREAMS).replace(
    "    upstream: billing\n", ROUTES
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_pair(tmp_path)
    (tmp_path / "relay.yaml").write_text(TEXT + "spool: {path: /srv/relay.db}\n")
    return tmp_path / "relay.yaml"


def run(file: Path, *arguments: str) -> str:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(check.check)
    secrets = {"KEY": "canary-3", "TOKEN": "canary-4"}
    result = CliRunner().invoke(app, ["-c", str(file), *arguments], env=secrets)
    assert result.exit_code == 0, result.output
    assert "canary" not in result.output
    return result.stdout


def rows(output: str, first: str) -> list[tuple[str, str]]:
    """Return the rows of a table, from the one of this name on to the next table."""
    found = [tuple(line.split("\t")) for line in output.splitlines()]
    at = next(at for at, row in enumerate(found) if ": ".join(row) == first)
    heads = ("upstream", "endpoint")
    rest = found[at + 1 :]
    end = next((n for n, row in enumerate(rest) if row[0] in heads), len(rest))
    return [(name, text) for name, text in rest[:end]]


def test_each_upstream_is_told_with_what_it_is_shown(file: Path) -> None:
    output = run(file)
    pem = file.parent / "certificate.pem"
    assert rows(output, "upstream: billing") == [
        ("URL", "https://billing.internal/?…"),
        ("shows", "a bearer token"),
        ("adds", "the header fields X-Api-Key, X-Env"),
        ("shows", f"the client certificate in {pem}"),
        ("believes", f"the authorities in {pem}, and no others"),
        ("believes", "a certificate for billing, whatever host the URL names"),
        ("rate", "50/s at most"),
        ("final", "400, 422: an event is dead at once"),
        ("paused", "events wait until the file says otherwise"),
    ]
    assert rows(output, "upstream: ledger") == [
        ("URL", "https://ledger.internal/"),
        ("shows", "OAuth2, with tokens from https://login.internal/token?…"),
    ]
    assert rows(output, "upstream: crm")[1:] == [("shows", "a user and a password (Basic)")]
    # There is nothing more to say of this one.
    assert "upstream\tplain" not in output


def test_each_route_is_told_and_what_is_left(file: Path) -> None:
    found = rows(run(file), "endpoint: midtrans")
    assert found[-8:] == [
        ("when /order_id is a", "ledger"),
        ("when /status_code is 200 or 201", "crm, ledger"),
        ("when the header X-Kind is pi\\tng", "nowhere: stored, and delivered to no upstream"),
        ("else", "billing, plain"),
        ("goes to", "billing, https://billing.internal/?…"),
        ("goes to", "plain, https://plain.internal/"),
        ("goes to", "ledger, https://ledger.internal/"),
        ("goes to", "crm, https://crm.internal/"),
    ]


def test_json(file: Path) -> None:
    found = json.loads(run(file, "--format", "json"))
    endpoint = found["endpoints"][0]
    plain = {"name": "plain", "url": "https://plain.internal/"}
    assert endpoint["upstream"] is None
    assert endpoint["upstreams"] == [
        {"name": "billing", "url": "https://billing.internal/?…"},
        plain,
    ]
    assert endpoint["routes"] == [
        {"when": {"json": "/order_id", "in": ["a"]}, "upstreams": ["ledger"]},
        {"when": {"json": "/status_code", "in": ["200", "201"]}, "upstreams": ["crm", "ledger"]},
        {"when": {"header": "X-Kind", "in": ["pi\tng"]}, "upstreams": []},
    ]
    billing, ledger, crm, last = found["upstreams"]
    assert billing == {
        "name": "billing",
        "url": "https://billing.internal/?…",
        "auth": "bearer",
        "headers": ["X-Api-Key", "X-Env"],
        "tls": {
            "ca": str(file.parent / "certificate.pem"),
            "certificate": str(file.parent / "certificate.pem"),
            "key": str(file.parent / "key.pem"),
            "server_name": "billing",
        },
        "rate": "50/s",
        "final": [400, 422],
        "paused": True,
    }
    assert (ledger["auth"], ledger["token_url"]) == (
        "oauth2",
        "https://login.internal/token?…",
    )
    assert crm["auth"] == "basic"
    assert last == plain | {
        "auth": None,
        "headers": [],
        "tls": {},
        "rate": None,
        "final": [],
        "paused": False,
    }


def test_one_upstream_in_a_list_is_that_upstream(file: Path) -> None:
    file.write_text(GOOD.replace("upstream: billing", "upstreams: [billing]"))
    endpoint = json.loads(run(file, "--format", "json"))["endpoints"][0]
    assert endpoint["upstream"] == {"name": "billing", "url": "http://127.0.0.1:8081/webhooks"}
    assert endpoint["upstreams"] == [endpoint["upstream"]]
    assert endpoint["routes"] == []
