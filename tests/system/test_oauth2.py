"""A relay that runs, a real OAuth2 server, and a service that takes nothing but its tokens."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.core.clock import SystemClock
from tests.harness.node import Node, output
from tests.harness.oauth2_server import OAuth2Server, says
from tests.harness.wire import exchange, request

#: So that tokens end while a test waits for it.
LIFETIME = 2
SENT_BY = "the-token-of-the-sender"


def configuration(server: OAuth2Server) -> str:
    client = f'token_url: "{server.token_url}", client_id: relay, scope: billing.write'
    networks = '{live: {cidrs: ["127.0.0.1/32"]}}'
    signature = "{scheme: token, from: {header: X-Token}}"
    provider = f"{{name: own, networks: {networks}, signature: {signature}}}"
    secrets = 'secrets: ["${env:SENT_BY}"]'
    bound = f"environment: live, upstream: billing, {secrets}, provider: {provider}"
    return f"""
listen: [{{bind: "127.0.0.1:0"}}]
admin: {{bind: "127.0.0.1:0"}}
upstreams:
  billing:
    url: "{server.url}/hooks"
    timeout: 3s
    retry: {{schedule: [200ms]}}
    auth: {{oauth2: {{{client}, client_secret: "${{env:SECRET}}"}}}}
endpoints:
  - {{name: store, path: /store, {bound}}}
  - {{name: proxy, path: /proxy, mode: proxy, {bound}}}
"""


ENVIRON = {"SENT_BY": SENT_BY, "SECRET": "the-secret-of-relay"}


class Relay:
    """A running relay, and what is sent to it."""

    def __init__(self, node: Node, server: OAuth2Server) -> None:
        self._node = node
        self._server = server
        self._sent = 0

    async def send(self, mode: str) -> int:
        """Send a delivery of its own; return what was answered."""
        self._sent += 1
        fields = [("X-Token", SENT_BY), ("Authorization", "Bearer of-the-sender")]
        body = b'{"number": %d}' % self._sent
        raw = request("POST", f"/{mode}", fields, body)
        return (await exchange(self._node.public[0], raw)).status

    async def stored(self) -> dict[str, Any]:
        """Send an event; return the line of its first attempt."""
        number = len(self._node.having(event="attempt", endpoint="store", attempt=1))
        assert await self.send("store") == 200
        return await self._node.wait_for(number + 1, event="attempt", endpoint="store", attempt=1)


@pytest.mark.proof
async def test_events_go_out_with_tokens_that_end_are_revoked_and_cannot_be_had(
    tmp_path: Path,
) -> None:
    config = tmp_path / "relay.yaml"
    async with OAuth2Server(SystemClock(), lifetime=LIFETIME) as server:
        config.write_text(configuration(server))
        async with Node(config, ENVIRON) as node:
            relay = Relay(node, server)
            # Tokens end, and none is used that has.
            while server.questions < 3:
                assert (await relay.stored())["outcome"] == "delivered"
                assert await relay.send("proxy") == 200
            assert server.refused == []
            # Revoked: fetched anew within the attempt, and the sender does not see it.
            for mode in ("store", "proxy"):
                server.revoke_all()
                refused = len(server.refused)
                if mode == "store":
                    assert (await relay.stored())["outcome"] == "delivered"
                else:
                    assert await relay.send("proxy") == 200
                assert len(server.refused) == refused + 1
            assert node.having(event="token_unavailable") == []
            # A secret that is wrong, a scope that is refused, a server that answers nonsense.
            taken, attempt = len(server.taken), {"id": ""}
            for number, reason in enumerate(SPOILED):
                server.revoke_all()
                undo = SPOILED[reason](server)
                attempt = await relay.stored()
                assert (attempt["outcome"], attempt["cause"]) == ("unreachable", "token")
                said = await node.wait_for(event="token_unavailable", reason=reason)
                assert (said["upstream"], said["level"]) == ("billing", "warning")
                assert await relay.send("proxy") == 502
                undo()
                await node.wait_for(number + 1, event="token_available", upstream="billing")
                await node.wait_for(
                    event="attempt", id=attempt["id"], outcome="delivered", decision="done"
                )
            assert len(server.taken) == taken + len(SPOILED)
            shown = orjson.loads(
                await output(
                    config, "events", "show", attempt["id"], "--format", "json", environ=ENVIRON
                )
            )
            causes = [each["cause"] for each in shown["attempt_log"]]
            assert causes[-1] is None
            assert set(causes[:-1]) == {"token"}
            assert await node.end() == 0
            assert node.noise == []


def wrong_secret(server: OAuth2Server) -> Any:
    server.clients["relay"].secret = "another"
    return lambda: setattr(server.clients["relay"], "secret", "the-secret-of-relay")


def refused_scope(server: OAuth2Server) -> Any:
    server.clients["relay"].scopes = frozenset({"other"})
    return lambda: setattr(server.clients["relay"], "scopes", frozenset({"billing.write"}))


def nonsense(server: OAuth2Server) -> Any:
    server.instead = says(200, b"<html>It works!</html>")
    return lambda: setattr(server, "instead", None)


SPOILED = {
    "invalid_client": wrong_secret,
    "invalid_scope": refused_scope,
    "no JSON object": nonsense,
}
