"""Secrets that can hardly fit are named, and none is shown."""

from pathlib import Path

import pytest

from tests.config.files import BUILT_IN, GOOD, INLINE, VIPPS, changed, good, mistakes
from tests.config.lints import findings

CANARY = "canary7f3a91canary7f3a91"
KEY = f"Mid-server-{CANARY}"

# ---- what came along with a secret ----------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("SB-Mid-server-x ", "ends in a blank"),
        (f" {KEY}", "begins with a blank"),
        (f'"{KEY}"', "stands in quotes or brackets"),
        (f"{KEY}\n\n", "ends in a line break"),
        (f"\ufeff{KEY}", "begins with a byte order mark"),
        (f"{KEY}\u200b", "holds a letter without width, which nobody sees"),
        (f"{KEY}\n{KEY}", "holds more than one line"),
        (f"KEY={KEY}", None),
        (f"SERVER_KEY={KEY}", "begins with the name of a variable"),
    ],
)
@pytest.mark.parametrize("kind", ["env", "file"])
def test_a_key_that_fits_nothing_is_refused_where_it_is_the_only_one(
    value: str, said: str | None, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(value)
    text = changed(("${env:KEY}", "${env:KEY}" if kind == "env" else "${file:key}"))
    if said is None:
        good(text, {"KEY": value}, tmp_path)
        return
    assert mistakes(text, {"KEY": value}, tmp_path) == [
        f"11:15: endpoints.0.secrets.0: {said}: nothing can fit it; write it without"
    ]


def test_one_newline_is_none(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\r\n")
    text = changed(('["${env:KEY}"]', '["${env:KEY}", "${file:key}"]'))
    text += "spool: {path: /srv/relay.db}\n"
    assert findings(good(text, {"KEY": f"{KEY}\n"}, tmp_path)) == []


def test_beside_one_that_may_fit_it_is_a_warning() -> None:
    # A rotation: what runs goes on.
    text = changed(('["${env:KEY}"]', '["${env:KEY}", "${env:NEW}"]'))
    assert findings(good(text, {"KEY": KEY, "NEW": f"{KEY} "})) == [
        (
            "11:29: warning: endpoints.0.secrets.1: ends in a blank: nothing can fit it; write it"
            " without [odd-secret]"
        )
    ]


def test_a_senders_own_choice_may_be_odd() -> None:
    text = changed((BUILT_IN, INLINE))
    assert findings(good(text, {"KEY": f"{CANARY} "})) == [
        (
            "23:15: warning: endpoints.0.secrets.0: ends in a blank: nothing fits it unless the"
            " other side's does; write it without [odd-secret]"
        )
    ]


def test_a_token_in_a_header_field_is_never_odd() -> None:
    token = INLINE.replace("scheme: hmac", "scheme: token").replace(
        "        algorithm: sha256\n        secret_encoding: text\n", ""
    )
    for line in ("format", "encoding", "signed", "timestamp"):
        kept = [each for each in token.splitlines() if not each.strip().startswith(f"{line}:")]
        token = "\n".join(kept) + "\n"
    (said,) = mistakes(changed((BUILT_IN, token)), {"KEY": f'"{CANARY}"'})
    assert "endpoints.0.secrets.0: stands in quotes or brackets: nothing can fit it" in said


def test_keys_in_pem_have_lines() -> None:
    # And what is wrong with one is said by its line.
    (said,) = mistakes(
        changed(("provider: midtrans", "provider: midtrans-snap")), {"KEY": "x \ny\n"}
    )
    assert "odd" not in said


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("whsec_ZZZ ", "is not Base64 (it ends in a blank)"),
        ('"whsec_' + "A" * 32 + '"', "is not Base64 (it stands in quotes or brackets)"),
    ],
)
def test_what_is_refused_for_another_reason_says_it_too(secret: str, said: str) -> None:
    text = changed(('webhooks"}', "webhooks\", signing_secrets: ['${env:SIGN}']}"))
    (line,) = mistakes(text, {"KEY": KEY, "SIGN": secret})
    assert f"signing_secrets.0: {said}" in line
    inline = changed((BUILT_IN, INLINE.replace("secret_encoding: text", "secret_encoding: hex")))
    (line,) = mistakes(inline, {"KEY": "ab cd "})
    assert "is not hexadecimal; secret_encoding says it would be (it ends in a blank)" in line


# ---- keys of another kind or place ----------------------------------------------------------


@pytest.mark.parametrize("key", ["Mid-client-abc", "SB-Mid-client-abc", ' "Mid-client-abc"'])
def test_a_client_key_signs_nothing(key: str) -> None:
    said = "is a client key, which signs nothing; take the server key that stands beside it"
    assert mistakes(GOOD, {"KEY": key}) == [f"11:15: endpoints.0.secrets.0: {said}"]
    text = changed(('["${env:KEY}"]', '["${env:KEY}", "${env:OTHER}"]'))
    found = findings(good(text, {"KEY": KEY, "OTHER": key}))
    assert f"11:29: warning: endpoints.0.secrets.1: {said} [client-key]" in found
    asking = GOOD + '    confirm: {key: "${env:OTHER}"}\n'
    assert f"13:20: warning: endpoints.0.confirm.key: {said} [client-key]" in findings(
        good(asking, {"KEY": KEY, "OTHER": key})
    )


