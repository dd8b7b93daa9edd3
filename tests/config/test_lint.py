"""What a valid file says that its author may not have meant."""

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from relay.cli.demo.services import asymmetric
from relay.config.certificate_files import Certificate
from relay.config.lint import Finding, lint
from tests.config.files import BUILT_IN, ENVIRON, GOOD, INLINE, VIPPS, changed, good
from tests.config.lints import TODAY, allowlist, findings, info
from tests.harness.wire import write_pair

ASKED = GOOD + "    confirm: {with: status}\n"
OPEN = changed(('trusted_proxies: ["127.0.0.1"]\n', ""))


def test_a_good_file_has_no_findings() -> None:
    assert findings(good(GOOD)) == []
    assert findings(good(GOOD + VIPPS)) == []


def public(port: int, address: str = "0.0.0.0") -> str:
    return OPEN.replace("127.0.0.1:8080", f"{address}:{port}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # proxies and secrets
        (
            GOOD.replace('["127.0.0.1"]', '["127.0.0.0/8", "127.0.0.1"]'),
            [
                (
                    "3:34: warning: trusted_proxies.1: is already within 127.0.0.0/8; remove it"
                    " [redundant-network]"
                )
            ],
        ),
        (
            GOOD + "admin: {token: 0123456789abcdef}\n",
            [
                (
                    "13:16: warning: admin.token: a secret stands in the file; write ${env:NAME} or"
                    " ${file:PATH} [literal-secret]"
                )
            ],
        ),
        # listeners
        (
            OPEN.replace("127.0.0.1:8080", "10.0.0.5:8080"),
            [
                (
                    "2:11: warning: listen.0.bind: a private address is reached through a proxy,"
                    " whose own address then stands for every client; name it in trusted_proxies"
                    " [proxy-not-trusted]"
                )
            ],
        ),
        (
            OPEN.replace("127.0.0.1:8080", "[::1]:8080"),
            [
                (
                    "2:11: warning: listen.0.bind: a loopback address is reached through a proxy,"
                    " whose own address then stands for every client; name it in trusted_proxies"
                    " [proxy-not-trusted]"
                )
            ],
        ),
        (
            public(8443),
            [
                (
                    "2:11: warning: listen.0.bind: Midtrans reaches only ports 80 and 443; listen"
                    " on one of them, or write the endpoint's public_url if something in front"
                    " forwards to this port [midtrans-port]"
                )
            ],
        ),
        (
            public(8443, "[::]"),
            [
                (
                    "2:11: warning: listen.0.bind: Midtrans reaches only ports 80 and 443; listen"
                    " on one of them, or write the endpoint's public_url if something in front"
                    " forwards to this port [midtrans-port]"
                ),
                (
                    "2:11: warning: listen.0.bind: only IPv6 connections come to this address, and"
                    " midtrans may be sent to from IPv4 addresses alone; listen on 0.0.0.0 too"
                    " [other-family]"
                ),
            ],
        ),
        (
            public(8443, "9.9.9.9"),
            [
                (
                    "2:11: warning: listen.0.bind: Midtrans reaches only ports 80 and 443; listen"
                    " on one of them, or write the endpoint's public_url if something in front"
                    " forwards to this port [midtrans-port]"
                )
            ],
        ),
        (
            GOOD + "    public_url: https://pay.example.com:8443/x\n",
            [
                (
                    "13:17: warning: endpoints.0.public_url: Midtrans reaches only ports 80 and 443"
                    " [midtrans-port]"
                )
            ],
        ),
        # the private listener
        (
            GOOD + 'admin: {bind: "0.0.0.0:9464"}\n',
            [
                (
                    "13:15: warning: admin.bind: anybody who reaches this address reads health and"
                    " metrics; bind to 127.0.0.1 [admin-exposed]"
                )
            ],
        ),
        (
            GOOD + 'admin: {bind: "10.0.0.1:9464", token: "${env:TOKEN}"}\n',
            [
                (
                    "13:15: warning: admin.bind: the token crosses the network in clear text; bind"
                    " to 127.0.0.1 [admin-exposed]"
                )
            ],
        ),
        # files
        (
            GOOD + "spool: {path: /tmp/relay.db}\n",
            [
                (
                    "13:15: warning: spool.path: what lies in a directory for temporary files is"
                    " lost one day; choose another [temporary-path]"
                )
            ],
        ),
        (
            GOOD + "state_dir: /var/tmp\n",
            [
                (
                    "13:12: warning: state_dir: what lies in a directory for temporary files is"
                    " lost one day; choose another [temporary-path]"
                )
            ],
        ),
    ],
)
def test_findings(text: str, said: list[str]) -> None:
    assert findings(good(text)) == said


