"""`relay init` asks, and what it writes is a configuration that passes `relay check`."""

import asyncio
import os
import pty
import re
import stat
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import trustme
from typer.testing import CliRunner, Result

from relay.cli import application
from relay.config import load, presets
from relay.config.upstream_settings import BearerAuth
from tests.cli.conftest import Invoke
from tests.harness.node import Node
from tests.harness.ports import free_port
from tests.senders.keys import described, environ, keys


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*answers: str, config: str = "relay.yaml") -> Result:
    lines = "".join(f"{answer}\n" for answer in answers)
    return CliRunner().invoke(application(["init"]), ["init", "-c", config], input=lines)


def checked(relay: Invoke, *words: str) -> list[str]:
    """Return the codes of the warnings of `relay check`, which has to pass."""
    result = relay("check", "-c", "relay.yaml", "--format", "json", *words)
    assert result.exit_code == 0, result.output
    found = [each["code"] for each in orjson.loads(result.stdout)["findings"]]
    # Tests lie there.
    return [code for code in found if code != "temporary-path"]


def answers_of(provider: str, directory: Path) -> list[str]:
    """Return the answers that a provider asks for, and write the file of a public key."""
    if provider not in presets.files():
        return [provider, "", "", "", ""]
    url = ["https://pay.example.com/hook"] if "public_url" in described(provider) else []
    given, key = keys(provider), []
    if given.option == "--key":
        (directory / "public.pem").write_text(given.verifying)
        key = ["public.pem"]
    return [provider, "", *url, "", *key, ""]


@pytest.mark.parametrize("provider", presets.names())
def test_what_is_written_passes_check(
    provider: str, directory: Path, relay: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = init(*answers_of(provider, directory))
    assert result.exit_code == 0, result.output
    for variable in re.findall(r"^export (\w+)=…", result.stdout, re.MULTILINE):
        monkeypatch.setenv(variable, environ()[variable])
    checked(relay)
    (endpoint,) = load(directory / "relay.yaml", environ()).endpoints
    assert endpoint.name == provider
    asks = provider not in presets.files() or "secrets" in described(provider)
    assert [bool(each.reveal()) for each in endpoint.secrets] == [True] * asks


def test_no_answer_at_all_is_every_default(directory: Path) -> None:
    result = init()
    assert result.exit_code == 0
    settings = load(directory / "relay.yaml", {})
    (endpoint,) = settings.endpoints
    assert (endpoint.provider, endpoint.environment) == ("midtrans", "production")
    assert str(settings.listen[0].bind) == "127.0.0.1:8080"
    assert settings.upstreams["billing"].url == "http://127.0.0.1:8081/webhooks"
    assert endpoint.secrets[0].reveal().startswith(b"Mid-server-")
    assert "wrote secrets/midtrans (mode 0600)\n" in result.stdout
    assert "relay send --endpoint midtrans" in result.stdout


def test_where_credentials_go_stands_there_and_is_taken_as_it_stands(directory: Path) -> None:
    assert init().exit_code == 0
    file = directory / "relay.yaml"
    file.write_text(file.read_text().replace("# auth", "auth"))
    (directory / "secrets" / "billing").write_text("a-token-of-billing")
    assert isinstance(load(file, {}).upstreams["billing"].auth, BearerAuth)


def test_secrets_are_for_their_owner_alone(directory: Path) -> None:
    before = os.umask(0)
    try:
        init("midtrans", "sandbox", "", "", "SB-Mid-server-mine")
    finally:
        os.umask(before)
    folder = directory / "secrets"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"admin": 0o600, "midtrans": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "midtrans").read_text() == "SB-Mid-server-mine\n"
    assert "SB-Mid-server-mine" not in (directory / "relay.yaml").read_text()


def test_two_calls_make_two_secrets(directory: Path) -> None:
    texts = set()
    for name in ("a", "b"):
        (directory / name).mkdir()
        assert init(config=f"{name}/relay.yaml").exit_code == 0
        texts |= {path.read_text() for path in (directory / name / "secrets").iterdir()}
    assert len(texts) == 4


@pytest.mark.parametrize(
    ("provider", "more"),
    [
        ("github", ()),
        ("standard-webhooks", ()),
        ("midtrans-snap", ("--key", "secrets/midtrans-snap-private.pem")),
        ("snap", ("--key", "secrets/snap-private.pem")),
        ("doku", ("--key", "secrets/doku-private.pem")),
    ],
)
async def test_what_is_written_is_served_and_sent_to(
    provider: str, more: tuple[str, ...], directory: Path, relay: Invoke
) -> None:
    init(provider)
    config = directory / "relay.yaml"
    text = config.read_text().replace("8080", str(free_port()))
    config.write_text(text.replace("admin: {", 'admin: {bind: "127.0.0.1:0", '))
    async with Node(config) as node:
        words = ("send", "--endpoint", provider, *more)
        sent = await asyncio.to_thread(relay, *words)
        assert sent.exit_code == 0, sent.output
        await node.wait_for(event="delivery", endpoint=provider, verdict="accepted")


