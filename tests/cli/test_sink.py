"""The service to develop against prints what arrives, checks its signature, and answers."""

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from aiohttp import ClientSession
from standardwebhooks.webhooks import Webhook

from relay.cli.output import Format
from relay.cli.sink import MAX_BODY, Arrival, Signature, Sink, block, verified
from relay.config.types import bind
from relay.core.secret import Secret
from relay.signatures.shared_secret import Signer
from tests.cli.conftest import Invoke
from tests.harness.clock import ManualClock, wait_until

ANYWHERE = bind("127.0.0.1:0")
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SECRET = "whsec_" + b64encode(bytes(range(24))).decode()
SIGNER = Signer([Secret(SECRET)])


def arrival(
    body: bytes = b"{}",
    *,
    at: datetime = NOW,
    signed_at: datetime = NOW,
    signed: bytes | None = None,
    **changes: str | None,
) -> Arrival:
    """A request as the relay signs it, in the words of the library that services use."""
    covered = body if signed is None else signed
    fields: dict[str, str | None] = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(signed_at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("evt_1", signed_at, covered.decode()),
    }
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    headers = tuple((name, value) for name, value in fields.items() if value is not None)
    return Arrival(at, "POST", "/webhooks", headers, body, None, 200)


def sink(form: Format = Format.JSON, status: int = 200, signer: Signer | None = None) -> Sink:
    return Sink(form, status=status, delay=0.0, signer=signer, clock=ManualClock(NOW))


# ---- the signature --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (arrival(), Signature.FITS),
        (arrival(webhook_signature="v1,x " + SIGNER.sign("evt_1", 1, b"")), Signature.WRONG),
        (arrival(b"{1}", signed=b"{}"), Signature.WRONG),
        (arrival(webhook_id="evt_2"), Signature.WRONG),
        (arrival(webhook_timestamp="yesterday"), Signature.WRONG),
        (arrival(webhook_timestamp="9" * 5000), Signature.WRONG),
        (arrival(webhook_signature=None), Signature.MISSING),
        (arrival(webhook_id=None), Signature.MISSING),
        (arrival(at=NOW + timedelta(minutes=5)), Signature.FITS),
        (arrival(at=NOW + timedelta(minutes=6)), Signature.OUTSIDE),
        (arrival(at=NOW - timedelta(minutes=6)), Signature.OUTSIDE),
    ],
)
def test_a_signature_is_checked_as_a_service_would(request_: Arrival, said: Signature) -> None:
    assert verified(SIGNER, request_) is said


def test_one_of_several_signatures_is_enough() -> None:
    other = Signer([Secret(b64encode(bytes(32)).decode()), Secret(SECRET)])
    both = other.sign("evt_1", int(NOW.timestamp()), b"{}")
    assert verified(SIGNER, arrival(webhook_signature=both)) is Signature.FITS


async def test_what_is_not_signed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    serving = sink(status=202, signer=SIGNER)
    async with serving.listening(ANYWHERE) as url, ClientSession() as session:
        for sent, status in ((arrival(), 202), (arrival(webhook_id="evt_2"), 401)):
            async with session.post(url, data=sent.body, headers=dict(sent.headers)) as answered:
                assert answered.status == status
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["signature"], each["status"]) for each in told] == [
        ("fits", 202),
        ("does not fit", 401),
    ]


# ---- what is printed ------------------------------------------------------------------------


async def test_a_pipe_gets_a_line_of_json_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"webhook-id": "evt_1", "Relay-Endpoint": "midtrans", "Relay-Event-Key": "a:b"}
    fields |= {"Relay-Attempt": "2", "Content-Type": "application/json"}
    async with sink().listening(ANYWHERE) as url, ClientSession() as session:
        await session.post(f"{url}a%2Fb?c", data=b'{"a":\n1.00}', headers=fields)
        await session.put(url, data=b"\xff\x00", headers={"Content-Encoding": "gzip"})
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["id"], first["endpoint"], first["key"], first["attempt"]) == (
        *("evt_1", "midtrans", "a:b"),
        2,
    )
    assert (first["method"], first["target"], first["status"]) == ("POST", "/a%2Fb?c", 200)
    assert first["body"] == '{"a":\n1.00}'
    assert first["received_at"] == NOW.isoformat()
    assert ["Relay-Event-Key", "a:b"] in first["headers"]
    assert (second["method"], second["attempt"], second["signature"]) == ("PUT", None, None)
    assert b64decode(second["body_base64"]) == b"\xff\x00"