@pytest.mark.parametrize(
    "text",
    [
        public(443),
        public(80).replace("listen:\n", 'listen:\n  - bind: "[::]:443"\n'),
        public(8443).replace("listen:\n", 'listen:\n  - bind: "0.0.0.0:443"\n'),
        public(8443) + "    public_url: https://pay.example.com/x\n",
        public(8443) + "    public_url: http://pay.example.com/x\n",
        GOOD.replace("127.0.0.1:8080", "0.0.0.0:8443"),
        allowlist("{add: [198.51.100.7, 198.51.100.8]}"),
        allowlist("{replace: [103.208.23.0/24]}"),
        changed(("environment: production", "environment: sandbox"))
        + "    allowlist: {replace: [34.101.68.130]}\n",
        GOOD + 'admin: {bind: "[::1]:9464"}\n',
        GOOD + "spool: {path: /var/relay.db}\n",
    ],
)
def test_no_findings(text: str) -> None:
    assert findings(good(text)) == []


def test_ports_matter_to_midtrans_alone() -> None:
    start, _, _ = public(8443).partition("  - name: midtrans\n")
    assert findings(good(start + VIPPS)) == []


def with_certificate(tmp_path: Path, text: str, found: Certificate, today: date) -> list[str]:
    paths = write_pair(tmp_path)
    text = text.replace('8080"\n', '8080"\n    tls: {certificate: certificate.pem, key: key.pem}\n')
    settings = good(text + "state_dir: /srv\nspool: {path: /srv/db}\n", base=tmp_path)
    return [each.message for each in lint(settings, info(settings), {paths[0]: found}, today)]


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (date(2026, 12, 1), []),
        (date(2026, 12, 2), ["the certificate ends on 2026-12-31; renew it"]),
        (date(2026, 12, 31), ["the certificate ends on 2026-12-31; renew it"]),
        (date(2027, 1, 1), ["the certificate ended on 2026-12-31; renew it"]),
    ],
)
def test_a_certificate_near_its_end(tmp_path: Path, today: date, said: list[str]) -> None:
    end = Certificate(datetime(2026, 12, 31, 23, tzinfo=UTC), self_signed=False)
    assert with_certificate(tmp_path, ASKED, end, today) == said


def test_a_certificate_that_signed_itself(tmp_path: Path) -> None:
    certificate = Certificate(datetime(2028, 1, 1, tzinfo=UTC), self_signed=True)
    assert with_certificate(tmp_path, ASKED, certificate, TODAY) == [
        "the certificate is self-signed, and Midtrans refuses such; use a public one"
    ]
    start, _, _ = GOOD.partition("  - name: midtrans\n")
    assert with_certificate(tmp_path, start + VIPPS, certificate, TODAY) == []


def test_findings_come_in_the_order_of_the_file() -> None:
    text = allowlist('{mode: off, add: ["0.0.0.0/0", 103.58.103.177]}') + "state_dir: /tmp\n"
    settings = good(text)
    found = lint(settings, info(settings), {}, TODAY)
    assert [(each.line, each.column) for each in found] == sorted(
        (each.line, each.column) for each in found
    )
    assert [each.code for each in found] == [
        "unconfirmed",
        "allowlist-off",
        "everyone",
        "redundant-network",
        "withdrawn-address",
        "temporary-path",
    ]


def test_a_finding_without_a_place() -> None:
    finding = Finding("relay.yaml", 1, 2, "", "code", "a sentence")
    assert str(finding) == "relay.yaml:1:2: warning: a sentence"
    assert str(replace(finding, where="a.b")) == "relay.yaml:1:2: warning: a.b: a sentence"


