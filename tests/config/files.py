"""Configuration text for tests: one that is good, and what is said of one that is not."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.config import Settings, load_text
from relay.config.settings import Endpoint
from relay.config.types import Section
from relay.config.validation import fields
from relay.core.errors import ConfigError

NAME = "relay.yaml"
BASE = Path("/etc")
ENVIRON = {"KEY": "Mid-server-1", "OTHER": "another", "TOKEN": "0123456789abcdef"}

# Twelve lines: what a test adds begins on line 13.
GOOD = """\
listen:
  - bind: "127.0.0.1:8080"
trusted_proxies: ["127.0.0.1"]
upstreams:
  billing: {url: "http://127.0.0.1:8081/webhooks"}
endpoints:
  - name: midtrans
    path: /midtrans/notification
    provider: midtrans
    environment: production
    secrets: ["${env:KEY}"]
    upstream: billing
"""

VIPPS = """\
  - name: vipps
    path: /vipps
    provider: vipps
    environment: production
    secrets: ["${env:OTHER}"]
    upstream: billing
"""


def keys(section: type[Section]) -> str:
    """Return the keys of a section in their order, as messages list them."""
    return ", ".join(fields(section))


ENDPOINT_KEYS = ", ".join(sorted(fields(Endpoint)))

INLINE = """\
    provider:
      name: github
      networks: {live: {cidrs: ["192.0.2.0/24"], hosts: ["hooks.example.com"]}}
      methods: [POST]
      signature:
        scheme: hmac
        algorithm: sha256
        secret_encoding: text
        from: {header: X-Hub-Signature-256}
        format: "sha256={signature}"
        encoding: hex
        signed: "{timestamp}.{body}"
        timestamp: {from: {header: X-Time}, unit: s}
      event_key: {header: X-GitHub-Delivery}
"""
BUILT_IN = "    provider: midtrans\n    environment: production\n"


def good(
    text: str, environ: Mapping[str, str] = ENVIRON, base: Path = BASE, name: str = NAME
) -> Settings:
    return load_text(text, name, environ, base)


def mistakes(
    text: str, environ: Mapping[str, str] = ENVIRON, base: Path = BASE, name: str = NAME
) -> list[str]:
    """Return every line that is said of this text, without the file name in front."""
    with pytest.raises(ConfigError) as caught:
        load_text(text, name, environ, base)
    return [line.removeprefix(f"{name}:") for line in str(caught.value).split("\n")]


def changed(*changes: tuple[str, str]) -> str:
    """Return the good text with replacements, each of which must find something."""
    text = GOOD
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text
