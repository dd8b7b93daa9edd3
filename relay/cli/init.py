"""`relay init`: ask some questions, and write a configuration with its secrets beside it."""

import json
import os
import re
import secrets
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Any, Final, TypeVar

import typer

from relay.cli.common import CONFIG, DEFAULT_CONFIG
from relay.cli.output import complain
from relay.config import load, presets
from relay.config.types import network, public_url, upstream_url
from relay.config.yaml_document import suggestion
from relay.core.errors import ConfigError
from relay.providers.builtin import provider_named
from relay.providers.inline import PUBLIC_KEY_SCHEMES

T = TypeVar("T")

_VARIABLE: Final = re.compile(r"\$\{env:(\w+)\}")

# ---- what is written ------------------------------------------------------------------------

#: Where a provider's messages arrive, unless a file of `config/senders/` says so.
_PATHS: Final = {
    "midtrans": "/midtrans/notification",
    "midtrans-snap": "/midtrans/snap",
    "vipps": "/vipps",
    "vipps-callback": "/vipps/callback",
}

#: What may stand in front, as `deploy/README.md` tells of it.
FRONTS: Final = {
    "proxy": "a proxy on this machine, which ends TLS (nginx, HAProxy, Caddy)",
    "balancer": "a balancer on other machines, which ends TLS",
    "passthrough": "a proxy or balancer that passes TLS on, with the PROXY protocol",
    "nothing": "nothing: relay ends TLS itself",
}
_ENDS_TLS_ITSELF: Final = frozenset({"passthrough", "nothing"})


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered. `networks` are trusted; certificate and key are given together.

    environment, public_url: None where the provider has only one, or signs no URL.
    client_id: by which the provider asks for access tokens; None where it asks for none.
    """

    provider: str
    environment: str | None
    front: str
    networks: tuple[str, ...]
    certificate: str | None
    key: str | None
    public_url: str | None
    upstream: str
    client_id: str | None = None

    @property
    def path(self) -> str:
        """The path that the provider posts to."""
        return _PATHS.get(self.provider) or str(presets.example(self.provider)["path"])


def rendered(answers: Answers) -> str:
    """Return the configuration file. Its secrets are in `secrets/`, beside it."""
    bind = {"proxy": "127.0.0.1:8080", "balancer": "0.0.0.0:8080"}.get(answers.front)
    lines = ["listen:", f"  - bind: {_text(bind or '0.0.0.0:8443')}"]
    if answers.certificate is not None:
        files = f"certificate: {_text(answers.certificate)}, key: {_text(answers.key)}"
        lines.append(f"    tls: {{{files}}}")
    if answers.front == "passthrough":
        lines.append("    proxy_protocol: true")
    if answers.networks:
        lines.append(f"trusted_proxies: [{', '.join(map(_text, answers.networks))}]")
    lines += [
        'admin: {token: "${file:secrets/admin}"}',
        "upstreams:",
        "  billing:",
        f"    url: {_text(answers.upstream)}",
        '    # auth: {bearer: "${file:secrets/billing}"}   # or basic, oauth2; also headers, tls',
        "endpoints:",
        f"  - name: {answers.provider}",
        f"    path: {answers.path}",
        f"    provider: {answers.provider}",
    ]
    if answers.environment is not None:
        lines.append(f"    environment: {answers.environment}")
    if _has_secret(answers.provider):
        lines.append(f'    secrets: ["${{file:secrets/{answers.provider}}}"]')
    lines.append("    upstream: billing")
    if answers.provider == "midtrans":
        lines += [
            "    # For real payments: Midtrans is asked before an event is delivered.",
            "    # confirm: {with: status}",
        ]
    if answers.public_url is not None:
        lines.append(f"    public_url: {_text(answers.public_url)}")
    if answers.provider in presets.files():
        if answers.client_id is not None:
            files = f'keys: ["${{file:secrets/{answers.provider}-public.pem}}"]'
            lines.append(f"    tokens: {{client_id: {_text(answers.client_id)}, {files}}}")
        lines += _own_lines(presets.example(answers.provider))
    return "\n".join([*lines, ""])


def _own_lines(example: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of a ready sender's endpoint that its block does not hold."""
    for name in ("mode", "query", "allowlist", "timestamp"):
        if name in example:
            yield f"    {name}: {_flow(example[name])}"
    if "merchant_id" in example:
        yield "    # Whose messages are taken; write your own:"
        yield f"    # merchant_id: {_flow(example['merchant_id'])}"
    if "must" in example:
        yield "    # Whose messages are taken; write your own, since these are an example:"
        yield f"    # must: {_flow(example['must'])}"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _flow(value: object) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{name}: {_flow(each)}" for name, each in value.items()) + "}"
        case tuple():
            return "[" + ", ".join(map(_flow, value)) + "]"
    return _text(value)