# ---- endpoints ------------------------------------------------------------------------------
# What a valid endpoint says that its author may not have meant.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # the sandbox on production
        (
            allowlist("{add: [34.101.68.130]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: belongs to midtrans sandbox, and"
                    " this endpoint is production [sandbox-address]"
                )
            ],
        ),
        (
            allowlist("{replace: [103.208.23.0/24, 8.215.9.206, 149.129.216.115]}"),
            [
                (
                    "13:57: warning: endpoints.0.allowlist.replace.2: belongs to midtrans sandbox,"
                    " and this endpoint is production [sandbox-address]"
                )
            ],
        ),
        (
            GOOD + VIPPS + "    allowlist: {add: [callback-mt-1.vipps.no]}\n",
            [
                (
                    "19:23: warning: endpoints.1.allowlist.add.0: belongs to vipps test, and this"
                    " endpoint is production [sandbox-address]"
                )
            ],
        ),
        # addresses
        (
            allowlist("{add: [103.58.103.177]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: Midtrans withdrew 103.58.103.177"
                    " on 2022-03-15; leave it out [withdrawn-address]"
                )
            ],
        ),
        (
            allowlist("{add: [103.58.103.0/24]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: Midtrans withdrew 103.58.103.177"
                    " on 2022-03-15; leave it out [withdrawn-address]"
                )
            ],
        ),
        (
            allowlist('{add: ["0.0.0.0/0"]}'),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: 0.0.0.0/0 lets every address send"
                    " [everyone]"
                )
            ],
        ),
        (
            allowlist('{add: ["::/0"]}'),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: ::/0 lets every address send"
                    " [everyone]"
                )
            ],
        ),
        (
            allowlist('{add: ["128.0.0.0/1"], replace: ["0.0.0.0/2", "64.0.0.0/2"]}'),
            [
                (
                    "3:19: warning: trusted_proxies.0: 127.0.0.1/32 is taken for a proxy's, and"
                    " midtrans may be sent to from there; what comes from there by itself is"
                    " refused, so name your own proxies only [sender-trusted]"
                ),
                (
                    "13:16: warning: endpoints.0.allowlist: the networks together let half of all"
                    " IPv4 addresses or more send; name those of the sender [everyone]"
                ),
                (
                    "13:62: warning: endpoints.0.allowlist.replace.1: Midtrans withdrew"
                    " 103.58.103.177 on 2022-03-15; leave it out [withdrawn-address]"
                ),
            ],
        ),
        (
            allowlist('{add: ["0.0.0.0/0", "2000::/4", "3000::/4"], replace: []}'),
            [
                (
                    "13:16: warning: endpoints.0.allowlist: the networks together let half of all"
                    " IPv6 addresses or more send; name those of the sender [everyone]"
                ),
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: 0.0.0.0/0 lets every address send"
                    " [everyone]"
                ),
            ],
        ),
        (
            allowlist("{add: [198.51.100.0/25, 198.51.100.7, 198.51.100.0/24]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: is already within"
                    " 198.51.100.0/24; remove it [redundant-network]"
                ),
                (
                    "13:40: warning: endpoints.0.allowlist.add.1: is already within"
                    " 198.51.100.0/24; remove it [redundant-network]"
                ),
            ],
        ),
        (
            allowlist("{add: [198.51.100.7, x.example, 198.51.100.7]}"),
            [
                (
                    "13:48: warning: endpoints.0.allowlist.add.2: is already within"
                    " 198.51.100.7/32; remove it [redundant-network]"
                )
            ],
        ),
        (
            allowlist("{add: [103.208.23.9]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: is already within"
                    " 103.208.23.0/24; remove it [redundant-network]"
                )
            ],
        ),
        (
            allowlist("{add: [8.215.30.222]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: is already within"
                    " 8.215.30.222/32; remove it [redundant-network]"
                )
            ],
        ),
        (
            allowlist("{replace: [103.208.23.0/24], add: [103.208.23.9]}"),
            [
                (
                    "13:51: warning: endpoints.0.allowlist.add.0: is already within"
                    " 103.208.23.0/24; remove it [redundant-network]"
                )
            ],
        ),
        # the mode
        (
            allowlist("{mode: off}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.mode: anybody may send; only the"
                    " signature is checked [allowlist-off]"
                )
            ],
        ),
        (
            allowlist("{mode: report}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.mode: anybody may send, and other"
                    " addresses are only counted; enforce refuses them [allowlist-report]"
                )
            ],
        ),
        # secrets
        (
            GOOD.replace('"${env:KEY}"', '"${env:KEY}", abc'),
            [
                (
                    "11:29: warning: endpoints.0.secrets.1: a secret stands in the file; write"
                    " ${env:NAME} or ${file:PATH} [literal-secret]"
                )
            ],
        ),
        # hosts
        (
            GOOD
            + VIPPS
            + (
                "    allowlist: {replace: [callback-1.vipps.no, callback-2.vipps.no,"
                " callback-3.vipps.no, callback-4.vipps.no], add: [callback-dr-4.vipps.no]}\n"
            ),
            [
                (
                    "19:26: warning: endpoints.1.allowlist.replace: leaves out"
                    " callback-dr-1.vipps.no, callback-dr-2.vipps.no, callback-dr-3.vipps.no of"
                    " vipps production; deliveries from there will be refused [missing-hosts]"
                )
            ],
        ),
    ],
)
def test_findings_of_endpoints(text: str, said: list[str]) -> None:
    assert findings(good(text)) == said


