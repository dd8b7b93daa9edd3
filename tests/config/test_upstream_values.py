"""Credentials and statuses: what is said of those that cannot be taken."""

from pathlib import Path

import pytest

from tests.config.files import ENVIRON, changed, good, mistakes

URL = 'webhooks"'


def said_of(keys: str, base: Path = Path("/etc")) -> list[str]:
    """Return what is said of an upstream with these keys, without its place and its name."""
    lines = mistakes(changed((URL, f"{URL}, {keys}")), ENVIRON, base)
    return [line.partition(": ")[2].removeprefix("upstreams.billing.") for line in lines]


KINDS = "write one of bearer, basic, oauth2"


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ("{token: canary}", f'auth: there are no credentials "token"; {KINDS}'),
        (
            '{basik: {user: a, password: "${env:TOKEN}"}}',
            f'auth: there are no credentials "basik"; {KINDS}; did you mean "basic"?',
        ),
        (
            "{api_key: canary}",
            (
                'auth: there are no credentials "api_key"; a key in a field of its own is'
                " written in headers"
            ),
        ),
        (
            "{mtls: true}",
            'auth: there are no credentials "mtls"; a client certificate is written in tls',
        ),
        ("{}", f"auth: {KINDS}"),
        (
            '{bearer: "${env:TOKEN}", basic: {}}',
            "auth: bearer and basic at once; write one of them",
        ),
        (
            "bearer",
            'auth: write a mapping with the kind, such as {bearer: "${env:NAME}"}',
        ),
        ('"Bearer ${env:TOKEN}"', 'auth: write a mapping: auth: {bearer: "${env:NAME}"}'),
        ('"${env:TOKEN}"', 'auth: write a mapping: auth: {bearer: "${env:TOKEN}"}'),
        ("{bearer: {token: canary}}", "auth.bearer: write ${env:NAME} or ${file:PATH}"),
        (
            '{bearer: "Bearer canary"}',
            "auth.bearer: begins with Bearer, which relay writes itself; write the token alone",
        ),
        (
            '{bearer: "canary two"}',
            "auth.bearer: holds a blank or a letter that no token has; write the token alone",
        ),
        (
            '{bearer: "canaryé"}',
            "auth.bearer: holds a blank or a letter that no token has; write the token alone",
        ),
        (
            '{basic: "user:canary"}',
            "auth.basic: write basic: {user: …, password: …}",
        ),
        (
            '{basic: "${env:TOKEN}"}',
            'auth.basic: write a mapping: basic: {password: "${env:TOKEN}"}',
        ),
        (
            "{basic: {user: relay}}",
            (
                "auth.basic.password: this key is needed, such as password:"
                ' "${env:BILLING_PASSWORD}"'
            ),
        ),
        (
            '{basic: {user: "a:b", password: "${env:TOKEN}"}}',
            (
                "auth.basic.user: must hold no colon, behind which the password begins; write the"
                " name alone"
            ),
        ),
        (
            '{basic: {user: "a\\tb", password: "${env:TOKEN}"}}',
            ("auth.basic.user: holds a control character, or a blank at one end; write it without"),
        ),
        (
            '{basic: {user: a, password: "canary\\u0007"}}',
            (
                "auth.basic.password: has several lines or a control character; write the value"
                " alone"
            ),
        ),
    ],
)
def test_credentials_that_cannot_be_taken(auth: str, said: str) -> None:
    assert said_of(f"auth: {auth}") == [said]


CLIENT = '{token_url: "https://login.internal/", client_id: relay, client_secret: "${env:TOKEN}"}'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'token_url: "https://login.internal/", ',
            "",
            'token_url: this key is needed, such as token_url: "https://login.internal/oauth2/token"',
        ),
        (
            "https://",
            "https://relay:canary@",
            (
                "token_url: must hold no user name or password; they belong in client_id and"
                " client_secret"
            ),
        ),
        ("client_id: relay", 'client_id: ""', "client_id: must not be empty"),
        (
            "client_id: relay",
            'client_id: " relay"',
            "client_id: holds a control character, or a blank at one end; write it without",
        ),
        (
            ', client_secret: "${env:TOKEN}"',
            "",
            'client_secret: this key is needed, such as client_secret: "${env:OAUTH_SECRET}"',
        ),
        (
            "}",
            ", scope: [read, write]}",
            'scope: write one text with blanks between the names, such as "read write"',
        ),
        (
            "client_id: relay",
            "client_id: relay, scope: 'a \"b\"'",
            "scope: write names with one blank between them, without quotes and backslashes",
        ),
        (
            "client_id: relay",
            "client_id: relay, scopes: a",
            'scopes: unknown key "scopes"; did you mean "scope"?',
        ),
    ],
)
def test_a_client_that_cannot_fetch_tokens(old: str, new: str, said: str) -> None:
    # The brace of a reference is not the last one.
    before, found, after = CLIENT.rpartition(old)
    assert found
    assert said_of(f"auth: {{oauth2: {before}{new}{after}}}") == [f"auth.oauth2.{said}"]


