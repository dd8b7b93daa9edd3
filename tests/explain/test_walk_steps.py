"""What cannot be read is told with its place in the file, a PROXY header counted."""

from pathlib import Path

import pytest

from relay.config import Settings, load
from relay.core.errors import Reason, Refusal
from relay.explain.capture import parse
from relay.explain.walk import unread

MALFORMED = Refusal(Reason.BODY_MALFORMED, "why")
BROKEN = b"POST / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "relay.yaml"
    path.write_text("""
listen: [{bind: "127.0.0.1:0", proxy_protocol: true}]
trusted_proxies: ["127.0.0.1"]
upstreams: {billing: {url: "http://127.0.0.1:1/"}}
endpoints:
  - {name: midtrans, path: /midtrans, provider: midtrans, environment: sandbox,
     secrets: [midtrans-canary], upstream: billing}
""")
    return load(path, {})


@pytest.mark.parametrize(("before", "line"), [(b"", 3), (b"PROXY UNKNOWN\r\n", 4)])
def test_the_line_is_that_of_the_file(before: bytes, line: int, settings: Settings) -> None:
    found = unread(settings, parse(before + BROKEN), MALFORMED)
    step = found.steps[-1]
    assert (found.reason, found.endpoint) == (Reason.BODY_MALFORMED, None)
    assert (step.name, step.result) == ("head", "no")
    assert step.said == f"body_malformed: why, line {line}"
    assert [each.name for each in found.steps[:-1]] == (["proxy"] if before else [])


def test_no_secret_is_in_what_was_mended(settings: Settings) -> None:
    found = unread(settings, parse(b"POST /midtrans-canary HTTP/1.1\nHost: a"), MALFORMED)
    assert "midtrans-canary" not in repr(found)