def test_a_key_of_the_sandbox_on_production() -> None:
    environ = {**ENVIRON, "KEY": "SB-Mid-server-canary"}
    assert findings(good(GOOD, environ)) == [
        (
            "11:15: warning: endpoints.0.secrets.0: is a server key of the sandbox; production has"
            " another [sandbox-key]"
        )
    ]
    sandbox = changed(("environment: production", "environment: sandbox"))
    assert findings(good(sandbox, environ)) == []


def test_a_provider_that_was_not_reviewed_for_long() -> None:
    second = GOOD.partition("endpoints:\n")[2].replace("midtrans\n", "again\n", 1)
    text = GOOD + second.replace("/midtrans/", "/again/")
    settings = good(text)
    assert len(settings.endpoints) == 2
    known = info(settings)["midtrans"]
    reviewed = known.reviewed
    year_later = reviewed.replace(year=reviewed.year + 1)
    assert findings(settings, year_later) == []
    assert findings(settings, year_later.replace(month=12, day=31)) == [
        (
            "9:15: warning: endpoints.0.provider: what is built in for midtrans was compared with"
            f" {known.document} on {reviewed}, more than a year ago; compare it, or"
            " update the relay [old-review]"
        )
    ]


def test_an_address_that_midtrans_withdrew_is_of_no_concern_to_others() -> None:
    withdrawn = "    allowlist: {add: [103.58.103.177]}\n"
    for text in (GOOD + VIPPS, changed((BUILT_IN, INLINE))):
        assert not any("Midtrans" in line for line in findings(good(text + withdrawn)))
    snap = changed(("provider: midtrans", "provider: midtrans-snap")) + withdrawn
    found = findings(good(snap, {"KEY": asymmetric().verifying}))
    assert any("Midtrans withdrew" in line for line in found)


def test_a_key_that_signs_for_everybody_says_nothing_of_whose_message_it_is() -> None:
    environ = {"KEY": asymmetric().verifying}
    snap = changed(("provider: midtrans", "provider: midtrans-snap"))
    rsa = INLINE.replace("scheme: hmac", "scheme: rsa").replace("secret_encoding: text", "")
    rsa = rsa.replace("encoding: hex", "encoding: base64")
    for text, said in ((snap, "set merchant_id"), (changed((BUILT_IN, rsa)), "set must")):
        [found] = [each for each in findings(good(text, environ)) if "[any-merchant]" in each]
        assert said in found
        must = "    must: [{json: /merchantId, is: G1}]\n"
        assert not any("[any-merchant]" in each for each in findings(good(text + must, environ)))
    named = snap + "    merchant_id: G1\n"
    assert not any("[any-merchant]" in each for each in findings(good(named, environ)))
    assert not any("[any-merchant]" in each for each in findings(good(GOOD + VIPPS)))


