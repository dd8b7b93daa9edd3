"""`relay send`: sign a sample message as its provider does, and post it."""

import asyncio
import os
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout
from yarl import URL

from relay.cli.output import (
    FORMAT,
    Format,
    complain,
    print_json,
    print_table,
)
from relay.cli.providers import PROVIDER, Unknown, named_or_described
from relay.core.clock import SystemClock
from relay.core.errors import RelayError
from relay.core.secret import Secret
from relay.providers import Sample, SampleOrder

#: Midtrans gives up after 15 s, Vipps after 10 s.
_TIMEOUT = ClientTimeout(total=15)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of the receiver."""

    status: int
    body: str


class Unsent(RelayError):
    """The sample got no answer."""


async def post(url: str, sample: Sample, client: str | None = None) -> Reply:
    """Send a sample once and return the answer. Redirects are not followed.

    client: sets X-Forwarded-For, as a proxy in front of the receiver would.

    Raises:
        Unsent: the receiver cannot be reached, or closes without an answer.
    """
    headers = list(sample.headers)
    if client is not None:
        headers.append(("X-Forwarded-For", client))
    async with ClientSession(timeout=_TIMEOUT, trust_env=False) as session:
        try:
            async with session.request(
                sample.method,
                URL(url + sample.suffix, encoded=True),
                data=sample.body,
                headers=headers,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
                allow_redirects=False,
            ) as response:
                return Reply(response.status, await response.text(errors="replace"))
        except ClientConnectorError as error:
            # The library's own text speaks of TLS, also where there is none. Names that cannot be
            # resolved have numbers below 0, and only a text.
            number = error.errno or 0
            why = os.strerror(number) if number > 0 else error.strerror
            raise Unsent(f"no answer from {url}: {why}") from error
        except (ClientError, TimeoutError, OSError) as error:
            raise Unsent(f"no answer from {url}: {str(error) or type(error).__name__}") from error


def send(
    provider: PROVIDER,
    *,
    to: Annotated[str, typer.Option("--to", help="URL of the endpoint.")],
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
    """Sign a sample message and post it; exit 0 when every answer was 2xx."""
    try:
        found = named_or_described(provider)
    except Unknown as error:
        raise typer.BadParameter(str(error)) from None
    if not _is_http(to):
        raise typer.BadParameter(f'--to: "{to}" is no URL; write it as https://host/path')
    if source is not None and not _is_address(source):
        raise typer.BadParameter(f'--from: "{source}" is no IP address')
    if (secret is None) == (key is None):
        raise typer.BadParameter("give --secret, or --key where a private key signs")
    try:
        value = Secret(secret) if secret is not None else Secret(_read(key))
        # Where the file says a public_url, that is what the relay verifies against.
        signed_url = found.public_url or to
        order = SampleOrder(signed_url, value, SystemClock().now(), _changes(changes or []))
        sample = found.provider.sample(order)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        answers = asyncio.run(_post(repeat, to, sample, source))
    except Unsent as error:
        complain(f"relay send: {error}")
        sys.exit(1)
    rows = [(number, a.status, a.body) for number, a in enumerate(answers, 1)]
    if form is Format.JSON:
        print_json([{"status": a.status, "body": a.body} for a in answers])
    else:
        print_table(("try", "status", "body"), rows)
    sys.exit(0 if all(answer.status // 100 == 2 for answer in answers) else 1)  # noqa: PLR2004


async def _post(repeat: int, to: str, sample: Sample, source: str | None) -> list[Reply]:
    return [await post(to, sample, source) for _ in range(repeat)]


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
