"""Every mistake at once, in the order of the file, with what to write instead."""

import pytest
from pydantic_core import ErrorDetails

from relay.config.listener_settings import Limits, Listener
from relay.config.settings import Endpoint, PostgresSpool, Settings, SqliteSpool, TimeWindow
from relay.config.types import Section
from relay.config.upstream_settings import Upstream
from relay.config.validation import MAX_ISSUES, explain, fields, replaced, trace, validate, without
from relay.config.yaml_document import Location
from tests.config.files import BASE, ENDPOINT_KEYS, GOOD, changed, keys, mistakes

EVERYTHING = """\
listen:
  - bind: "127.0.0.1:8080"
    tsl: {}
trusted_proxies: ["10.0.0.1/8", 5]
upstreams:
  billing: {url: "http://user@billing/"}
  led ger: {url: "http://ledger/", timeout: 5}
endpoints:
  - name: midtrans
    path: /a
    provider: midtrans
    environment: sandbx
    secrets: ["${env:KEY}", "${env:NONE}"]
    upstream: biling
    sceme: x
    name: again
  - name: midtrans
    path: b
    provider: vips
    secrets: ["${env:KEY}"]
    upstream: billing
    mode: proxy
  - name: vipps
    provider: vipps
    secrets: []
    upstream: led ger
    allowlist: {mode: enforced}
  - nonsense
  - name: ${env:KEY}
    path: /a
    provider: vipps
    environment: test
    secrets: ["${env:KEY}"]
    upstream: nobody
spool: {kind: sqlite, retain: 9d, retain_keys: 7d}
dns: {max_refresh: 1s}
"""


def test_all_mistakes_at_once_in_the_order_of_the_file() -> None:
    assert mistakes(EVERYTHING) == [
        '3:5: listen.0.tsl: unknown key "tsl"; did you mean "tls"?',
        "4:19: trusted_proxies.0: 10.0.0.1/8 has host bits; write 10.0.0.0/8 or 10.0.0.1/32",
        '4:33: trusted_proxies.1: write a network in quotes, such as "192.0.2.0/24"',
        "6:18: upstreams.billing.url: must hold no user name or password; they belong in auth",
        (
            "7:3: upstreams.led…: a name that is no label in metrics; write 1 to 64 letters,"
            " digits, hyphens or underscores"
        ),
        ("7:45: upstreams.led….timeout: write a whole number and a unit: 500ms, 15s, 5m, 6h or 7d"),
        (
            '12:18: endpoints.0.environment: midtrans has no environment "sandbx"; did you mean'
            ' "sandbox"?'
        ),
        "13:29: endpoints.0.secrets.1: the environment variable NONE is not set",
        '14:15: endpoints.0.upstream: no upstream named "biling"; did you mean "billing"?',
        f'15:5: endpoints.0.sceme: unknown key "sceme"; there are: {ENDPOINT_KEYS}',
        '16:5: endpoints.0.name: the key "name" is here twice; it stands at 9:5 already',
        (
            '18:11: endpoints.1.path: write a path that begins with "/", as it stands in a'
            " request line: no query, no blanks, no backslash"
        ),
        '19:15: endpoints.1.provider: no provider named "vips"; did you mean "vipps"?',
        "23:5: endpoints.2.environment: this key is needed; write one of production, test",
        '23:5: endpoints.2.path: this key is needed, such as path: "/midtrans/notification"',
        (
            "25:14: endpoints.2.secrets: at least one is needed to verify signatures, such as"
            ' ["${env:NAME}"]; unsigned: accept does without, if allowlist.mode is enforce'
        ),
        (
            "27:23: endpoints.2.allowlist.mode: write one of enforce, report, off; did you mean"
            ' "enforce"?'
        ),
        (
            "28:5: endpoints.3: write - name: …, path: …, provider: …, upstream: …, with some of"
            f" the keys {keys(Endpoint)}"
        ),
        (
            "29:11: endpoints.4.name: only secrets are read from ${env:NAME} or ${file:PATH}, and"
            " they stand in admin.token, admin.read_token, endpoints.*.secrets,"
            " endpoints.*.confirm.key, endpoints.*.tokens.keys,"
            " endpoints.*.provider.challenge.*.secret,"
            " upstreams.*.signing_secrets, upstreams.*.headers,"
            " upstreams.*.auth.bearer, upstreams.*.auth.basic.password,"
            " upstreams.*.auth.oauth2.client_secret, spool.dsn and spool.encrypt"
        ),
        "30:11: endpoints.4.path: the endpoint midtrans has this path, at 10:11; give each its own",
        '34:15: endpoints.4.upstream: no upstream named "nobody"; there are: billing, led ger',
        (
            "35:48: spool.retain_keys: must be 8d or more: a provider may repeat a delivery for"
            " seven days"
        ),
        "36:20: dns.max_refresh: must not be shorter than min_refresh",
    ]


