"""Secrets are read from elsewhere, and show themselves nowhere."""

import errno
import os
from pathlib import Path

import pytest

from relay.config import load_text
from relay.config.secret_references import UNSET_AT_START, resolve
from relay.config.settings import PostgresSpool
from relay.config.validation import validate
from relay.core.errors import ConfigError
from relay.core.secret import Secret
from tests.config.files import BASE, ENVIRON, GOOD, NAME, changed, good, mistakes

NOT_THERE = os.strerror(errno.ENOENT)

CANARY = "canary-7f3a91"


def token(text: str) -> str:
    return f"{GOOD}admin: {{token: {text}}}\n"


def test_a_variable_of_the_environment() -> None:
    settings = good(token("'${env:TOKEN}'"), {"KEY": "k", "TOKEN": " with blanks\n"})
    assert settings.admin.token == Secret(" with blanks")
    assert settings.endpoints[0].secrets == (Secret("k"),)
    assert not settings.source.literals


@pytest.mark.parametrize(
    ("text", "secret"),
    [("t\n", "t"), ("t\r\n", "t"), ("t\n\n", "t\n"), ("t\r", "t\r"), (" t ", " t ")],
)
def test_a_variable_without_one_trailing_newline(text: str, secret: str) -> None:
    settings = good(token("'${env:TOKEN}'"), {"KEY": "k", "TOKEN": text})
    assert settings.admin.token == Secret(secret)


def test_what_is_said_of_a_variable_that_is_not_there() -> None:
    assert mistakes(GOOD, {}) == [
        "11:15: endpoints.0.secrets.0: the environment variable KEY is not set"
    ]
    with pytest.raises(ConfigError) as caught:
        load_text(GOOD, NAME, {}, BASE, UNSET_AT_START)
    assert str(caught.value).endswith(
        "the environment variable KEY was not set when relay started, and cannot change while it"
        " runs; restart it, or use ${file:PATH} for what changes"
    )


def test_bytes_of_the_environment_stay_what_they_are() -> None:
    environ = {"KEY": "k", "TOKEN": os.fsdecode(b"\xff\xfe")}
    assert good(token("'${env:TOKEN}'"), environ).admin.token == Secret(b"\xff\xfe")


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"abc", b"abc"),
        (b"abc\n", b"abc"),
        (b"abc\r\n", b"abc"),
        (b"abc\r", b"abc\r"),
        (b"abc\n\n", b"abc\n"),
        (b" a\xffc ", b" a\xffc "),
    ],
)
def test_a_file_without_one_trailing_newline(tmp_path: Path, content: bytes, secret: bytes) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_bytes(content)
    relative = good(token("'${file:secrets/token}'"), base=tmp_path)
    absolute = good(token(f"'${{file:{tmp_path}/secrets/token}}'"))
    assert relative.admin.token == absolute.admin.token == Secret(secret)


def test_every_place_of_secrets_takes_references() -> None:
    environ = {**ENVIRON, "SIGN": "whsec_" + "A" * 32, "TOKEN": "t"}
    text = token("'${env:TOKEN}'").replace(
        "/webhooks", "/webhooks\", signing_secrets: ['${env:SIGN}', '${env:SIGN}'], url2: \""
    )
    text = text.replace(', url2: ""', "")
    settings = good(text, environ)
    assert settings.upstreams["billing"].signing_secrets == (Secret("whsec_" + "A" * 32),) * 2
    data = {"spool": {"kind": "postgres", "dsn": "${env:TOKEN}"}}
    spool = validate(resolve(data, environ, BASE).data, BASE).settings
    assert spool is not None
    assert isinstance(spool.spool, PostgresSpool)
    assert spool.spool.dsn == Secret("t")


