"""The sentences that misled users: each mistake as it was made, and what is said of it."""

from pathlib import Path

import pytest

from relay.config import load
from relay.config.settings import Confirm
from relay.config.upstream_settings import Upstream
from relay.core.errors import ConfigError
from tests.config.files import ENVIRON, GOOD, VIPPS, changed, keys, mistakes

# ---- keys and their values ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            changed(("endpoints:", "endpoint:")),
            '6:1: endpoint: unknown key "endpoint"; did you mean "endpoints"?',
        ),
        (
            changed(("secrets:", "secret:")),
            '11:5: endpoints.0.secret: unknown key "secret"; did you mean "secrets"?',
        ),
        (
            changed(('["${env:KEY}"]', '"${env:KEY}"')),
            '11:14: endpoints.0.secrets: write a list: secrets: ["${env:KEY}"]',
        ),
        (
            changed(('["${env:KEY}"]', "${file:secrets/key}")),
            '11:14: endpoints.0.secrets: write a list: secrets: ["${file:secrets/key}"]',
        ),
        (
            changed(('["${env:KEY}"]', "[${env:KEY}]")),
            ('11:16: not valid YAML: ${...} needs quotes within brackets, such as ["${env:NAME}"]'),
        ),
        (
            changed(('webhooks"}', 'webhooks", signing_secrets: "${env:KEY}"}')),
            (
                "5:69: upstreams.billing.signing_secrets: write a list: signing_secrets:"
                ' ["${env:KEY}"]'
            ),
        ),
        # What is no reference may be a secret.
        (
            changed(('["${env:KEY}"]', '"${vault:canary}"')),
            '11:14: endpoints.0.secrets: write a list: secrets: ["${env:NAME}"]',
        ),
        # Neither below a key that is none, nor in a list where a mapping belongs.
        (
            GOOD + 'amdin: {token: "${env:KEY}", token: "${env:KEY}"}\n',
            '13:1: amdin: unknown key "amdin"; did you mean "admin"?',
        ),
        (
            GOOD + 'admin: [{token: "${env:KEY}"}]\n',
            (
                "13:8: admin: write admin: {bind: …}, with some of the keys bind, token,"
                " read_token, hosts"
            ),
        ),
        # A misspelled key that is needed is one mistake.
        (
            changed(("upstream: billing", "upstrem: billing")),
            '12:5: endpoints.0.upstrem: unknown key "upstrem"; did you mean "upstream"?',
        ),
        (
            changed(("  - bind:", "  - bnd:")),
            '2:5: listen.0.bnd: unknown key "bnd"; did you mean "bind"?',
        ),
    ],
)
def test_nothing_is_said_below_a_key_that_is_none(text: str, said: str) -> None:
    assert mistakes(text) == [said]


def test_a_misspelled_key_beside_the_right_one_hides_no_other_mistake() -> None:
    assert mistakes(changed(("upstream: billing", "upstream: biling\n    upstrem: x"))) == [
        '12:15: endpoints.0.upstream: no upstream named "biling"; did you mean "billing"?',
        '13:5: endpoints.0.upstrem: unknown key "upstrem"; did you mean "upstream"?',
    ]


NAMES = "write names with their settings: billing: {url: …}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed(("  billing: {", "  - {")), f"5:3: upstreams: {NAMES}"),
        (changed(("  billing: {", "  - billing: {")), f"5:3: upstreams: {NAMES}"),
        (
            changed(('  billing: {url: "http://127.0.0.1:8081/webhooks"}', "  billing")),
            f"5:3: upstreams: {NAMES}",
        ),
        (
            changed(
                ("upstreams:", "upstreams: {}"),
                ('  billing: {url: "http://127.0.0.1:8081/webhooks"}\n', ""),
            ),
            "4:12: upstreams: must hold at least one",
        ),
        (
            changed(
                ('{url: "http://127.0.0.1:8081/webhooks"}', '"http://127.0.0.1:8081/webhooks"')
            ),
            (
                "5:12: upstreams.billing: write billing: {url: …}, with some of the keys"
                f" {keys(Upstream)}"
            ),
        ),
    ],
)
def test_upstreams_have_names(text: str, said: str) -> None:
    assert mistakes(text) == [said]


