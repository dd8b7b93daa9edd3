"""Configuration text for tests: one that is good, and what is said of one that is not."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.config import Settings, load_text
from relay.errors import ConfigError

NAME = "relay.yaml"
BASE = Path("/etc/relay")
ENVIRON = {"KEY": "Mid-server-1", "OTHER": "another"}

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
