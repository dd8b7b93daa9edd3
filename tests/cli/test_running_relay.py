"""The running relay is asked with a token of the file; what keeps it from answering is said."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest

from relay.cli.running_relay import NotAsked, ask
from relay.config import Admin, Bind
from relay.core.secret import Secret

TOKEN, READ_TOKEN = Secret("0123456789abcdef"), Secret("fedcba9876543210")


class Answering(BaseHTTPRequestHandler):
    """Answers as the admin listener of a relay that has these two tokens."""

    def do_GET(self) -> None:
        self._answer(TOKEN, READ_TOKEN)

    def do_POST(self) -> None:
        self._answer(TOKEN)

    def _answer(self, *tokens: Secret) -> None:
        known = [f"Bearer {token.reveal().decode()}" for token in tokens]
        content = b"nonsense" if self.path == "/nonsense" else b'{"asked": true}'
        self.send_response(200 if self.headers["Authorization"] in known else 401)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def admin(port: int, token: Secret | None = None, read_token: Secret | None = None) -> Admin:
    bind = Bind(ip_address("127.0.0.1"), port)
    return Admin.model_construct(bind=bind, token=token, read_token=read_token, hosts=())


def test_the_token_that_may_read_is_enough_to_read(port: int) -> None:
    assert ask(admin(port, None, READ_TOKEN), "/status", method="GET").content == {"asked": True}
    assert ask(admin(port, TOKEN), "/status", method="GET").status == 200
    assert ask(admin(port, TOKEN, READ_TOKEN), "/reload").status == 200


def test_to_act_it_is_not(port: int) -> None:
    with pytest.raises(NotAsked, match="so the admin API is closed; send SIGHUP instead"):
        ask(admin(port, None, READ_TOKEN), "/reload")


def test_without_a_token_nothing_is_asked() -> None:
    with pytest.raises(NotAsked, match=r"so the admin API is closed$"):
        ask(admin(1), "/status", method="GET")


def test_another_token_is_told_as_such(port: int) -> None:
    with pytest.raises(NotAsked, match=r"has another admin\.token"):
        ask(admin(port, Secret("another")), "/status", method="GET")


def test_what_is_no_relay_is_told_as_such(port: int) -> None:
    with pytest.raises(NotAsked, match="that is none"):
        ask(admin(port, TOKEN), "/nonsense", method="GET")