def test_what_hangs_on_a_mistake_is_not_a_second_one() -> None:
    # The secrets cannot be read, so nothing is said of their being missing; and so on.
    text = changed(
        ('["${env:KEY}"]', "abc"),
        ("provider: midtrans", "provider: 5"),
        ("environment: production", "environment: nowhere"),
    )
    assert [line.partition(" ")[0] for line in mistakes(text)] == ["9:15:", "11:14:"]


def test_very_many_mistakes_are_cut_short() -> None:
    text = GOOD + "".join(f"x{n}: 1\n" for n in range(3 * MAX_ISSUES))
    said = mistakes(text)
    assert len(said) == MAX_ISSUES + 1
    assert said[0] == "1:1: more than 100 mistakes; the others are not shown"


def test_a_stand_in_is_always_valid() -> None:
    # Every required part in turn is replaced by nonsense, and the rest is still looked at.
    for broken in ("listen", "upstreams", "endpoints"):
        data = {"listen": 5, "upstreams": 5, "endpoints": 5, broken: ()}
        found = validate(data, BASE)
        assert found.settings is not None
        assert {("listen",), ("upstreams",), ("endpoints",)} == found.unsound
    spool = validate({"spool": {"kind": "postgres"}}, BASE)
    assert spool.settings is not None
    inline = validate({"endpoints": ({"provider": {"signature": {"timestamp": {}}}},)}, BASE)
    assert inline.settings is not None


def test_mending_leaves_the_original_alone() -> None:
    data = {"a": ({"b": 1, "c": 2},)}
    assert without(data, ("a", 0, "b")) == {"a": ({"c": 2},)}
    assert replaced(data, ("a", 0, "b"), 5) == {"a": ({"b": 5, "c": 2},)}
    assert replaced(data, ("a", 0, "d"), 5) == {"a": ({"b": 1, "c": 2, "d": 5},)}
    assert data == {"a": ({"b": 1, "c": 2},)}


