"""The secret of a challenge is none that verifies messages."""

import pytest

from relay.config.inline_provider import InlineProvider
from tests.config.files import BUILT_IN, INLINE, changed, good, mistakes

CHALLENGE = """\
      challenge:
        - when: {method: GET, query: crc_token}
          signed: SIGNED
          secret: "${env:SECRET}"
          answer: {json: {response_token: "sha256={hmac_sha256_base64:{query:crc_token}}"}}
"""


def written(secret: str, *, signed: bool = False, encoding: str = "text") -> str:
    challenge = CHALLENGE.replace("SECRET", secret).replace("SIGNED", str(signed).lower())
    block = INLINE.replace("secret_encoding: text", f"secret_encoding: {encoding}")
    return changed((BUILT_IN, block + challenge))


@pytest.mark.parametrize("signed", [True, False])
def test_one_of_the_endpoint_itself_is_refused(signed: bool) -> None:
    assert mistakes(written("KEY", signed=signed)) == [
        (
            "26:19: endpoints.0.provider.challenge.0.secret: also verifies messages of midtrans,"
            " and anybody could have a message signed with it; give the challenge a secret of its"
            " own"
        )
    ]


def test_so_is_the_key_that_one_stands_for() -> None:
    environ = {"KEY": "YSBrZXkgb2YgbWVzc2FnZXM=", "OTHER": "a key of messages"}
    [said] = mistakes(written("OTHER", encoding="base64"), environ)
    assert said.startswith("26:19: endpoints.0.provider.challenge.0.secret: also verifies")


def test_so_is_what_relay_signs_with() -> None:
    text = written("TOKEN").replace('webhooks"}', 'webhooks", signing_secrets: ["${env:TOKEN}"]}')
    environ = {"KEY": "Mid-server-1", "TOKEN": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    [said] = mistakes(text, environ)
    assert "endpoints.0.provider.challenge.0.secret: also signs what billing is sent" in said


def test_one_of_its_own_is_taken() -> None:
    described = good(written("OTHER")).endpoints[0].provider
    assert isinstance(described, InlineProvider)
    assert described.challenge[0].secret is not None