def test_a_secret_of_several_lines(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("canary\ntwo\n")
    for auth, key in (
        ('{bearer: "${file:key}"}', "bearer"),
        ('{basic: {user: a, password: "${file:key}"}}', "basic.password"),
        (f"{{oauth2: {CLIENT.replace('${env:TOKEN}', '${file:key}')}}}", "oauth2.client_secret"),
    ):
        (said,) = said_of(f"auth: {auth}", tmp_path)
        assert said.startswith(f"auth.{key}: has several lines")
    (tmp_path / "key").write_bytes(b"caf\xe9")
    for auth in ('{bearer: "${file:key}"}', '{basic: {user: a, password: "${file:key}"}}'):
        (said,) = said_of(f"auth: {auth}", tmp_path)
        assert said.endswith("is no UTF-8 text; write it in UTF-8")


def test_a_password_may_be_any_text_and_a_scope_several_names() -> None:
    password = '{basic: {user: "Ünal", password: "pä ss:wörd"}}'
    assert good(changed((URL, f"{URL}, auth: {password}"))).upstreams["billing"].auth is not None
    client = CLIENT.replace("client_id: relay", 'client_id: relay, scope: "read write"')
    assert good(changed((URL, f"{URL}, auth: {{oauth2: {client}}}"))).upstreams["billing"].auth


RANGE = "write statuses from 300 to 599"
WHOLE = "write each status as a whole number without quotes, such as 400"


@pytest.mark.parametrize(
    ("final", "said"),
    [
        ("[200]", [f"final.0: 200 is a success; {RANGE}"]),
        ("[100]", [f"final.0: 100 only announces an answer; {RANGE}"]),
        ("[600, 0]", [f"final.0: {RANGE}", f"final.1: {RANGE}"]),
        ('["400", 4xx, true]', [f"final.{at}: {WHOLE}" for at in range(3)]),
        ("400", ["final: write a list, such as [400, 410, 422]"]),
    ],
)
def test_statuses_that_end_nothing(final: str, said: list[str]) -> None:
    assert said_of(f"final: {final}") == said


USUAL = "write a whole number and s, m or h, such as 50/s, 10/m or 5/h"


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        ("0", "must be 1 or more; paused: true delivers nothing"),
        ("0/s", "must be 1 or more; paused: true delivers nothing"),
        ("50", f"has no unit of time; {USUAL}"),
        ("99999999999/s", "must be less than 10000000; left out, there is no limit"),
        ('"50"', f"has no unit of time; {USUAL}"),
        ("50/sec", "write 50/s"),
        ("50 per minute", "write 50/m"),
        ("50 / s", "write 50/s"),
        ("0.5/s", "write 30/m"),
        ("0.001/s", USUAL),
        ("1/d", USUAL),
        ("-1/s", USUAL),
        ("fast", USUAL),
        ("true", USUAL),
        ("99999999/s", "must be less than 10000000; left out, there is no limit"),
    ],
)
def test_rates_that_are_none(rate: str, said: str) -> None:
    assert said_of(f"rate: {rate}") == [f"rate: {said}"]


def test_header_fields_by_name() -> None:
    wanted = 'such as headers: {X-Api-Key: "${file:secrets/billing}"}'
    assert said_of('headers: ["X-Api-Key: a"]') == [
        f"headers: write names with their values, {wanted}"
    ]
    assert said_of('headers: "${env:TOKEN}"') == [
        'headers: write a mapping: headers: {X-Api-Key: "${env:TOKEN}"}'
    ]
