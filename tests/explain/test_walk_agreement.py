"""What `explain` says of a request is what the edge says of it: the verdict and the reason."""

import asyncio
from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.config import Settings, load
from relay.edge.framing import MAX_CHUNKS, MAX_FIELDS, MAX_HEAD, MAX_LINE
from relay.explain.capture import parse
from relay.explain.walk import walk
from tests.edge.smuggling import chunk, forms
from tests.harness.deliveries import RECEIVED
from tests.harness.edge import genuine, genuine_request, running_edge
from tests.harness.wire import read_reply, request

PEER = "127.0.0.1"
#: As the edge of the tests is set up, whose bodies may have 4096 bytes.
CONFIGURATION = f"""
listen: [{{bind: "127.0.0.1:0"}}]
limits: {{body: 4096}}
upstreams: {{billing: {{url: "http://127.0.0.1:1/"}}}}
endpoints:
  - name: midtrans
    path: /hook
    provider: midtrans
    environment: sandbox
    secrets: [SB-Mid-server-of-the-tests]
    upstream: billing
    allowlist: {{replace: [{PEER}]}}
"""

JSON = [("Content-Type", "application/json")]
HEAD = b"POST /hook HTTP/1.1\r\nHost: relay.test\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

#: An editor writes such line ends, so a file is mended where a connection would be refused.
MENDED = {"bare LF for every line"}


def smuggled(path: str) -> dict[str, bytes]:
    found = forms(path.encode(), [b"Content-Type: application/json"], genuine(), genuine_request())
    return {name: raw for name, raw in found.items() if name not in MENDED}


def encoded() -> dict[str, bytes]:
    codings = ("", " ", "identity", "IDENTITY", "gzip", "identity, gzip", "identity,", ",", "x\ty")
    found = {
        repr(coding): request("POST", "/hook", [*JSON, ("Content-Encoding", coding)], genuine())
        for coding in codings
    }
    twice = [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]
    return found | {
        "twice": request("POST", "/hook", [*JSON, *twice], genuine()),
        "to nobody": request("POST", "/other", twice, b"x"),
        "too large, too": request("POST", "/hook", twice, bytes(5000)),
    }


def too_much() -> dict[str, bytes]:
    return {
        "target": b"POST /" + b"x" * MAX_LINE + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        "line": HEAD + b"X: " + b"x" * MAX_LINE + b"\r\n\r\n",
        "fields": HEAD + b"X: x\r\n" * MAX_FIELDS + b"\r\n",
        "head": HEAD + (b"X: " + b"x" * 8000 + b"\r\n") * (MAX_HEAD // 8000 + 1) + b"\r\n",
        "body": request("POST", "/hook", JSON, bytes(4097)),
        "body to nobody": request("POST", "/other", JSON, bytes(4097)),
        "body in chunks": CHUNKED + chunk(bytes(4097)),
        "chunks": CHUNKED + b"1\r\nx\r\n" * (MAX_CHUNKS + 1) + b"0\r\n\r\n",
    }


def others() -> dict[str, bytes]:
    body = genuine()
    length = b"Content-Length: %d\r\n" % len(body)
    return {
        "genuine": genuine_request(),
        "genuine in chunks": CHUNKED + chunk(body),
        "continued": HEAD + b"Expect: 100-continue\r\n" + length + b"\r\n" + body,
        "HTTP/1.0": b"POST /hook HTTP/1.0\r\n" + length + b"\r\n" + body,
        "forged": request("POST", "/hook", JSON, body.replace(b'"200"', b'"201"')),
        "cut off": HEAD + length + b"\r\n" + body[:-1],
        "cut off in a chunk": CHUNKED + chunk(body)[:-6],
        "no body": HEAD + b"\r\n",
        "another method": request("PUT", "/hook", JSON, body),
        "a method nobody knows": request("BREW", "/hook", JSON, body),
        "not UTF-8": request("POST", "/hook", JSON, b"\xff"),
        "a byte order mark": request("POST", "/hook", JSON, b"\xef\xbb\xbf" + body),
        "no TLS here": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    }


FAMILIES = {
    "smuggling": lambda: smuggled("/hook"),
    "smuggling, to nobody": lambda: smuggled("/other"),
    "codings": encoded,
    "too much": too_much,
    "others": others,
}


def explained(settings: Settings, raw: bytes) -> str | None:
    found = walk(settings, parse(raw), ip_address(PEER), RECEIVED)
    return None if found.reason is None else found.reason.value


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_edge_and_explain_agree(family: str, tmp_path: Path) -> None:
    requests = FAMILIES[family]()
    async with running_edge(tmp_path) as edge:
        for name, raw in requests.items():
            reader, writer = await asyncio.open_connection(*edge.address)
            writer.write(raw)
            if name.startswith("cut off"):
                writer.write_eof()
                await reader.read()
            else:
                await read_reply(reader)
            writer.close()
        lines = edge.lines()
    assert len(lines) == len(requests)
    judged = {name: line.get("reason") for name, line in zip(requests, lines, strict=True)}
    (tmp_path / "relay.yaml").write_text(CONFIGURATION)
    settings = load(tmp_path / "relay.yaml", {})
    # In a thread, as the command has no loop of its own running.
    said = await asyncio.to_thread(
        lambda: {name: explained(settings, raw) for name, raw in requests.items()}
    )
    assert said == judged
