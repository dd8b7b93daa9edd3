"""Parts that do not fit together."""

import errno
import os
from pathlib import Path

import pytest

from tests.config.files import GOOD, VIPPS, changed, good, mistakes

NOT_THERE = os.strerror(errno.ENOENT)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            changed(("upstream: billing", "upstream: biling")),
            ['12:15: endpoints.0.upstream: no upstream named "biling"; did you mean "billing"?'],
        ),
        (
            changed(("upstream: billing", "upstream: xyz")),
            ['12:15: endpoints.0.upstream: no upstream named "xyz"; there are: billing'],
        ),
        (
            changed(("  billing: {", "  bil.ling: {"), ("upstream: billing", "upstream: bil.ling")),
            [
                (
                    "5:3: upstreams.bil.ling: a name that is no label in metrics; write 1 to 64"
                    " letters, digits, hyphens or underscores"
                )
            ],
        ),
        (
            GOOD + VIPPS.replace("name: vipps", "name: midtrans"),
            [
                (
                    "13:11: endpoints.1.name: the endpoint at 7:11 has this name; names tell"
                    " endpoints apart"
                )
            ],
        ),
        (
            GOOD + VIPPS.replace("/vipps", "/midtrans/notification"),
            [
                (
                    "14:11: endpoints.1.path: the endpoint midtrans has this path, at 8:11; give"
                    " each its own"
                )
            ],
        ),
        (
            changed(('8080"\n', '8080"\n  - bind: "127.0.0.1:8080"\n')),
            [
                (
                    "3:11: listen.1.bind: listen.0.bind at 2:11 has this address and port; choose"
                    " another"
                )
            ],
        ),
        (
            GOOD + 'admin: {bind: "127.0.0.1:8080"}\n',
            [
                (
                    "13:15: admin.bind: listen.0.bind at 2:11 has this address and port; choose"
                    " another"
                )
            ],
        ),
        (
            GOOD + 'admin: {token: "${env:KEY}", read_token: "${env:KEY}"}\n',
            [
                (
                    "13:42: admin.read_token: is the token that may act, too; give each a value of"
                    " its own"
                )
            ],
        ),
        (
            GOOD + 'admin: {hosts: [relay.internal, "http://relay", "relay:9464"]}\n',
            [
                (
                    f"13:{column}: admin.hosts.{at}: write a host name or an address, without a"
                    " port, such as relay.internal"
                )
                for at, column in ((1, 33), (2, 49))
            ],
        ),
        (
            changed(('8080"', '9464"')),
            [("1:1: admin.bind: listen.0.bind at 2:11 has this address and port; choose another")],
        ),
        (
            GOOD + "spool: {retain: 1d, retain_keys: 7d}\n",
            [
                (
                    "13:34: spool.retain_keys: must be 8d or more: a provider may repeat a delivery"
                    " for seven days"
                )
            ],
        ),
        (
            GOOD + "spool: {retain: 90d}\n",
            [
                (
                    "13:8: spool.retain_keys: must not be shorter than retain: a body is not kept"
                    " without its key"
                )
            ],
        ),
        (
            GOOD + "dns: {min_refresh: 10m}\n",
            ["13:6: dns.max_refresh: must not be shorter than min_refresh"],
        ),
        (
            GOOD + "dns: {max_stale: 1m}\n",
            ["13:18: dns.max_stale: must not be shorter than max_refresh"],
        ),
        (
            changed(('webhooks"}', 'webhooks", signing_secrets: [abc, "whsec_***"]}')),
            [
                (
                    "5:70: upstreams.billing.signing_secrets.0: holds 2 bytes; Standard Webhooks"
                    " asks for 24 to 64; write Base64 of 24 to 64 bytes, with or without whsec_ in"
                    " front"
                ),
                (
                    "5:75: upstreams.billing.signing_secrets.1: is not Base64; write Base64 of 24"
                    " to 64 bytes, with or without whsec_ in front"
                ),
            ],
        ),
        (
            changed(
                ('8080"\n', '8080"\n    proxy_protocol: true\n'),
                ('trusted_proxies: ["127.0.0.1"]\n', ""),
            ),
            [
                (
                    "3:21: listen.0.proxy_protocol: needs trusted_proxies: only their PROXY headers"
                    " are believed"
                ),
            ],
        ),
    ],
)
def test_what_does_not_fit(text: str, said: list[str]) -> None:
    assert mistakes(text) == said


def test_what_just_fits() -> None:
    good(GOOD + "spool: {retain: 8d, retain_keys: 8d}\n")
    good(GOOD + "dns: {min_refresh: 5m, max_stale: 5m}\n")
    good(GOOD + VIPPS.replace("/vipps", "/midtrans/notification/"))
    good(changed(('webhooks"}', f'webhooks", signing_secrets: [whsec_{"A" * 32}]}}')))


def test_port_0_is_another_each_time() -> None:
    text = changed((':8080"\n', ':0"\n  - bind: "127.0.0.1:0"\n'))
    assert len(good(text + 'admin: {bind: "127.0.0.1:0"}\n').listen) == 2


def test_a_spool_needs_a_directory_to_lie_in(tmp_path: Path) -> None:
    text = GOOD + "spool: {path: gone/relay.db}\n"
    assert mistakes(text, base=tmp_path) == [
        f"13:15: spool.path: there is no directory {tmp_path}/gone; make it"
    ]


def test_a_spool_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    text = GOOD + "spool: {path: spool}\n"
    assert mistakes(text, base=tmp_path) == [
        f"13:15: spool.path: {tmp_path}/spool is a directory; write a file in it"
    ]


def test_state_needs_its_directory(tmp_path: Path) -> None:
    text = GOOD + "state_dir: gone\n"
    assert mistakes(text, base=tmp_path) == [
        f"13:12: state_dir: there is no directory {tmp_path}/gone; make it"
    ]


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = f"{tmp_path}/file is not a directory; write another path"
    assert mistakes(GOOD + "state_dir: file\n", base=tmp_path) == [f"13:12: state_dir: {said}"]
    assert mistakes(GOOD + "spool: {path: file/relay.db}\n", base=tmp_path) == [
        f"13:15: spool.path: {said}"
    ]


# ---- what is not available ------------------------------------------------------------------
# What this version cannot do is refused, never ignored.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD + "spool: {kind: postgres, dsn: '${env:KEY}'}\n",
            "13:15: spool.kind: PostgreSQL is not available in this version; write kind: sqlite",
        ),
    ],
)
def test_it_is_said_what_is_not_available(text: str, said: str) -> None:
    assert mistakes(text) == [said]
