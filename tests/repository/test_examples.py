"""What an operator copies is good, complete, and says what is so."""

import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relay.cli import application
from relay.cli.demo.services import asymmetric
from relay.config.endpoints import provider_of
from relay.config.lint import lint
from relay.config.loader import load
from relay.config.settings import Settings
from relay.config.types import Section
from relay.config.validation import fields
from relay.providers.builtin import provider_named
from tests.harness.wire import write_pair
from tests.senders import keys as senders

CONFIG = Path(__file__).parents[2] / "config"
_KEY = re.compile(r" *(- )?[a-z_]+:")
PUBLIC_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
NAMES = ("relay.minimal.yaml", "relay.example.yaml")
ENVIRON = {
    "BANK_SECRET": "a-secret-of-both-sides",
    "MIDTRANS_SERVER_KEY": "Mid-server-1",
    "ORDERS_SECRET": "whsec_" + "A" * 32,
    "ORDERS_VERIFY_TOKEN": "the-token-of-a-challenge",
    "ORDERS_CHECK_SECRET": "a-secret-of-its-own",
    "RELAY_ADMIN_TOKEN": "0123456789abcdef",
}


def loaded(name: str, directory: Path) -> Settings:
    """Load an example where the files exist that it names."""
    (directory / name).write_bytes((CONFIG / name).read_bytes())
    for secret in ("signing", "vipps"):
        (directory / "secrets").mkdir(exist_ok=True)
        (directory / "secrets" / secret).write_text("whsec_" + "A" * 32 + "\n")
    (directory / "keys").mkdir()
    (directory / "keys/bank.pem").write_text(asymmetric().verifying)
    (directory / "tls").mkdir()
    certificate, key = write_pair(directory / "tls")
    certificate.rename(directory / "tls" / "fullchain.pem")
    key.rename(directory / "tls" / "privkey.pem")
    return load(directory / name, ENVIRON)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads(name: str, tmp_path: Path) -> None:
    assert loaded(name, tmp_path).endpoints[0].name == "midtrans"


@pytest.mark.parametrize("name", NAMES)
def test_it_has_no_findings(name: str, tmp_path: Path) -> None:
    settings = loaded(name, tmp_path)
    info = {each.name: provider_of(each).info for each in settings.endpoints}
    found = lint(settings, info, {}, date(2026, 12, 1))
    assert {finding.code for finding in found} <= allowed(name)


@pytest.mark.parametrize("name", NAMES)
def test_yamllint_likes_it(name: str) -> None:
    rules = "{extends: default, rules: {line-length: {max: 120}}}"
    done = subprocess.run(
        [sys.executable, "-m", "yamllint", "--strict", "-d", rules, str(CONFIG / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_example_holds_every_key_with_a_comment() -> None:
    text = (CONFIG / "relay.example.yaml").read_text()
    keys = {key for section in _sections() for key in fields(section)}
    assert {key for key in keys if not re.search(rf"\b{key}:", text)} == set()
    before = ""
    for line in text.splitlines():
        # Keys that belong together share a comment.
        commented = before.lstrip().startswith("#") or _KEY.match(before)
        assert commented or not _KEY.match(line), line
        before = line


def test_defaults_in_the_example_are_the_defaults(tmp_path: Path) -> None:
    settings = loaded("relay.example.yaml", tmp_path)
    for section in (settings.dns, settings.limits):
        assert section == type(section).model_validate({})
    upstream = settings.upstreams["billing"]
    plain = type(upstream).model_validate({"url": upstream.url})
    assert upstream.retry == plain.retry
    assert (upstream.timeout, upstream.concurrency) == (plain.timeout, plain.concurrency)
    info = provider_named("vipps").info.window
    window = settings.endpoints[1].timestamp
    assert info is not None
    assert window is not None
    assert window != "off"
    assert (window.past, window.future) == (info.past, info.future)


def _sections() -> list[type[Section]]:
    return [each for each in Section.__subclasses__() if each.__module__.startswith("relay.")]


@pytest.mark.parametrize("path", sorted(CONFIG.rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_command_passes_every_file(path: Path, tmp_path: Path) -> None:
    for directory in ("secrets", "tls", "keys"):
        (tmp_path / directory).mkdir()
    (tmp_path / "secrets/signing").write_text("whsec_" + "A" * 32 + "\n")
    (tmp_path / "secrets/vipps").write_text("a-webhook-secret\n")
    certificate, key = write_pair(tmp_path / "tls", end=datetime.now(UTC) + timedelta(days=80))  # noqa: TID251 - the command asks the real clock
    certificate.rename(tmp_path / "tls/fullchain.pem")
    key.rename(tmp_path / "tls/privkey.pem")
    (tmp_path / path.name).write_bytes(path.read_bytes())
    environ = {name: secret_for(name) for name in re.findall(r"\$\{env:(\w+)\}", path.read_text())}
    if path.stem in senders.NAMES:
        environ |= {name: senders.environ()[name] for name in environ}
        senders.write_key_files(path.stem, tmp_path)
    for file in re.findall(r"\$\{file:([\w./-]+)\}", path.read_text()):
        if not (tmp_path / file).exists():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(asymmetric().verifying)
    done = CliRunner().invoke(
        application(), ["check", "-c", str(tmp_path / path.name), "--format", "json"], env=environ
    )
    told = json.loads(done.stdout)
    assert (told["valid"], done.stderr) == (True, "")
    assert {finding["code"] for finding in told["findings"]} <= allowed(path.name)


def allowed(name: str) -> set[str]:
    """Return the findings that an example may have.

    Where the test put it is one. The minimal one asks nobody, so that a sample of `relay send`,
    which no API knows, arrives. Some say what their sender is like.
    """
    inherent = senders.INHERENT.get(name.removesuffix(".yaml"), set())
    return {"temporary-path", *inherent, *(["unconfirmed"] if name == "relay.minimal.yaml" else [])}


def secret_for(variable: str) -> str:
    """Return what could stand in this variable."""
    # Text, hexadecimal digits and Base64 at once. What a challenge signs with is its own.
    return ("fedcba9876543210" if "CHECK" in variable else "0123456789abcdef") * 4