# ---- what stands in front -------------------------------------------------------------------


@pytest.fixture
def certificate(directory: Path) -> None:
    made = trustme.CA().issue_cert("pay.example.com")
    (directory / "chain.pem").write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    made.private_key_pem.write_to_path(directory / "key.pem")


@pytest.mark.usefixtures("certificate")
@pytest.mark.parametrize(
    ("front", "more", "warnings"),
    [
        ("proxy", (), set()),
        ("balancer", ("10.1.0.0/16, 192.0.2.7",), set()),
        ("passthrough", ("10.1.0.0/16", "chain.pem", "key.pem"), set()),
        # Midtrans reaches port 443 alone; something may pass it on.
        ("nothing", ("chain.pem", "key.pem"), {"midtrans-port"}),
    ],
)
def test_each_front_passes_check(
    front: str, more: tuple[str, ...], warnings: set[str], directory: Path, relay: Invoke
) -> None:
    result = init("midtrans", "", front, *more)
    assert result.exit_code == 0, result.output
    assert set(checked(relay)) == {"unconfirmed"} | warnings
    settings = load(directory / "relay.yaml", {})
    assert settings.listen[0].proxy_protocol == (front == "passthrough")
    assert (settings.listen[0].tls is not None) == ("chain.pem" in more)
    assert bool(settings.trusted_proxies) == (front != "nothing")


# ---- nothing is overwritten, and nothing is left behind -------------------------------------


@pytest.mark.parametrize("there", ["relay.yaml", "secrets/midtrans", "secrets/admin"])
def test_nothing_is_overwritten(there: str, directory: Path) -> None:
    (directory / there).parent.mkdir(exist_ok=True)
    (directory / there).write_text("mine")
    result = init()
    assert result.exit_code == 1
    assert f"{there} is there already; nothing was written" in result.stderr
    left = [path for path in directory.rglob("*") if path.is_file()]
    assert [path.read_text() for path in left] == ["mine"]


@pytest.mark.usefixtures("certificate")
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (("midtran",), 'did you mean "midtrans"?'),
        (("midtrans", "live"), '"live" is none of these'),
        (("midtrans", "", "nginx"), '"nginx" is none of these'),
        (("midtrans", "", "balancer", "everywhere"), "Its addresses or networks"),
        (("midtrans", "", "nothing", "chain.pem", "none.pem"), "there is no file none.pem"),
        (("midtrans", "", "", "billing"), "Deliver to"),
        (("midtrans", "", "", "ftp://x"), "Deliver to"),
        (("midtrans-snap", "", "", "", "none.pem"), "there is no file none.pem"),
        (("wise", "", ""), "there is no default"),
        (("square", "", ""), "there is no default"),
    ],
)
def test_a_wrong_answer_in_a_pipe_is_exit_2(
    answers: tuple[str, ...], said: str, directory: Path
) -> None:
    before = set(directory.rglob("*"))
    result = init(*answers)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert set(directory.rglob("*")) == before


@pytest.mark.usefixtures("certificate")
def test_what_does_not_fit_together_is_told_and_taken_back(directory: Path) -> None:
    before = set(directory.rglob("*"))
    result = init("midtrans", "", "nothing", "chain.pem", "chain.pem")
    assert "nothing was written, since that configuration has mistakes" in result.stderr
    assert "listen.0.tls" in str(result.exception)
    assert set(directory.rglob("*")) == before


def test_a_directory_that_is_not_there_is_one_line(directory: Path) -> None:
    result = init(config="none/relay.yaml")
    assert result.exit_code == 1
    assert result.stderr.rstrip().endswith(
        "none/secrets: No such file or directory; nothing was written"
    )


# ---- on a terminal --------------------------------------------------------------------------


def test_a_terminal_is_asked_again_and_shows_no_secret(directory: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "relay", "init"]
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(ours, 4096)

    for prompt, answer in (
        (b"Provider [midtrans]: ", b"midtran"),
        (b"none of these", b"midtrans"),
        (b"Environment (production, sandbox) [production]: ", b""),
        (b"What stands in front [proxy]: ", b""),
        (b"Deliver to [", b""),
        (b"Secret [a random one, to try it with]: ", b"Mid-server-hidden"),
    ):
        until(prompt)
        os.write(ours, answer + b"\n")
    until(b"wrote relay.yaml")
    assert process.wait(30) == 0
    os.close(ours)
    assert b"hidden" not in shown
    assert (directory / "secrets/midtrans").read_text() == "Mid-server-hidden\n"