# ---- pydantic's errors as sentences ---------------------------------------------------------
# What is said of one mistake, and what to write instead.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # unknown keys
        (
            GOOD + "    upstrem: x\n",
            '13:5: endpoints.0.upstrem: unknown key "upstrem"; did you mean "upstream"?',
        ),
        (
            GOOD + "    zzz: x\n",
            f'13:5: endpoints.0.zzz: unknown key "zzz"; there are: {ENDPOINT_KEYS}',
        ),
        (GOOD + "lissten: x\n", '13:1: lissten: unknown key "lissten"; did you mean "listen"?'),
        (GOOD + "spool: {pth: x}\n", '13:9: spool.pth: unknown key "pth"; did you mean "path"?'),
        (
            GOOD + 'admin: {"a\\e[1m": 1}\n',
            (
                '13:9: admin.a\\x1b[1m: unknown key "a\\x1b[1m"; there are: bind, hosts,'
                " read_token, token"
            ),
        ),
        # keys that are needed
        (
            changed(("    upstream: billing\n", "")),
            '7:5: endpoints.0.upstream: this key is needed, such as upstream: "billing"',
        ),
        (
            changed(("listen:\n", "dns: {}\n"), ('  - bind: "127.0.0.1:8080"\n', "")),
            '1:1: listen: this key is needed, such as listen: [{"bind": "0.0.0.0:8443"}]',
        ),
        (
            changed(('bind: "127.0.0.1:8080"', "proxy_protocol: false")),
            '2:5: listen.0.bind: this key is needed, such as bind: "0.0.0.0:8443"',
        ),
        (
            GOOD + "    timestamp: {past: 1h}\n",
            '13:16: endpoints.0.timestamp.future: this key is needed, such as future: "5m"',
        ),
        # types
        (
            changed(("name: midtrans", "name: 5")),
            "7:11: endpoints.0.name: write text; a number or a word such as true needs quotes",
        ),
        (
            GOOD + "limits: {connections: '5'}\n",
            "13:23: limits.connections: write a whole number without quotes",
        ),
        (
            GOOD + "limits: {connections: 5.0}\n",
            "13:23: limits.connections: write a whole number without quotes",
        ),
        (
            GOOD + "limits: {connections: true}\n",
            "13:23: limits.connections: write a whole number without quotes",
        ),
        (GOOD + "limits: {connections: 0}\n", "13:23: limits.connections: write 1 or more"),
        (
            GOOD + "limits: {connections: 1000001}\n",
            "13:23: limits.connections: write 1000000 or less",
        ),
        (
            GOOD + "limits: 5\n",
            (f"13:9: limits: write limits: {{body: …}}, with some of the keys {keys(Limits)}"),
        ),
        (
            GOOD + "limits:\n",
            (
                "13:8: limits: this key has no value; write limits: {body: …}, with some of"
                f" the keys {keys(Limits)}, or leave the key out"
            ),
        ),
        (
            changed(('8080"\n', '8080"\n    proxy_protocol: no\n')),
            "3:21: listen.0.proxy_protocol: write true or false without quotes",
        ),
        (
            changed(('["127.0.0.1"]', "10.0.0.0/8")),
            '3:18: trusted_proxies: write a list, such as ["10.20.0.0/16"]',
        ),
        (
            changed(('["${env:KEY}"]', '"${env:KEY}"')),
            '11:14: endpoints.0.secrets: write a list: secrets: ["${env:KEY}"]',
        ),
        (
            changed(('["${env:KEY}"]', "abc")),
            '11:14: endpoints.0.secrets: write a list, such as ["${env:MIDTRANS_SERVER_KEY}"]',
        ),
        (
            changed(('["${env:KEY}"]', "[[abc]]")),
            "11:15: endpoints.0.secrets.0: write one secret, without brackets around it",
        ),
        (
            changed(('{url: "http://127.0.0.1:8081/webhooks"}', "x")),
            (
                "5:12: upstreams.billing: write billing: {url: …}, with some of the keys"
                f" {keys(Upstream)}"
            ),
        ),
        (
            changed(("environment: production", "environment: 1")),
            (
                "10:18: endpoints.0.environment: write text; a number or a word such as true"
                " needs quotes"
            ),
        ),
        # choices
        (
            GOOD + "    mode: stroe\n",
            '13:11: endpoints.0.mode: write one of store, proxy; did you mean "store"?',
        ),
        (GOOD + "    mode: 5\n", "13:11: endpoints.0.mode: write one of store, proxy"),
        (GOOD + "    unsigned: yes\n", "13:15: endpoints.0.unsigned: write one of refuse, accept"),
        (
            GOOD + "    allowlist: {mode: of}\n",
            (
                "13:23: endpoints.0.allowlist.mode: write one of enforce, report, off; did you"
                ' mean "off"?'
            ),
        ),
        (
            GOOD + "    timestamp: of\n",
            '13:16: endpoints.0.timestamp: write "off" or {"past": "24h", "future": "5m"}',
        ),
        (
            GOOD + "    timestamp: 5m\n",
            '13:16: endpoints.0.timestamp: write "off" or {"past": "24h", "future": "5m"}',
        ),
        (
            GOOD + "forwarded_header: x-forwarded-for\n",
            (
                "13:19: forwarded_header: write one of X-Forwarded-For, Forwarded; did you mean"
                ' "X-Forwarded-For"?'
            ),
        ),
        (GOOD + "spool: {kind: sqllite}\n", "13:15: spool.kind: write one of sqlite, postgres"),
        (GOOD + "spool: {kind: [1]}\n", "13:15: spool.kind: write one of sqlite, postgres"),
        (
            GOOD + "spool: 5\n",
            (
                "13:8: spool: write spool: {path: …}, with some of the keys kind, path, retain,"
                " retain_keys, encrypt"
            ),
        ),
        (
            GOOD + "    callback: chekout\n",
            '13:15: endpoints.0.callback: write one of checkout, express; did you mean "checkout"?',
        ),
        # values
        (
            changed(("127.0.0.1:8080", "8080")),
            ('2:11: listen.0.bind: no port behind an address; write both, such as "0.0.0.0:8443"'),
        ),
        (
            changed(('["127.0.0.1"]', '["127.0.0.1", "10.0.0.1/8"]')),
            "3:32: trusted_proxies.1: 10.0.0.1/8 has host bits; write 10.0.0.0/8 or 10.0.0.1/32",
        ),
        (
            GOOD + "dns: {timeout: 2}\n",
            "13:16: dns.timeout: write a whole number and a unit: 500ms, 15s, 5m, 6h or 7d",
        ),
        (GOOD + "dns: {timeout: 0s}\n", "13:16: dns.timeout: must be longer than nothing"),
        (
            GOOD + "dns: {nameservers: [dns.example.com]}\n",
            (
                "13:21: dns.nameservers.0: 'dns.example.com' is not a name server; write its"
                " address, as in 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:5353 or"
                " tls://192.0.2.53#dns.example.com"
            ),
        ),
        (
            GOOD + "limits: {body: 64KB}\n",
            "13:16: limits.body: write a size such as 64KiB or 1MiB, or a whole number of bytes",
        ),
        (
            changed(('webhooks"}', 'webhooks", retry: {schedule: []}}')),
            "5:70: upstreams.billing.retry.schedule: must hold at least one",
        ),
        (
            changed(('webhooks"}', 'webhooks", retry: {schedule: [5]}}')),
            (
                "5:71: upstreams.billing.retry.schedule.0: write a whole number and a unit:"
                " 500ms, 15s, 5m, 6h or 7d"
            ),
        ),
        (
            changed(("/midtrans/notification", "midtrans")),
            (
                '8:11: endpoints.0.path: write a path that begins with "/", as it stands in a'
                " request line: no query, no blanks, no backslash"
            ),
        ),
        (
            changed(("name: midtrans", "name: mid trans")),
            "7:11: endpoints.0.name: write 1 to 64 letters, digits, hyphens or underscores",
        ),
        (
            GOOD + "    allowlist: {replace: [bad_host.example]}\n",
            "13:27: endpoints.0.allowlist.replace.0: 'bad_host.example' is not a host name",
        ),
        (
            GOOD + "    order_id_pattern: '('\n",
            ("13:23: endpoints.0.order_id_pattern: not a regular expression of RE2: missing ): ("),
        ),
        (GOOD + "    partner_id: ''\n", "13:17: endpoints.0.partner_id: must not be empty"),
        (
            GOOD + "    public_url: pay.example.com\n",
            (
                "13:17: endpoints.0.public_url: must begin with http:// or https://; write a URL"
                " such as https://pay.example.com/midtrans/notification"
            ),
        ),
        (
            GOOD + "spool: {path: ''}\n",
            "13:15: spool.path: write the path of a file",
        ),
        (GOOD + "state_dir: 5\n", "13:12: state_dir: write the path of a file"),
        # the whole
        (
            "listen: []\n" + changed(('listen:\n  - bind: "127.0.0.1:8080"\n', "")),
            "1:9: listen: must hold at least one",
        ),
        (
            "- a\n",
            (f"1:1: write a mapping with some of the keys {keys(Settings)}"),
        ),
        (
            "hello\n",
            (f"1:1: write a mapping with some of the keys {keys(Settings)}"),
        ),
        ("", "1:1: the file is empty; write at least listen, upstreams and endpoints"),
        ("# x\n", "1:1: the file is empty; write at least listen, upstreams and endpoints"),
    ],
)
def test_one_mistake_gives_one_line(text: str, said: str) -> None:
    assert mistakes(text) == [said]