# ---- secrets --------------------------------------------------------------------------------


def _signature(provider: str) -> Mapping[str, Any]:
    """Return how a ready sender signs; empty for a provider that no block describes."""
    if provider not in presets.files():
        return {}
    found: Mapping[str, Any] = presets.example(provider)["provider"].get("signature", {})
    return found


def _has_secret(provider: str) -> bool:
    return provider not in presets.files() or "secrets" in presets.example(provider)


def _variables(provider: str) -> list[str]:
    """Return the environment variables that the block of a ready sender reads."""
    if provider not in presets.files():
        return []
    text = json.dumps(presets.example(provider)["provider"], default=str)
    return list(dict.fromkeys(_VARIABLE.findall(text)))


def _has_key_file(provider: str) -> bool:
    """Return whether what verifies is the provider's public key."""
    signature = _signature(provider)
    if signature.get("scheme") == "jwt":
        return not str(signature["algorithms"][0]).startswith("HS")
    return _signs_snap(provider) or signature.get("scheme") in PUBLIC_KEY_SCHEMES


def _signs_snap(provider: str) -> bool:
    """Return whether the provider signs BI-SNAP with a private key."""
    if provider not in presets.files():
        return provider == "midtrans-snap"
    return not _asks_for_token(provider) and "snap" in presets.example(provider)["provider"]


def _asks_for_token(provider: str) -> bool:
    """Return whether the provider asks for an access token, which it signs BI-SNAP with."""
    return provider in presets.files() and "tokens" in presets.example(provider)


def _trial_secret(provider: str, environment: str | None) -> str:
    """Return a random shared secret as this provider writes them."""
    if provider == "midtrans":
        return f"{'SB-' if environment == 'sandbox' else ''}Mid-server-{secrets.token_urlsafe(18)}"
    signature, random = _signature(provider), secrets.token_bytes(32)
    prefix = str(signature.get("strip_prefix") or "")
    encoding = signature.get("secret_encoding")
    if signature.get("scheme") == "basic":
        return f"relay:{secrets.token_urlsafe(32)}"
    if encoding == "base64":
        return prefix + b64encode(random).decode()
    return prefix + (random.hex() if encoding == "hex" else secrets.token_urlsafe(32))


def _trial_pair() -> tuple[str, bytes]:
    """Return a public RSA key in PEM, and the private one that samples are signed with."""
    # Imported here: few need it, and it takes a while.
    from relay.cli.demo.services import asymmetric  # noqa: PLC0415

    pair = asymmetric()
    return pair.verifying, pair.signing.reveal()


# ---- questions ------------------------------------------------------------------------------


