"""What is said of one mistake, and what to write instead."""

import pytest

from tests.config.files import ENDPOINT_KEYS, GOOD, changed, mistakes


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
            '13:9: admin.a\\x1b[1m: unknown key "a\\x1b[1m"; there are: bind, token',
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
            (
                "13:9: limits: write a mapping with some of the keys body, header_timeout,"
                " body_timeout, connections, connections_per_address, answer_within"
            ),
        ),
        (
            GOOD + "limits:\n",
            (
                "13:8: limits: this key has no value; write a mapping with some of the keys"
                " body, header_timeout, body_timeout, connections, connections_per_address,"
                " answer_within, or leave the key out"
            ),
        ),
        (
            changed(('8080"\n', '8080"\n    proxy_protocol: no\n')),
            "3:21: listen.0.proxy_protocol: write true or false without quotes",
        ),
        (
            changed(('["127.0.0.1"]', "10.0.0.0/8")),
            '3:18: trusted_proxies: write a list, such as ["10.0.0.0/8"]',
        ),
        (
            changed(('["${env:KEY}"]', '"${env:KEY}"')),
            (
                "11:14: endpoints.0.secrets: ${env:NAME} and ${file:PATH} work only in"
                " admin.token, endpoints.*.secrets, upstreams.*.signing_secrets and spool.dsn;"
                " write the value itself"
            ),
        ),
        (
            changed(('["${env:KEY}"]', "abc")),
            '11:14: endpoints.0.secrets: write a list, such as ["${env:MIDTRANS_SERVER_KEY}"]',
        ),
        (
            changed(('["${env:KEY}"]', "[[abc]]")),
            (
                "11:15: endpoints.0.secrets.0: write ${env:NAME} or ${file:PATH}, or other text"
                " in quotes"
            ),
        ),
        (
            changed(('{url: "http://127.0.0.1:8081/webhooks"}', "x")),
            (
                "5:12: upstreams.billing: write a mapping with some of the keys url, timeout,"
                " concurrency, retry, order_by_key, signing_secrets"
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
            "13:8: spool: write a mapping with some of the keys kind, path, retain, retain_keys",
        ),
        (
            GOOD + "    callback: chekout\n",
            '13:15: endpoints.0.callback: write one of checkout, express; did you mean "checkout"?',
        ),
        # values
        (
            changed(("127.0.0.1:8080", "8080")),
            (
                "2:11: listen.0.bind: write an address and a port in quotes, such as"
                ' "0.0.0.0:8443" or "[::]:8443"'
            ),
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
            (
                "13:23: endpoints.0.order_id_pattern: not a regular expression: missing ),"
                " unterminated subpattern at position 0"
            ),
        ),
        (GOOD + "    partner_id: ''\n", "13:17: endpoints.0.partner_id: must not be empty"),
        (
            GOOD + "    public_url: pay.example.com\n",
            (
                "13:17: endpoints.0.public_url: write a URL such as"
                " http://billing.internal:8080/webhooks"
            ),
        ),
        (
            GOOD + "spool: {path: ''}\n",
            "13:15: spool.path: write the path of a file, such as relay.db",
        ),
        (GOOD + "state_dir: 5\n", "13:12: state_dir: write the path of a file, such as relay.db"),
        # the whole
        (
            "listen: []\n" + changed(('listen:\n  - bind: "127.0.0.1:8080"\n', "")),
            "1:9: listen: must hold at least one",
        ),
        (
            "- a\n",
            (
                "1:1: write a mapping with some of the keys listen, trusted_proxies,"
                " forwarded_header, admin, spool, state_dir, dns, limits, shutdown_grace,"
                " upstreams, endpoints"
            ),
        ),
        (
            "hello\n",
            (
                "1:1: write a mapping with some of the keys listen, trusted_proxies,"
                " forwarded_header, admin, spool, state_dir, dns, limits, shutdown_grace,"
                " upstreams, endpoints"
            ),
        ),
        ("", "1:1: the file is empty; write at least listen, upstreams and endpoints"),
        ("# x\n", "1:1: the file is empty; write at least listen, upstreams and endpoints"),
    ],
)
def test_one_mistake_gives_one_line(text: str, said: str) -> None:
    assert mistakes(text) == [said]
