"""Configuration files: good, or refused with places that exist. Never a traceback, never a secret.

An input is the text of a file.
"""

from pathlib import Path

from relay.config import load_text
from relay.core.errors import ConfigError, Problem

_NAME = "relay.yaml"
_BASE = Path("/nonexistent")
_CANARY = "canary-7f3a9c"
_ENVIRON = {"KEY": _CANARY, "EMPTY": ""}
_ENDPOINT = b"""\
listen: [{bind: "127.0.0.1:8080"}]
trusted_proxies: ["127.0.0.1"]
upstreams: {billing: {url: "http://127.0.0.1:8081/hooks"}}
endpoints:
  - name: a
    path: /a
    secrets: ["${env:KEY}"]
    upstream: billing
"""

SEEDS = (
    _ENDPOINT + b"    provider: midtrans\n    environment: sandbox\n",
    _ENDPOINT + b"    provider: vipps\n    environment: test\n    timestamp: off\n",
    _ENDPOINT
    + b"""    provider:
      name: shop
      networks: {live: {cidrs: ["198.51.100.0/24"]}}
      signature:
        scheme: hmac
        from: {header: X-Signature}
        format: "t={timestamp},v1={signature}"
        signed: "{timestamp}.{body}"
      event_key: {json: [/id]}
""",
    _ENDPOINT + b"    provider: midtrans\n    environment: sandbox\n    secrets: [${env:EMPTY}]\n",
    b"listen: &a [*a]\n",
    b"a: !!python/object/apply:os.system [id]\n",
    b"a: &x [1, 2]\nb: [*x, *x]\n",
    b"listen: [{bind: ::}]\nadmin: {bind: 0777}\nlimits: {body: 12:30:45}\n",
    b"---\na: 1\n---\nb: 2\n",
    b"\tlisten: 1\n",
    b"dns: {timeout: .inf, retain: 1e9999}\nspool: {retain: 99999999999999999999999d}\n",
)
WORDS = (
    *(b"${env:KEY}", b"${env:NONE}", b"${file:none}", b"&a ", b"*a", b"!!", b"? ", b"- ", b": "),
    *(b"<<: ", b"|\n", b">-\n", b"{", b"}", b"[", b"]", b'"', b"'", b"#", b"---\n", b"...\n"),
    *(
        b"listen",
        b"upstreams",
        b"endpoints",
        b"provider",
        b"signature",
        b"limits",
        b"spool",
        b"tls",
    ),
    *(b"5m", b"64KiB", b"0", b"-1", b".nan", b"1e400", b"null", b"true", b"off", b"\xef\xbb\xbf"),
    *(b"retry", b"schedule", b"confirm", b"allowlist", b"replace", b"dns", b"admin", b"token"),
    *(b"\n", b"\n  ", b"\n    ", b"\t", b"\x00", b"\xc2\x85", b"\xe2\x80\xa8"),
)


def check(data: bytes) -> None:
    """Load the text."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        settings = load_text(text, _NAME, _ENVIRON, _BASE)
    except ConfigError as error:
        _check_problems(error, text)
        return
    assert settings.endpoints
    assert _CANARY not in repr(settings)


def _check_problems(error: ConfigError, text: str) -> None:
    assert error.problems
    assert list(error.problems) == sorted(error.problems)
    lines, other = _lines(text), text.split("\n")
    for problem in error.problems:
        assert problem.file == _NAME
        assert problem.message.strip()
        assert _stands_in(problem, lines) or _stands_in(problem, other)
        assert _CANARY not in str(problem)
        assert str(problem).isprintable(), "a character that could fool a terminal"


def _stands_in(problem: Problem, lines: list[str]) -> bool:
    if not 1 <= problem.line <= len(lines):
        return False
    return 1 <= problem.column <= len(lines[problem.line - 1]) + 1


def _lines(text: str) -> list[str]:
    """Return the lines as YAML 1.1 counts them, and an empty one behind them."""
    for each in ("\r\n", "\r", "\x85", "\u2028", "\u2029"):
        text = text.replace(each, "\n")
    return [*text.split("\n"), ""]
