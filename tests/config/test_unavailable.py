"""What this version cannot do is refused, never ignored."""

import pytest

from tests.config.files import GOOD, changed, mistakes

INLINE = """\
    provider:
      name: github
      networks: {live: {cidrs: ["192.0.2.0/24"], hosts: ["hooks.example.com"]}}
      methods: [POST]
      signature:
        scheme: hmac
        algorithm: sha256
        secret_encoding: text
        from: {header: X-Hub-Signature-256}
        format: "sha256={signature}"
        encoding: hex
        signed: "{body}"
        timestamp: {from: {header: X-Time}, unit: s}
      event_key: {header: X-GitHub-Delivery}
"""
BUILT_IN = "    provider: midtrans\n    environment: production\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD + "    mode: proxy\n",
            (
                "13:11: endpoints.0.mode: proxy mode is not available in this version; write"
                " mode: store"
            ),
        ),
        (
            changed(('8080"\n', '8080"\n    proxy_protocol: true\n')),
            (
                "3:21: listen.0.proxy_protocol: the PROXY protocol is not available in this"
                " version; leave the key out"
            ),
        ),
        (
            GOOD + "    confirm: {with: status, on_error: hold}\n",
            (
                "13:14: endpoints.0.confirm: confirmation is not available in this version;"
                " leave the key out"
            ),
        ),
        (
            GOOD + "    confirm: {}\n",
            (
                "13:14: endpoints.0.confirm: confirmation is not available in this version;"
                " leave the key out"
            ),
        ),
        (
            GOOD + "spool: {kind: postgres, dsn: '${env:KEY}'}\n",
            "13:15: spool.kind: PostgreSQL is not available in this version; write kind: sqlite",
        ),
        (
            changed((BUILT_IN, INLINE)),
            (
                "10:7: endpoints.0.provider: a provider described here is not available in this"
                " version; name one that is built in"
            ),
        ),
    ],
)
def test_it_is_said_what_is_not_available(text: str, said: str) -> None:
    assert mistakes(text) == [said]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "hmac\n",
            "hmack\n",
            (
                "14:17: endpoints.0.provider.signature.scheme: write one of hmac, digest, rsa,"
                ' ed25519, token; did you mean "hmac"?'
            ),
        ),
        (
            "sha256\n",
            "md5\n",
            "15:20: endpoints.0.provider.signature.algorithm: write one of sha1, sha256, sha512",
        ),
        (
            "unit: s",
            "unit: sec",
            (
                "21:51: endpoints.0.provider.signature.timestamp.unit: write one of s, ms,"
                " rfc1123, iso8601"
            ),
        ),
        (
            "{header: X-GitHub-Delivery}",
            "{json: 5}",
            '22:25: endpoints.0.provider.event_key.json: write a list, such as ["/id", "/status"]',
        ),
        (
            "192.0.2.0/24",
            "192.0.2.1/24",
            (
                "11:33: endpoints.0.provider.networks.live.cidrs.0: 192.0.2.1/24 has host bits;"
                " write 192.0.2.0/24 or 192.0.2.1/32"
            ),
        ),
    ],
)
def test_its_keys_are_checked_all_the_same(old: str, new: str, said: str) -> None:
    text = changed((BUILT_IN, INLINE.replace(old, new, 1)))
    assert mistakes(text) == [said]