class _Interview:
    """Asks on standard error and reads lines of standard input; an empty one is the default.

    On a terminal, a wrong answer is asked for again. Elsewhere it ends the command with 2.
    """

    def __init__(self) -> None:
        self._again = sys.stdin.isatty()

    def ask(
        self,
        question: str,
        default: str | None,
        parse: Callable[[str], T],
        *,
        hidden: bool = False,
        told: str | None = None,
    ) -> T:
        """Return the parsed answer. told: what stands for the default, where that is not shown."""
        shown = told or default
        prompt = question + (f" [{shown}]" if shown else "") + ": "
        while True:
            answer = self._line(prompt, hidden=hidden).strip() or default
            try:
                return parse(_something(answer))
            except ValueError as error:
                if not self._again:
                    raise typer.BadParameter(f"{question}: {error}") from None
                complain(f"  {error}")

    def choose(self, question: str, options: Mapping[str, str], default: str) -> str:
        """Return one of these options, shown with what they mean."""
        width = max(map(len, options))
        for name, meaning in options.items():
            complain(f"  {name:{width}}  {meaning}")
        return self.ask(question, default, lambda answer: _one_of(answer, tuple(options)))

    def _line(self, prompt: str, *, hidden: bool) -> str:
        if hidden and self._again:
            return getpass(prompt)
        sys.stderr.write(prompt)
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not self._again:
            sys.stderr.write("\n")
        elif not line:
            # Ctrl-D: no answer will come.
            raise KeyboardInterrupt
        return line


def _something(answer: str | None) -> str:
    if answer is None:
        raise ValueError("there is no default; write something")
    return answer


def _one_of(answer: str, options: tuple[str, ...]) -> str:
    if answer not in options:
        raise ValueError(f'"{answer}" is none of these; {suggestion(answer, options)}')
    return answer


def _networks(answer: str) -> tuple[str, ...]:
    words = tuple(answer.replace(",", " ").split())
    return tuple(str(network(word)) if "/" in word else str(network(word).ip) for word in words)


def _file_in(directory: Path) -> Callable[[str], str]:
    def parse(answer: str) -> str:
        if not (directory / Path(answer).expanduser()).is_file():
            raise ValueError(f"there is no file {answer}")
        return str(Path(answer).expanduser())

    return parse


def _asked(ask: _Interview, directory: Path) -> Answers:
    names = presets.names()
    complain(f"  {', '.join(names)}")
    provider = ask.ask("Provider", "midtrans", lambda answer: _one_of(answer, names))
    environment = None
    if provider not in presets.files():
        known = tuple(provider_named(provider).info.environments)
        environment = known[0]
        if len(known) > 1:
            question = f"Environment ({', '.join(known)})"
            environment = ask.ask(question, known[0], lambda answer: _one_of(answer, known))
    front = ask.choose("What stands in front", FRONTS, "proxy")
    networks: tuple[str, ...] = ("127.0.0.1",) if front == "proxy" else ()
    if front in {"balancer", "passthrough"}:
        default = "10.0.0.0/8" if front == "balancer" else "127.0.0.1"
        networks = ask.ask("Its addresses or networks", default, _networks)
    certificate = key = None
    if front in _ENDS_TLS_ITSELF:
        certificate = ask.ask("Certificate file", "tls/fullchain.pem", _file_in(directory))
        key = ask.ask("Key file", "tls/privkey.pem", _file_in(directory))
    signed_url = None
    if provider in presets.files() and "public_url" in presets.example(provider):
        signed_url = ask.ask("The URL that is registered at the provider", None, public_url)
    client_id = None
    if _asks_for_token(provider):
        example = str(presets.example(provider)["tokens"]["client_id"])
        client_id = ask.ask("The client id that it asks for a token by", example, str)
    upstream = ask.ask("Deliver to", "http://127.0.0.1:8081/webhooks", upstream_url)
    return Answers(
        provider,
        environment,
        front,
        networks,
        certificate,
        key,
        signed_url,
        upstream,
        client_id,
    )


def _asked_secrets(ask: _Interview, answers: Answers, directory: Path) -> dict[str, bytes]:
    """Return the content of each file in `secrets/`."""
    provider = answers.provider
    found = {"admin": secrets.token_urlsafe(24).encode() + b"\n"}
    if not _has_secret(provider):
        return found
    if not _has_key_file(provider):
        trial = _trial_secret(provider, answers.environment)
        told = "a random one, to try it with"
        secret = ask.ask("Secret", trial, str, hidden=True, told=told)
        found |= {provider: f"{secret}\n".encode(errors="surrogateescape")}
        if answers.client_id is None:
            return found
        return found | _asked_pair(ask, directory, provider, f"{provider}-public.pem")
    if _signs_snap(provider):
        return found | _asked_pair(ask, directory, provider, provider)
    file = ask.ask("File with the sender's public key", None, _file_in(directory))
    return found | {provider: (directory / file).read_bytes()}


