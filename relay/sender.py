"""Posting a sample as its provider does: for `relay send` and the demo."""

import os
from dataclasses import dataclass

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout
from yarl import URL

from relay.errors import RelayError
from relay.providers import Sample

#: Midtrans gives up after 15 s, Vipps after 10 s.
_TIMEOUT = ClientTimeout(total=15)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said."""

    status: int
    body: str


class Unsent(RelayError):
    """No answer came."""


async def post(url: str, sample: Sample, client: str | None = None) -> Answer:
    """Send a sample once and return the answer. Redirects are not followed.

    client: sets X-Forwarded-For, as a proxy in front of the receiver would.

    Raises:
        Unsent: the receiver cannot be reached or breaks off.
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
                return Answer(response.status, await response.text(errors="replace"))
        except ClientConnectorError as error:
            # The library's own text speaks of TLS, also where there is none. Names that cannot be
            # resolved have numbers below 0, and only a text.
            number = error.errno or 0
            why = os.strerror(number) if number > 0 else error.strerror
            raise Unsent(f"no answer from {url}: {why}") from error
        except (ClientError, TimeoutError, OSError) as error:
            raise Unsent(f"no answer from {url}: {str(error) or type(error).__name__}") from error
