"""What we sign is verified by the public Standard Webhooks packages of Python and Node."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from relay.core.clock import SystemClock
from relay.core.secret import Secret
from relay.delivery.request import fields
from relay.signatures.shared_secret import Signer
from tests.harness import npm
from tests.harness.leases import EVENT, lease_of

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OTHER = "whsec_" + "A" * 32
BODY = b'{"order_id": "caf\xc3\xa9", "spaces":  [1, 2]}'


def signed(*secrets: str, at: datetime | None = None) -> dict[str, str]:
    """Return the webhook headers of one attempt."""
    signer = Signer([Secret(each) for each in secrets])
    sent = fields(lease_of(replace(EVENT, body=BODY)), at or SystemClock().now(), signer)
    return {name: value for name, value in sent if name.startswith("webhook-")}


@pytest.mark.parametrize("secrets", [(OLD,), (NEW,), (OLD, NEW), (NEW, OLD)])
@pytest.mark.parametrize("known", [OLD, NEW])
def test_the_python_package_agrees(secrets: tuple[str, ...], known: str) -> None:
    headers = signed(*secrets)
    if known in secrets:
        assert Webhook(known).verify(BODY, headers) == orjson.loads(BODY)
    else:
        with pytest.raises(WebhookVerificationError):
            Webhook(known).verify(BODY, headers)


def test_the_python_package_refuses_what_is_too_old() -> None:
    headers = signed(OLD, at=datetime(2026, 1, 5, tzinfo=UTC))
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(OLD).verify(BODY, headers)


_VERIFY = """
const { Webhook } = require("standardwebhooks");
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const verdicts = given.map(({ secret, headers, body }) => {
  try { new Webhook(secret).verify(body, headers); return true; } catch { return false; }
});
console.log(JSON.stringify(verdicts));
"""


@pytest.mark.npm
def test_the_node_package_agrees(tmp_path: Path) -> None:
    directory = npm.install(tmp_path, "standardwebhooks")
    body = BODY.decode()
    cases = [
        (OLD, signed(OLD), body, True),
        (NEW, signed(OLD, NEW), body, True),
        (OLD, signed(OLD, NEW), body, True),
        (OTHER, signed(OLD, NEW), body, False),
        (OLD, signed(OLD), body + " ", False),
        (OLD, signed(OLD, at=datetime(2026, 1, 5, tzinfo=UTC)), body, False),
    ]
    given = [{"secret": key, "headers": sent, "body": text} for key, sent, text, _ in cases]
    verdicts = orjson.loads(npm.node(directory, _VERIFY, orjson.dumps(given).decode()))
    assert verdicts == [expected for *_, expected in cases]