LISTENER = "with some of the keys bind, tls, proxy_protocol"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD + "    confirm: no\n",
            "13:14: endpoints.0.confirm: leave confirm out to do without it",
        ),
        (
            GOOD + "    confirm: false\n",
            "13:14: endpoints.0.confirm: leave confirm out to do without it",
        ),
        (
            changed(('8080"\n', '8080"\n    tls: off\n')),
            "3:10: listen.0.tls: leave tls out to do without it",
        ),
        (
            GOOD + "    confirm: yes\n",
            (
                "13:14: endpoints.0.confirm: write confirm: {with: …}, with some of the keys"
                f" {keys(Confirm)}"
            ),
        ),
        # Without it, addresses are enforced.
        (
            GOOD + "    allowlist: off\n",
            (
                "13:16: endpoints.0.allowlist: write allowlist: {mode: …}, with some of the keys"
                " mode, add, replace"
            ),
        ),
        (
            changed(('  - bind: "127.0.0.1:8080"', '  - "127.0.0.1:8080"')),
            f"2:5: listen.0: write - bind: …, {LISTENER}",
        ),
        (
            changed(('8080"\n', '8080"\n    tls: tls/pay.pem\n')),
            "3:10: listen.0.tls: write tls: {certificate: …, key: …}",
        ),
    ],
)
def test_a_mapping_is_shown_by_its_usual_keys(text: str, said: str) -> None:
    assert mistakes(text) == [said]


# ---- two of one kind ------------------------------------------------------------------------


def test_of_two_that_are_alike_the_first_is_named_with_its_line() -> None:
    text = GOOD + VIPPS.replace("/vipps", "/midtrans/notification")
    assert mistakes(text) == [
        ("14:11: endpoints.1.path: the endpoint midtrans has this path, at 8:11; give each its own")
    ]
    assert mistakes(GOOD + VIPPS.replace("name: vipps", "name: midtrans")) == [
        "13:11: endpoints.1.name: the endpoint at 7:11 has this name; names tell endpoints apart"
    ]
    assert mistakes(changed(('8080"\n', '8080"\n  - bind: "127.0.0.1:8080"\n'))) == [
        "3:11: listen.1.bind: listen.0.bind at 2:11 has this address and port; choose another"
    ]


def test_a_prefix_with_a_slash_and_a_bad_key_are_told_at_once() -> None:
    text = changed(
        ("/midtrans/notification", "/snap/"), ("provider: midtrans", "provider: midtrans-snap")
    )
    assert mistakes(text) == [
        (
            "8:11: endpoints.0.path: is a prefix, and what is appended begins with a slash; leave"
            " the last one out"
        ),
        "11:15: endpoints.0.secrets.0: line 1: neither PEM nor Base64",
    ]


# ---- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bind", "said"),
    [
        (
            "localhost:8080",
            'a name is no address; write one, such as "127.0.0.1:8080" or "[::1]:8080"',
        ),
        (
            ":443",
            'no address before the port; "0.0.0.0:8443" is all of IPv4, "[::]:8443" all of IPv6',
        ),
        ("::1:8080", 'an IPv6 address needs brackets and a port, such as "[::1]:8443"'),
        ("0.0.0.0:99999", "the port is at most 65535"),
        ("443", 'no port behind an address; write both, such as "0.0.0.0:8443"'),
    ],
)
def test_an_address_to_listen_on(bind: str, said: str) -> None:
    assert mistakes(changed(('"127.0.0.1:8080"', bind))) == [f"2:11: listen.0.bind: {said}"]
    assert mistakes(f"{GOOD}admin: {{bind: {bind!r}}}\n") == [f"13:15: admin.bind: {said}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "spool: {path: ~/relay.db}\n", "13:15: spool.path: ~ is not expanded here"),
        (GOOD + "state_dir: ~\n", None),
        (GOOD + "state_dir: $HOME/relay\n", "13:12: state_dir: $ is not expanded here"),
        (
            changed(('8080"\n', '8080"\n    tls: {certificate: ~/a.pem, key: ~/b.pem}\n')),
            (
                "3:24: listen.0.tls.certificate: ~ is not expanded here; write the whole path\n"
                "3:38: listen.0.tls.key: ~ is not expanded here"
            ),
        ),
        (
            changed(('"${env:KEY}"', '"${file:~/key}"')),
            "11:15: endpoints.0.secrets.0: ~ is not expanded here",
        ),
    ],
)
def test_no_home_directory_is_found_for_a_path(text: str, said: str | None) -> None:
    if said is None:
        # `~` alone is nothing at all in YAML.
        assert "this key has no value" in mistakes(text)[0]
    else:
        assert mistakes(text) == f"{said}; write the whole path".split("\n")