def _asked_pair(
    ask: _Interview, directory: Path, provider: str, public_name: str
) -> dict[str, bytes]:
    """Return the file with the sender's public RSA key; without one, a new pair of both."""
    whose = "Midtrans's" if provider == "midtrans-snap" else "the sender's"
    question, told = f"File with {whose} public key", "a new pair, to try it with"
    file = ask.ask(question, "", lambda answer: answer and _file_in(directory)(answer), told=told)
    if file:
        return {public_name: (directory / file).read_bytes()}
    public, private = _trial_pair()
    return {public_name: public.encode(), f"{provider}-private.pem": private}


# ---- the verb -------------------------------------------------------------------------------


def init(config: CONFIG = DEFAULT_CONFIG) -> None:
    """Ask what is received and where it goes, and write a configuration and its secrets.

    Secrets go to files in secrets/ that only this user may read (mode 0600). Nothing is
    overwritten. Answers may come from a pipe, one a line; an empty line is what is in brackets.

    Example: relay init -c /etc/relay/relay.yaml
    """
    directory = config.absolute().parent
    if config.exists():
        # Before the questions, so that nobody answers them in vain.
        complain(f"relay init: {config} is there already; nothing was written")
        sys.exit(1)
    ask = _Interview()
    try:
        answers = _asked(ask, directory)
        contents = _asked_secrets(ask, answers, directory)
        with _writing() as write:
            for name, content in contents.items():
                write(directory / "secrets" / name, content, 0o600)
            write(config, rendered(answers).encode(errors="surrogateescape"), 0o644)
            # Everything that the questions could not know, such as a certificate that does not fit.
            stand_ins = dict.fromkeys(_variables(answers.provider), "stand-in")
            load(config, {**stand_ins, **os.environ})
    except FileExistsError as error:
        complain(f"relay init: {error.filename} is there already; nothing was written")
        sys.exit(1)
    except ConfigError:
        complain("relay init: nothing was written, since that configuration has mistakes:")
        raise
    except OSError as error:
        complain(f"relay init: {error.filename}: {error.strerror}; nothing was written")
        sys.exit(1)
    _report(config, answers, contents)


@contextmanager
def _writing() -> Iterator[Callable[[Path, bytes, int], None]]:
    """Yield a function that writes new files; after an exception, none of them is left."""
    written: list[Path] = []
    made: list[Path] = []

    def write(path: Path, content: bytes, mode: int) -> None:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700)
            made.append(path.parent)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        written.append(path)
        with os.fdopen(file, "wb") as opened:
            opened.write(content)

    try:
        yield write
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        for path in made:
            path.rmdir()
        raise


def _report(config: Path, answers: Answers, contents: Mapping[str, bytes]) -> None:
    for name in contents:
        sys.stdout.write(f"wrote {config.parent / 'secrets' / name} (mode 0600)\n")
    sys.stdout.write(f"wrote {config}\n\n")
    name, chosen = answers.provider, "" if config == DEFAULT_CONFIG else f" -c {config}"
    key = f" --key secrets/{name}-private.pem" if f"{name}-private.pem" in contents else ""
    for variable in _variables(name):
        sys.stdout.write(f"{f'export {variable}=…':40}  what the sender's block reads\n")
    for command, meaning in (
        (f"relay check{chosen}", "what it means"),
        ("relay sink", "a service to deliver to, for trying it"),
        (f"relay run{chosen}", "serve"),
        (f"relay send{chosen} --endpoint {name}{key}", "post a signed sample"),
    ):
        sys.stdout.write(f"{command:40}  {meaning}\n")