def test_one_key_for_two_environments() -> None:
    sandbox = GOOD[GOOD.index("  - name: midtrans") :].replace("name: midtrans", "name: trial")
    sandbox = sandbox.replace("/midtrans/notification", "/trial").replace("production", "sandbox")
    said = (
        "17:15: warning: endpoints.1.secrets.0: the endpoint midtrans (production) has the same"
        " secret, and each environment has its own [shared-secret]"
    )
    assert findings(good(GOOD + sandbox, {"KEY": KEY})) == [said]
    # Of one environment, and of another provider's, it is no mistake.
    assert findings(good(GOOD + sandbox.replace("sandbox", "production"), {"KEY": KEY})) == []
    assert findings(good(GOOD + VIPPS, {"KEY": KEY, "OTHER": KEY})) == []


# ---- tokens of the admin listener -----------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("changeme", "is a word that anybody would try; write a long random one"),
        ("Password", "is a word that anybody would try; write a long random one"),
        ("change-me-change-me", "is a word that anybody would try; write a long random one"),
        ("password12345678!", "is a word that anybody would try; write a long random one"),
        ("a" * 24, "repeats a few letters and could be guessed; write a long random one"),
        ("abcab" * 4, "repeats a few letters and could be guessed; write a long random one"),
        (
            "0123456789abcde",
            (
                "is shorter than 16 bytes and could be guessed; openssl rand -hex 24 prints a"
                " better one"
            ),
        ),
        ("0123456789abcdef", None),
    ],
)
@pytest.mark.parametrize("name", ["token", "read_token"])
def test_a_token_that_could_be_guessed(token: str, said: str | None, name: str) -> None:
    other = ', token: "${env:OTHER}"' if name == "read_token" else ""
    text = f'{GOOD}admin: {{{name}: "${{env:TOKEN}}"{other}}}\n'
    place = f"13:{11 + len(name)}: warning: admin.{name}"
    want = [] if said is None else [f"{place}: {said} [weak-token]"]
    assert findings(good(text, {"KEY": KEY, "TOKEN": token, "OTHER": KEY})) == want
    assert findings(good(text, {"KEY": KEY, "TOKEN": f"{CANARY} ", "OTHER": KEY})) == [
        (
            f"{place}: ends in a blank: nothing fits it unless the other side's does; write it"
            " without [odd-secret]"
        )
    ]


# ---- keys of the spool ----------------------------------------------------------------------

BASE64 = "7f3aCANARY0011223344556677889900aabbccddee+="


def sealed(*keys: str) -> str:
    return GOOD + f"spool: {{encrypt: [{', '.join(keys)}]}}\n"


def test_a_key_of_another_length_is_refused_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("7f3aCANARY")
    text = sealed('"${env:SEAL}"', '"${file:short}"')
    assert mistakes(text, {"KEY": KEY, "SEAL": BASE64}, tmp_path) == [
        (
            "13:34: spool.encrypt.1: is not 32 bytes as Base64 or hex; openssl rand -base64 32"
            " prints a key"
        )
    ]


def test_a_key_that_stands_in_the_file_or_stands_there_twice_is_told() -> None:
    secrets = {"KEY": KEY, "SEAL": BASE64}
    assert findings(good(sealed('"${env:SEAL}"'), secrets)) == []
    assert findings(good(sealed('"${env:SEAL}"', f'"{BASE64}"'), secrets)) == [
        (
            "13:34: warning: spool.encrypt.1: is the same key as the one at 0; write each once"
            " [key-twice]"
        ),
        (
            "13:34: warning: spool.encrypt.1: a secret stands in the file; write ${env:NAME} or"
            " ${file:PATH} [literal-secret]"
        ),
    ]
    assert findings(good(sealed('"${env:SEAL}"'), secrets | {"SEAL": "07" * 32})) == [
        (
            "13:19: warning: spool.encrypt.0: repeats a few bytes and could be guessed; openssl"
            " rand -base64 32 prints a better one [weak-key]"
        )
    ]


def test_the_keys_of_the_spool_are_secrets_that_are_masked() -> None:
    settings = good(sealed('"${env:SEAL}"'), {"KEY": KEY, "SEAL": BASE64})
    assert BASE64.encode() in [secret.reveal() for secret in settings.every_secret()]
    assert "CANARY" not in repr(settings)


def test_a_header_field_that_is_written_out_is_no_secret_unless_it_looks_like_one() -> None:
    headers = f"headers: {{X-Env: prod, X-Api-Key: prod, X-Shop: {CANARY}}}"
    found = findings(good(changed(('webhooks"', f'webhooks", {headers}'))))
    said = "a secret stands in the file; write ${env:NAME} or ${file:PATH} [literal-secret]"
    assert found == [
        f"5:86: warning: upstreams.billing.headers.X-Api-Key: {said}",
        f"5:100: warning: upstreams.billing.headers.X-Shop: {said}",
    ]
