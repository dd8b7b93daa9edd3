"""GET status over HTTP: one question, one answer, within a time limit."""

import asyncio
from base64 import b64encode
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from relay.clock import Clock
from relay.confirm.status import MALFORMED, UNASKABLE, Answer, NoAnswer, Transaction, read
from relay.secret import Secret
from relay.upstream._http.pool import Pool
from relay.upstream._http.request import Origin, encode
from relay.upstream._http.response import Broken, Response
from relay.upstream.forward import cause_of, parse_retry_after

#: How long one question may take, in seconds.
PATIENCE: Final = 5.0

#: How many questions may be under way at a time.
TOGETHER: Final = 8

_LONGEST_ANSWER: Final = 256 * 1024
_KEEPALIVE: Final = 4.0


class StatusClient:
    """Asks one status API over kept connections. Made inside a running event loop.

    url: the base of the API, such as https://api.midtrans.com. Redirects are not followed, and no
        proxy is looked for: the key goes to this host and nowhere else.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self.base = url.rstrip("/") + "/v2"
        self._origin = Origin.of(url)
        self._clock = clock
        self._pool = Pool(
            self._origin, size=TOGETHER, idle=_KEEPALIVE, longest_body=_LONGEST_ANSWER
        )

    async def ask(self, name: str, secret: Secret) -> Answer:
        """Ask for the status of a transaction or order, once.

        Never takes longer than `PATIENCE`, and never raises but for cancellation.
        """
        response = Response()
        try:
            request = self._request(name, secret)
            async with asyncio.timeout(PATIENCE):
                await self._pool.ask(request, response)
        except (Broken, OSError) as error:
            return NoAnswer(cause_of(error).value)
        except ValueError:
            return NoAnswer(UNASKABLE)
        if response.values("content-encoding"):
            return NoAnswer(MALFORMED)
        said = response.values("retry-after")
        wait: timedelta | None = parse_retry_after(said[0], self._clock.now()) if said else None
        answer = read(response.status or 0, response.body, wait)
        if isinstance(answer, Transaction) and _repeats(answer.body, secret):
            # What is learnt may be stored, and the key never is.
            return NoAnswer(MALFORMED)
        return answer

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    def _request(self, name: str, secret: Secret) -> bytes:
        # Order ids hold blanks and number signs. Dots alone would be taken for a way up.
        if not name.strip("."):
            raise ValueError("no id")
        target = self._origin.target(f"{self.base}/{quote(name, safe='')}/status")
        fields = (
            ("Accept", "application/json"),
            ("Authorization", "Basic " + _basic(secret)),
            ("User-Agent", "relay"),
        )
        return encode("GET", target, self._origin.authority, fields, b"")


def _repeats(body: bytes, secret: Secret) -> bool:
    """Tell whether an answer holds the key that was used, or the header that it was sent in."""
    return secret.reveal() in body or _basic(secret).encode() in body


def _basic(secret: Secret) -> str:
    return b64encode(secret.reveal() + b":").decode()