@pytest.mark.parametrize("networks", ['"0.0.0.0/0"', '"0.0.0.0/1", "128.0.0.0/1"'])
def test_the_networks_of_a_described_provider_are_added_up(networks: str) -> None:
    text = changed((BUILT_IN, INLINE.replace('"192.0.2.0/24"', networks)))
    assert [line for line in findings(good(text)) if "[everyone]" in line] == [
        (
            "10:7: warning: endpoints.0.provider: the networks together let half of all IPv4"
            " addresses or more send; name those of the sender [everyone]"
        )
    ]


def test_a_provider_described_in_the_file_is_linted_like_any_other() -> None:
    text = changed((BUILT_IN, INLINE)) + (
        '    allowlist: {add: ["192.0.2.7", "::/0"], replace: [192.0.2.0/24]}\n'
    )
    environ = {"KEY": "a-secret-that-is-long"}
    found = findings(good(text, environ))
    assert [line.rpartition(" [")[2].rstrip("]") for line in found] == [
        *("redundant-network", "everyone", "missing-hosts"),
    ]
    assert findings(good(changed((BUILT_IN, INLINE)), environ)) == []


def test_three_signed_fields_are_worth_a_question_before_delivery() -> None:
    def said(text: str) -> list[str]:
        settings = good(text)
        found = lint(settings, info(settings), {}, TODAY)
        return [str(each) for each in found if each.code == "unconfirmed"]

    assert said(GOOD) == [
        (
            "relay.yaml:9:15: warning: endpoints.0.provider: its signature covers three fields,"
            " and the status is none of them; confirm: {with: status} asks before delivery"
        )
    ]
    assert said(GOOD + "    confirm: {with: status}\n") == []
    assert said(GOOD + "    mode: proxy\n") == []
    assert len(said(GOOD + VIPPS)) == 1


# ---- described senders ----------------------------------------------------------------------
# What a provider described in the file says that its author may not have meant.

LONG, SHORT = "0123456789abcdef", "0123456789abcde"


def described(*changes: tuple[str, str]) -> str:
    block = INLINE
    for old, new in changes:
        assert old in block, old
        block = block.replace(old, new)
    return changed((BUILT_IN, block))


def written(secret: str, encoding: str) -> str:
    raw = secret.encode()
    return {"text": secret, "base64": b64encode(raw).decode(), "hex": raw.hex()}[encoding]


@pytest.mark.parametrize("encoding", ["text", "base64", "hex"])
def test_a_short_secret(encoding: str) -> None:
    text = described(("secret_encoding: text", f"secret_encoding: {encoding}"))
    assert findings(good(text, {"KEY": written(LONG, encoding)})) == []
    assert findings(good(text, {"KEY": written(SHORT, encoding)})) == [
        (
            "23:15: warning: endpoints.0.secrets.0: is shorter than 16 bytes and could be guessed;"
            " have the sender use a long random one [short-secret]"
        )
    ]


def test_a_prefix_that_is_cut_off_does_not_count() -> None:
    text = described(("secret_encoding: text", "strip_prefix: whsec_"))
    assert findings(good(text, {"KEY": f"whsec_{LONG}"})) == []
    assert len(findings(good(text, {"KEY": f"whsec_{SHORT}"}))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        [
            ("scheme: hmac", "scheme: digest"),
            ('signed: "{timestamp}', 'signed: "{secret}{timestamp}'),
        ],
        [
            ("scheme: hmac", "scheme: token"),
            ('        signed: "{timestamp}.{body}"\n', ""),
            ("        timestamp: {from: {header: X-Time}, unit: s}\n", ""),
        ],
    ],
    ids=["digest", "token"],
)
def test_of_every_scheme_with_a_shared_secret(changes: list[tuple[str, str]]) -> None:
    text = described(*changes)
    assert findings(good(text, {"KEY": LONG})) == []
    found = findings(good(text, {"KEY": SHORT}))
    assert len(found) == 1
    assert "[short-secret]" in found[0]
    assert SHORT not in found[0]


def test_entries_of_a_list_that_nobody_signed() -> None:
    fields = ('"{timestamp}.{body}"', '"{timestamp}.{json:/items/0/id}{json:/items/0/state}"')
    assert findings(good(described(fields), {"KEY": LONG})) == [
        (
            "20:17: warning: endpoints.0.provider.signature.signed: covers one entry of /items, and"
            " others would pass; write single: /items [others-unsigned]"
        )
    ]
    text = described(fields, ("      event_key", "      single: /items\n      event_key"))
    assert findings(good(text, {"KEY": LONG})) == []