@pytest.mark.parametrize("text", ["${KEY}", "$KEY"])
def test_a_variable_as_a_shell_spells_it(text: str) -> None:
    said = "write ${env:KEY}"
    assert mistakes(changed(("${env:KEY}", text))) == [f"11:15: endpoints.0.secrets.0: {said}"]
    assert mistakes(f"{GOOD}admin: {{token: '{text}'}}\n") == [f"13:16: admin.token: {said}"]
    signing = f"webhooks\", signing_secrets: ['{text}']}}"
    assert mistakes(changed(('webhooks"}', signing))) == [
        f"5:70: upstreams.billing.signing_secrets.0: {said}"
    ]


# ---- the file itself ------------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, ENVIRON)
    return str(caught.value).removeprefix(str(path))


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_bytes(GOOD.replace("/midtrans", "/caf\xe9").encode("latin-1"))
    said = "not UTF-8: byte 0xE9 is é in Latin-1 and Windows-1252; save the file as UTF-8"
    assert refused(file) == f":8:15: {said}"


def test_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "relay.yaml") == (
        ":1:1: there is no such file; name one with -c FILE or in RELAY_CONFIG, or write one with"
        " relay init"
    )


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("bearer: x", 'bearer: unknown key "bearer"; it belongs in auth'),
        ("oauth2: {}", 'oauth2: unknown key "oauth2"; it belongs in auth'),
        ("ca: x.pem", 'ca: unknown key "ca"; it belongs in tls'),
        ("give_up_after: 1h", 'give_up_after: unknown key "give_up_after"; it belongs in retry'),
    ],
)
def test_a_key_beside_the_one_that_it_belongs_in(key: str, said: str) -> None:
    (line,) = mistakes(changed(('webhooks"}', f'webhooks", {key}}}')))
    assert line.partition(": ")[2] == f"upstreams.billing.{said}"


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ('headers: {"X-Api-Key: s3cret": ""}', "headers.X-Api-Key…"),
        ('headers: {"X-Api-Key=s3cret"}', "headers.X-Api-Key…"),
        ('auth: {"bearer s3cret": x}', "auth"),
        ("headers: {X-Api-Key s3cret}", "headers.X-Api-Key…"),
        ('auth: {basic: {"relay:s3cret": x}}', "auth.basic.relay…"),
        ('headers: {"a: s3cret": x, "a: s3cret": x}', "headers.a…"),
        ('tls: {ca: "-----BEGIN CERTIFICATE-----s3cret"}', "tls.ca"),
        (f"tls: {{ca: 5, key: {'-----BEGIN PRIVATE KEY-----s3cret' * 99}}}", "tls.key"),
    ],
)
def test_no_secret_is_told_that_stands_where_a_key_or_a_path_belongs(keys: str, where: str) -> None:
    lines = mistakes(changed(('webhooks"}', f'webhooks", {keys}}}')))
    assert any(f"upstreams.billing.{where}: " in line for line in lines)
    assert "s3cret" not in " ".join(lines)


@pytest.mark.parametrize(
    "key", ["insecure: true", "tls: {verify: false}", "tls: {insecure_skip_verify: true}"]
)
def test_certificates_are_verified_whatever_is_written(key: str) -> None:
    (line,) = mistakes(changed(('webhooks"}', f'webhooks", {key}}}')))
    assert line.partition('"; ')[2] == (
        "certificates are always verified; tls.ca names an authority of your own"
    )


@pytest.mark.parametrize(
    ("key", "meant"),
    [("cert", "certificate"), ("ca_file", "ca"), ("key_file", "key"), ("cert_file", "certificate")],
)
def test_a_key_that_is_cut_short_or_has_a_word_more(key: str, meant: str) -> None:
    text = changed(('webhooks"}', f'webhooks", tls: {{{key}: x.pem}}}}'))
    assert mistakes(text)[0].partition("; ")[2] == f'did you mean "{meant}"?'


def test_a_token_in_a_header_field() -> None:
    headers = 'headers: {Authorization: "Bearer ${env:TOKEN}"}'
    assert mistakes(changed(('webhooks"}', f'webhooks", {headers}}}'))) == [
        (
            "5:77: upstreams.billing.headers.Authorization: write auth: {bearer: "
            '"${env:TOKEN}"} in place of this'
        )
    ]