def test_a_literal_is_taken_and_remembered_by_its_place_alone() -> None:
    settings = good(changed(('"${env:KEY}"', f'"${{env:KEY}}", "{CANARY}"')))
    assert settings.endpoints[0].secrets[1] == Secret(CANARY)
    assert settings.source.literals == {("endpoints", 0, "secrets", 1)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("'${env:NONE}'", "13:16: admin.token: the environment variable NONE is not set"),
        ("'${env:EMPTY}'", "13:16: admin.token: the environment variable EMPTY is empty"),
        (
            "'${file:none}'",
            "13:16: admin.token: cannot read {base}/none: " + NOT_THERE,
        ),
        ("'${file:empty}'", "13:16: admin.token: {base}/empty is empty"),
        ("'${file:.}'", "13:16: admin.token: {base} is not a file"),
        ("'${file:pipe}'", "13:16: admin.token: {base}/pipe is not a file"),
        ("'${file:large}'", "13:16: admin.token: {base}/large is larger than 65536 bytes"),
        ('"${file:a\\0b}"', "13:16: admin.token: {base}/a\\x00b cannot be the path of a file"),
        ("''", "13:16: admin.token: is empty; write ${{env:NAME}} or ${{file:PATH}}"),
        ("'${KEY}'", "13:16: admin.token: write ${{env:KEY}}"),
        *(
            (f"'{each}'", "13:16: admin.token: write ${{env:KEY}}")
            for each in (
                *("$KEY", "${ENV:KEY}", "${env.KEY}", "env:KEY", "${env:KEY", "$env:KEY"),
                *("{{KEY}}", "{{ KEY }}", "%KEY%"),
            )
        ),
        ("'file:secrets/key'", "13:16: admin.token: write ${{file:secrets/key}}"),
        ("'${env: KEY}'", "13:16: admin.token: write ${{env:KEY}}, without blanks"),
        *(
            (
                f"'{each}'",
                "13:16: admin.token: write ${{env:NAME}} or ${{file:PATH}} and nothing around it",
            )
            for each in ("$(cat key)", "${secret:KEY}", "$${env:KEY}", "<%= key %>")
        ),
        ("'${file:~/token}'", "13:16: admin.token: ~ is not expanded here; write the whole path"),
        ("['${env:KEY}']", "13:16: admin.token: write one secret, without brackets around it"),
        ("[secret]", "13:16: admin.token: write one secret, without brackets around it"),
        (
            "'${env:}'",
            "13:16: admin.token: write ${{env:NAME}} or ${{file:PATH}} and nothing around it",
        ),
        (
            "'a${env:KEY}'",
            "13:16: admin.token: write ${{env:NAME}} or ${{file:PATH}} and nothing around it",
        ),
        (
            "12",
            "13:16: admin.token: write ${{env:NAME}} or ${{file:PATH}}",
        ),
    ],
)
def test_a_secret_that_cannot_be_had(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "large").write_bytes(b"x" * 65537)
    os.mkfifo(tmp_path / "pipe")
    environ = {**ENVIRON, "EMPTY": "\n"}
    assert mistakes(token(text), environ, tmp_path) == [said.format(base=tmp_path)]


def test_no_token_is_no_token() -> None:
    assert good(token("")).admin.token is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "state_dir: ${env:KEY}\n", "13:12: state_dir: "),
        (changed(("/midtrans/notification", "${file:x}")), "8:11: endpoints.0.path: "),
        (changed(("127.0.0.1:8080", "0.0.0.0:${PORT}")), "2:11: listen.0.bind: "),
        (changed(("127.0.0.1:8081", "${env:HOST}")), "5:18: upstreams.billing.url: "),
    ],
)
def test_references_work_nowhere_else(text: str, said: str) -> None:
    assert mistakes(text) == [
        (
            f"{said}only secrets are read from ${{env:NAME}} or ${{file:PATH}}, and they stand in"
            " admin.token, admin.read_token, endpoints.*.secrets, endpoints.*.confirm.key,"
            " endpoints.*.tokens.keys, endpoints.*.provider.challenge.*.secret,"
            " upstreams.*.signing_secrets, upstreams.*.headers, upstreams.*.auth.bearer,"
            " upstreams.*.auth.basic.password, upstreams.*.auth.oauth2.client_secret, spool.dsn"
            " and spool.encrypt"
        )
    ]


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(CANARY)
    settings = good(
        changed(('"${env:KEY}"', f'"${{env:KEY}}", "{CANARY}", "${{file:secret}}"'))
        + f"admin: {{token: {CANARY}}}\n",
        {"KEY": CANARY},
        tmp_path,
    )
    shown = [repr(settings), str(settings), repr(settings.source), repr(dict(settings))]
    shown += [repr(settings.endpoints), f"{settings.admin}", repr(settings.admin.token)]
    assert not [text for text in shown if CANARY in text]


@pytest.mark.parametrize(
    "text",
    [
        changed(('["${env:KEY}"]', CANARY)),
        changed(('["${env:KEY}"]', f"{{{CANARY}: 1}}")).replace(
            f"{{{CANARY}: 1}}", f"[[{CANARY}]]"
        ),
        changed(("secrets:", "secret:"), ('"${env:KEY}"', CANARY)),
        changed(("midtrans\n    env", "vipp\n    env"), ('"${env:KEY}"', CANARY)),
        changed(("http://127", f"http://user:{CANARY}@127")),
        GOOD + f"admin: {CANARY}\n",
        GOOD + f"spool: {{kind: sqlite, dsn: {CANARY}}}\n",
        GOOD + f"spool: {{kind: postgres, dsn: '{CANARY}'}}\n",
        changed(('"}', f'", signing_secrets: [{CANARY}]}}')),
    ],
)
def test_no_mistake_repeats_a_secret(text: str) -> None:
    assert CANARY in text
    assert not [line for line in mistakes(text) if CANARY in line]
