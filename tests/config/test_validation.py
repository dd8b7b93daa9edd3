"""Every mistake at once, in the order of the file, with what to write instead."""

from relay.config.validation import MAX_ISSUES, replaced, validate, without
from tests.config.files import BASE, ENDPOINT_KEYS, GOOD, changed, mistakes

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
        "6:18: upstreams.billing.url: must hold no user name or password",
        (
            "7:3: upstreams.led ger: a name that is no label in metrics; write 1 to 64 letters,"
            " digits, hyphens or underscores"
        ),
        (
            "7:45: upstreams.led ger.timeout: write a whole number and a unit: 500ms, 15s,"
            " 5m, 6h or 7d"
        ),
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
            " [${env:NAME}]; unsigned: accept does without, if allowlist.mode is enforce"
        ),
        (
            "27:23: endpoints.2.allowlist.mode: write one of enforce, report, off; did you mean"
            ' "enforce"?'
        ),
        (
            "28:5: endpoints.3: write a mapping with some of the keys name, path, provider,"
            " environment, secrets, upstream, mode, allowlist, public_url, timestamp, unsigned,"
            " order_id_pattern, partner_id, callback, confirm"
        ),
        (
            "29:11: endpoints.4.name: ${env:NAME} and ${file:PATH} work only in admin.token,"
            " endpoints.*.secrets, upstreams.*.signing_secrets and spool.dsn; write the value"
            " itself"
        ),
        "30:11: endpoints.4.path: another endpoint has this path; give each its own",
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