# ---- structure ------------------------------------------------------------------------------
# pydantic's locations in terms of the file.


@pytest.mark.parametrize(
    ("loc", "location", "section"),
    [
        ((), (), Settings),
        (("listen",), ("listen",), Settings),
        (("listen", 0), ("listen", 0), Listener),
        (("listen", 0, "x"), ("listen", 0, "x"), Listener),
        (("upstreams", "a", "url"), ("upstreams", "a", "url"), Upstream),
        (("spool", "sqlite", "x"), ("spool", "x"), SqliteSpool),
        (("spool", "postgres", "dsn"), ("spool", "dsn"), PostgresSpool),
        (("endpoints", 3, "name"), ("endpoints", 3, "name"), Endpoint),
        (
            ("endpoints", 0, "timestamp", "window", "past"),
            ("endpoints", 0, "timestamp", "past"),
            TimeWindow,
        ),
        (("endpoints", 0, "timestamp", "off"), ("endpoints", 0, "timestamp"), Endpoint),
    ],
)
def test_members_of_unions_are_left_out(
    loc: Location, location: Location, section: type[Section]
) -> None:
    found = trace(loc)
    assert found.location == location
    assert found.section is section


def test_slots_lead_to_what_can_be_mended() -> None:
    slots = trace(("endpoints", 0, "allowlist", "add", 2)).slots
    assert [slot.location for slot in slots] == [
        ("endpoints",),
        ("endpoints", 0),
        ("endpoints", 0, "allowlist"),
        ("endpoints", 0, "allowlist", "add"),
    ]
    assert [slot.optional for slot in slots] == [False, False, True, True]


