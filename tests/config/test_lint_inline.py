"""What a provider described in the file says that its author may not have meant."""

from base64 import b64encode

import pytest

from tests.config.files import BUILT_IN, INLINE, changed, good
from tests.config.lints import findings

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