# ---- what bounds a repeat, and what a signature covers --------------------------------------


def test_a_window_that_is_longer_than_keys_are_kept() -> None:
    text = GOOD + VIPPS + "    timestamp: {past: 31d, future: 5m}\n"
    assert findings(good(text)) == [
        (
            "19:23: warning: endpoints.1.timestamp.past: a message may be 31d old, and its key is"
            " forgotten after 30d (spool.retain_keys): then it is new again; keep keys longer, or"
            " take younger messages only [window-too-long]"
        )
    ]
    assert findings(good(text + "spool: {retain_keys: 31d, path: /srv/relay.db}\n")) == []


def test_a_signed_time_that_is_not_looked_at() -> None:
    said = (
        "the signed time is not looked at: a captured message is new again once its key is"
        " forgotten, after 30d; write a window [timestamp-off]"
    )
    assert findings(good(GOOD + VIPPS + "    timestamp: off\n")) == [
        f"19:16: warning: endpoints.1.timestamp: {said}"
    ]
    snap = changed((BUILT_IN, INLINE)) + "    timestamp: off\n"
    assert f"endpoints.0.timestamp: {said}" in " ".join(findings(good(snap)))


def test_an_exact_path_with_a_slash_at_its_end() -> None:
    text = changed(("/midtrans/notification", "/midtrans/"))
    assert findings(good(text)) == [
        (
            "8:11: warning: endpoints.0.path: ends in a slash, and is compared as it is: without it"
            " the provider's call is 404; write it as it stands at the provider [trailing-slash]"
        )
    ]
    assert findings(good(changed(("/midtrans/notification", "/")))) == []


MAILGUN = """\
    provider:
      name: mailgun
      networks: {live: {cidrs: ["192.0.2.0/24"]}}
      signature:
        scheme: hmac
        from: {json: /signature/signature}
        signed: "{timestamp}{json:/signature/token}"
        timestamp: {from: {json: /signature/timestamp}, unit: s}
"""


@pytest.mark.parametrize(
    ("signed", "warned"),
    [
        ("{timestamp}{json:/signature/token}", True),
        ("{timestamp}{json:/signature/token}{header:X-Id}", True),
        ("{timestamp}{json:/event-data/id}", False),
        ("{timestamp}{json:/signature/token}{json:/id}", False),
    ],
)
def test_a_signature_that_covers_nothing_of_the_body(signed: str, warned: bool) -> None:
    block = MAILGUN.replace("{timestamp}{json:/signature/token}", signed)
    found = findings(good(changed((BUILT_IN, block)), {"KEY": "0123456789abcdef"}))
    line = (
        "15:17: warning: endpoints.0.provider.signature.signed: covers nothing of what the body"
        " says: who has one signed message can put any other body under it; rely on addresses, and"
        " ask the sender's API before you act [body-unsigned]"
    )
    assert found == ([line] if warned else [])


# ---- networks that no one party has ---------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ("[192.0.0.0/11]", "192.0.0.0/11 is wider than a /12"),
        ("[198.51.0.0/12]", None),
        ('["2400::/27"]', "2400::/27 is wider than a /28"),
        ('["2400::/28"]', None),
    ],
)
@pytest.mark.parametrize("key", ["add", "replace"])
def test_an_allowlist_that_is_wider_than_any_sender(
    members: str, said: str | None, key: str
) -> None:
    members = members.replace("198.51.0.0", "198.48.0.0")
    found = findings(good(allowlist(f"{{{key}: {members}}}")))
    want = f"endpoints.0.allowlist.{key}.0: {said}, which no sender has; name its own networks"
    assert [each for each in found if "[wide-network]" in each] == (
        [] if said is None else [each for each in found if want in each]
    )
    assert bool([each for each in found if want in each]) == (said is not None)
    described = changed((BUILT_IN, INLINE)).replace('["192.0.2.0/24"]', members.replace('"', "'"))
    found = findings(good(described, {"KEY": "0123456789abcdef"}))
    assert bool([each for each in found if "provider.networks.live.cidrs.0" in each]) == bool(said)