def test_stand_ins_hold_what_is_needed() -> None:
    slots = trace(("endpoints", 0)).slots
    assert slots[-1].placeholder() == {
        "name": "midtrans",
        "path": "/midtrans/notification",
        "provider": "midtrans",
    }
    assert trace(("listen",)).slots[-1].placeholder() == ({"bind": "0.0.0.0:8443"},)


def test_fields_go_by_their_keys() -> None:
    assert "with" in fields(trace(("endpoints", 0, "confirm", "x")).section)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        (("limits", "connections"), "this value cannot be taken here"),
        (("endpoints", 0, "name"), 'this value cannot be taken here; write it such as "midtrans"'),
    ],
)
def test_a_mistake_of_an_unknown_kind_is_told_in_words_of_ours(
    location: Location, said: str
) -> None:
    error: ErrorDetails = {
        "type": "of_another_version",
        "loc": location,
        "msg": "Input should be something, not a-secret",
        "input": "a-secret",
    }
    assert explain(error, trace(location)).message == said


@pytest.mark.parametrize(
    ("location", "choices"),
    [
        (("endpoints", 0, "mode"), ("store", "proxy")),
        (("endpoints", 0, "callback"), ("checkout", "express")),
        (("endpoints", 0, "allowlist", "mode"), ("enforce", "report", "off")),
        (("endpoints", 0, "timestamp", "off"), ("off",)),
        (("spool",), ("sqlite", "postgres")),
        (("forwarded_header",), ("X-Forwarded-For", "Forwarded")),
        (("shutdown_grace",), ()),
    ],
)
def test_what_may_be_chosen_is_known_from_the_models(
    location: Location, choices: tuple[str, ...]
) -> None:
    assert trace(location).choices == choices
