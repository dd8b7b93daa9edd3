"""@linear/sdk, of npm."""

import json
from base64 import b64encode
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from relay.core.clock import SystemClock
from tests.interop.agreement import Agreement, Signed, json_body
from tests.interop.node_library import NodeLibrary, node_library

pytestmark = [pytest.mark.interop, pytest.mark.npm]

_LINEAR = """
const linear = import("@linear/sdk/webhooks");
async function answer({ secret, body, signature }) {
  const { LinearWebhookClient } = await linear;
  return new LinearWebhookClient(secret).verify(Buffer.from(body, "base64"), signature);
}
"""


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeLibrary]:
    with node_library(tmp_path_factory.mktemp("linear"), _LINEAR, "@linear/sdk") as found:
        yield found


class TestLinear(Agreement):
    sender = "linear"
    needed = ("Linear-Signature",)

    @pytest.fixture
    def theirs(self, linear: NodeLibrary) -> NodeLibrary:
        return linear

    def body(self, dice: Random) -> bytes:
        at = int(SystemClock().now().timestamp() * 1000)
        return json.dumps({**json.loads(json_body(dice)), "webhookTimestamp": at}).encode()

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        body = b64encode(message.body).decode()
        signature = message.header("Linear-Signature")
        return theirs.ask(secret=secret, body=body, signature=signature) is True
