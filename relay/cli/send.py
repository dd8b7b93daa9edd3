"""`relay send`: sign a sample message as its provider does, and post it."""

import asyncio
import os
import ssl
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
)
from yarl import URL

from relay.cli import completion
from relay.cli.common import CONFIG, DEFAULT_CONFIG, load_settings
from relay.cli.output import (
    FORMAT,
    Format,
    complain,
    print_json,
    print_table,
)
from relay.cli.progress import progress
from relay.cli.providers import Described, named_or_described, trusts_loopback
from relay.cli.send_endpoint import (
    Target,
    asking_for_token,
    endpoint_of,
    forwarding,
    loopback,
    public_url_of,
    signing,
    target,
)
from relay.cli.send_proxy import passing_on
from relay.config.file_text import as_written
from relay.core.clock import SystemClock
from relay.core.errors import RelayError
from relay.core.request import ForwardedHeader
from relay.core.secret import Secret
from relay.core.urls import appended
from relay.providers import AsksForToken, Sample, SampleOrder

#: Midtrans gives up after 15 s, Vipps after 10 s.
_TIMEOUT = ClientTimeout(total=15)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of the receiver."""

    status: int
    body: str


class Unsent(RelayError):
    """The sample got no answer."""


async def post(
    url: str,
    sample: Sample,
    client: str | None = None,
    *,
    header: ForwardedHeader = ForwardedHeader.X_FORWARDED_FOR,
    certificate: str | None = None,
    proxy_protocol: bool = False,
) -> Reply:
    """Send a sample once and return the answer. Redirects are not followed.

    client: forwarded in this header, as a proxy in front of the receiver would; with
        `proxy_protocol` in a PROXY header before all else.
    certificate: the one that is accepted, in PEM, instead of one for the host of the URL.

    Raises:
        Unsent: the receiver cannot be reached, or closes without an answer.
    """
    headers = list(sample.headers)
    whole = URL(appended(url, sample.suffix), encoded=True)
    if client is not None and not proxy_protocol:
        headers.append(forwarding(header, client))
    async with (
        AsyncExitStack() as stack,
        ClientSession(timeout=_TIMEOUT, trust_env=False) as session,
    ):
        try:
            if client is not None and proxy_protocol and whole.host and whole.port:
                port = await stack.enter_async_context(passing_on(whole.host, whole.port, client))
                headers.append(("Host", whole.authority))
                whole = whole.with_host("127.0.0.1").with_port(port)
            async with session.request(
                sample.method,
                whole,
                data=sample.body,
                headers=headers,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
                allow_redirects=False,
                ssl=True if certificate is None else _pinned(certificate),
            ) as response:
                return Reply(response.status, await response.text(errors="replace"))
        except ClientConnectorCertificateError as error:
            # Of a public certificate OpenSSL says what is wrong; of ours it does not know.
            other = "" if certificate is None else ", which is not that of the configuration"
            said = error.certificate_error
            raise Unsent(f"the certificate of {url} is not believed{other}: {said}") from error
        except ClientConnectorError as error:
            # The library's own text speaks of TLS, also where there is none. Names that cannot be
            # resolved have numbers below 0, and only a text.
            number = error.errno or 0
            why = os.strerror(number) if number > 0 else error.strerror
            raise Unsent(f"no answer from {url}: {why}") from error
        except (ClientError, TimeoutError, OSError) as error:
            number = (isinstance(error, OSError) and error.errno) or 0
            why = os.strerror(number) if number else str(error) or type(error).__name__
            raise Unsent(f"no answer from {url}: {why}") from error


def _pinned(certificate: str) -> ssl.SSLContext:
    """Return a context that accepts this certificate alone, whatever name it is for."""
    context = ssl.create_default_context(cadata=certificate)
    context.check_hostname = False
    # Nothing else is asked of it: the relay serves it as it is.
    context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def send(
    provider: Annotated[
        str | None,
        typer.Argument(
            help="Name of the provider, or a YAML file that describes one.",
            autocompletion=completion.providers,
        ),
    ] = None,
    *,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            help="An endpoint of the configuration: it names all that is needed.",
            autocompletion=completion.endpoints,
        ),
    ] = None,
    config: CONFIG = DEFAULT_CONFIG,
    to: Annotated[
        str | None, typer.Option("--to", help="URL of the endpoint. Default: by --endpoint.")
    ] = None,
    secret: Annotated[
        str | None, typer.Option("--secret", help="The secret that the endpoint is given.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="File with the private key, where one signs.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="Client address, sent as X-Forwarded-For.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A body field to set: key=value; for a file, path/to/field=value."
        ),
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="How often to post it.")] = 1,
    form: FORMAT = Format.TEXT,
) -> None:
    """Sign a sample message and post it; exit 0 when every answer was 2xx.

    With --endpoint, URL, secret and an address that may send come from the configuration; also with
    a provider that one endpoint of it has. For another receiver, name a provider, --to, and
    --secret or --key.

    Example: relay send --endpoint midtrans --set order_id=order-1
    """
    if to is not None and not _is_http(to):
        raise typer.BadParameter(f'--to: "{to}" is no URL; write it as https://host/path')
    if source is not None and not _is_address(source):
        raise typer.BadParameter(f'--from: "{source}" is no IP address')
    try:
        given = None if secret is None else Secret(secret)
        private = None if key is None else Secret(_read(key))
        if endpoint is not None and provider is not None:
            raise typer.BadParameter("name a provider or an --endpoint, not both")
        if endpoint is None and provider is not None and to is None:
            named_or_described(provider)
            endpoint = endpoint_of(as_written(config), provider, config)
        if endpoint is None:
            found = _named(provider, to, given, source, private)
        else:
            found = target(load_settings(config), endpoint, to, given, source, key=private)
        made = {**found.changes, **_changes(changes or [])}
        order = SampleOrder(found.signed_url, found.secret, SystemClock().now(), made, key=private)
        client = source or found.client
        sample = _sample(found, order, client)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    except Unsent as error:
        complain(f"relay send: {error}")
        sys.exit(1)
    try:
        answers = asyncio.run(_post(repeat, found, sample, client))
    except Unsent as error:
        complain(f"relay send: {error}")
        sys.exit(1)
    rows = [(number, a.status, a.body) for number, a in enumerate(answers, 1)]
    if form is Format.JSON:
        print_json([{"status": a.status, "body": a.body} for a in answers])
    else:
        print_table(("try", "status", "body"), rows)
    sys.exit(0 if all(answer.status // 100 == 2 for answer in answers) else 1)  # noqa: PLR2004


def _named(
    word: str | None,
    to: str | None,
    secret: Secret | None,
    source: str | None,
    key: Secret | None,
) -> Target:
    """Return the target of a call without a configuration.

    source: the client that the caller names. key: a private key.

    Raises:
        ValueError: something is missing, or there is no such provider.
    """
    if word is None:
        raise ValueError("name an --endpoint of the configuration, or a provider")
    found = named_or_described(word)
    if to is None:
        raise ValueError("give the URL of the endpoint with --to, or name an --endpoint")
    secret = signing(found.provider, secret, key)
    if secret is None:
        if found.provider.info.secrets != "none":
            raise ValueError("give --secret, or --key where a private key signs")
        secret = Secret("")
    # Where the file says a public_url, that is what the relay verifies against.
    here = loopback(to) is not None
    client = _played(found) if source is None and here else source
    signed_url = found.public_url or (here and _public_url(word, to)) or to
    return Target(found.provider, to, signed_url, secret, client, changes=found.changes)


def _played(found: Described) -> str | None:
    """Return the client that a proxy on this machine would name, if the sender's file trusts one.

    What is forwarded, or that a relay would miss it, goes to standard error before it is sent.
    """
    if found.client is not None:
        complain(
            f"relay send: {found.file} trusts a proxy on this machine; playing it for"
            f" {found.client}, in X-Forwarded-For (--from names another)"
        )
        return found.client
    config = _configuration_here()
    if trusts_loopback(as_written(config)):
        complain(
            f"relay send: {config} trusts a proxy on this machine, and without --from none"
            " names the client: the relay of that file will refuse this"
        )
    return None


def _public_url(provider: str, to: str) -> str | None:
    """Return the public URL that the configuration here gives the endpoint which is posted to.

    What is signed instead of the URL goes to standard error.
    """
    config = _configuration_here()
    found = public_url_of(as_written(config), provider, urlsplit(to).path)
    if found is not None:
        complain(f"relay send: signing {found}, the public_url of this path in {config}")
    return found


def _configuration_here() -> Path:
    """Return the file that verbs read when none is named."""
    return Path(os.environ.get("RELAY_CONFIG") or DEFAULT_CONFIG)


def _sample(found: Target, order: SampleOrder, client: str | None) -> Sample:
    """Return a signed sample; of a sender that asks for an access token, once it has one.

    Raises:
        ValueError: it cannot be made of this.
        Unsent: there is no answer to the question for a token, or none with one.
    """
    if (asking := asking_for_token(found.provider)) is not None:
        request = asking.token_request(order)
        order = replace(order, token=asyncio.run(_token(found, asking, request, client)))
    return found.provider.sample(order)


async def _token(
    found: Target, asking: AsksForToken, request: Sample, client: str | None
) -> Secret:
    """Ask for the access token that samples are signed with. Raises `Unsent` without one."""
    (reply,) = await _post(1, found, request, client)
    token = asking.token_in(reply.body.encode())
    if token is None:
        raise Unsent(f"asked for an access token, and was answered {reply.status} {reply.body}")
    complain(f"relay send: asked for an access token below {found.url}, and was given one")
    return token


async def _post(repeat: int, found: Target, sample: Sample, client: str | None) -> list[Reply]:
    replies = []
    with progress("sent", repeat) as counter:
        for _ in range(repeat):
            reply = await post(
                found.url,
                sample,
                client,
                header=found.header,
                certificate=found.certificate,
                proxy_protocol=found.proxy_protocol,
            )
            replies.append(reply)
            counter.add()
    return replies


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isprintable()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _read(path: Path | None) -> bytes:
    if path is None:
        raise ValueError("--key: no file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"--key: {path}: {error.strerror}") from None


def _changes(texts: list[str]) -> dict[str, str]:
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f'--set: "{text}" is not key=value')
        changes[name] = value
    return changes