async def test_a_terminal_gets_a_block_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    async with sink(Format.TEXT, 503).listening(ANYWHERE) as url, ClientSession() as session:
        await session.post(url + "hook", data=b'{"a":1.00}', headers={"webhook-id": "evt_1"})
    told = capsys.readouterr().out
    assert "  POST /hook  answered 503\n" in told
    assert "\n  webhook-id: evt_1\n" in told
    assert told.endswith('\n\n  {\n    "a": 1.00\n  }\n\n')


def test_nothing_in_a_block_steers_a_terminal() -> None:
    hostile = "\x1b[2J\u202e\x9b1m"
    sent = arrival(f"{hostile}\r\n{hostile}".encode(), x_hostile=hostile)
    told = block(sent)
    assert all(line.isprintable() for line in told.split("\n"))
    assert told.count("\\x1b[2J\\u202e\\x9b1m") == 3


def test_a_block_is_bounded() -> None:
    told = block(arrival(b"x" * 100_000))
    assert len(told) < 70_000
    assert "… and 34464 more characters" in told


async def test_a_body_without_end_is_cut_off() -> None:
    async with sink().listening(ANYWHERE) as url, ClientSession() as session:
        answered = await session.post(url, data=BytesIO(b"x" * (MAX_BODY + 1)))
    assert answered.status == 413


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\x16\x03\x01\x02 no HTTP\r\n\r\n", "Error handling request from 127.0.0.1: 400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk size"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", "Connection lost"),
    ],
)
async def test_what_is_no_whole_request_is_told_in_one_line(
    raw: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ""

    def is_told() -> bool:
        nonlocal told
        told += capsys.readouterr().err
        return said in told

    async with sink().listening(ANYWHERE) as url:
        host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(raw)
        writer.write_eof()
        assert await wait_until(is_told, 10)
        writer.close()
        await writer.wait_closed()
    assert "Traceback" not in told
    assert len(told.splitlines()) == 1


# ---- the verb -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_until_it_is_stopped(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "sink", "--bind", "127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = (await process.stderr.readline()).decode()
    assert said.startswith("listening on http://127.0.0.1:")
    url = said.removeprefix("listening on ").partition(";")[0]
    async with ClientSession() as session, session.post(url, data=b"{}") as answered:
        assert answered.status == 200
        assert json.loads(await process.stdout.readline())["body"] == "{}"
    process.send_signal(number)
    assert await process.wait() == 0
    assert await process.stderr.read() == b""


def test_a_reader_that_wants_no_more_ends_it() -> None:
    line = f"{sys.executable} -m relay sink --bind 127.0.0.1:0 | true"
    process = subprocess.Popen(["bash", "-o", "pipefail", "-c", line], stderr=subprocess.PIPE)
    assert process.stderr is not None
    url = process.stderr.readline().decode().removeprefix("listening on ").partition(";")[0]
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    with socket.create_connection((host, int(port))) as asking:
        asking.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        asking.recv(1)
        assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 0


def test_a_port_that_is_taken_is_one_line(relay: Invoke) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = relay("sink", "--bind", f"127.0.0.1:{port}")
    assert result.exit_code == 1
    said = f"relay sink: 127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE).lower()}: "
    assert result.stderr.startswith(said)
    assert f"(process {os.getpid()}) has port {port}; stop that, or write" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bind", "localhost"), "--bind: "),
        (("--delay", "soon"), "--delay: write a whole number and a unit"),
        (("--secret", "abc"), "--secret: signing secret 0"),
        (("--status", "99"), "--status"),
        (("--format", "csv"), "--format"),
    ],
)
def test_a_mistake_in_the_call_is_exit_2(words: tuple[str, ...], said: str, relay: Invoke) -> None:
    result = relay("sink", *words)
    assert result.exit_code == 2
    assert said in result.stderr
