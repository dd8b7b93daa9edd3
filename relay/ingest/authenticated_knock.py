"""An unknown address that proves itself by its signature: which bodies are looked at, and look-ups.

A sender moves to a new address, and strangers use up the early look-ups of the endpoint meanwhile.
So a few deliveries of unknown addresses are verified all the same: one whose signature or token is
right has a look-up of its own. What that costs is bounded, whoever asks for it.
"""

import asyncio
from collections import deque
from datetime import timedelta
from typing import Final

from relay.allowlist.registry import Knock, KnockResult
from relay.core.clock import Clock
from relay.core.request import Address, RequestHead
from relay.ingest.client_address import ClientKey, network_key

#: How often a sender that has proven itself may cause a look-up.
LOOKUP_INTERVAL: Final = timedelta(seconds=1)

#: A body that is looked at: bytes at most, and in which time it has to come.
MAX_BODY: Final = 64 * 1024
BODY_TIMEOUT: Final = timedelta(seconds=1)

#: What is said of a delivery that is refused although it has proven itself.
PROVEN_BUT_UNKNOWN: Final = "its signature fits, and its address is unknown"

#: Whose turn it is, in each `_WINDOW` seconds: one client of a network, so many in all. And so many
#: at a time.
_WINDOW: Final = 1.0
_PER_WINDOW: Final = 50
_AT_A_TIME: Final = 16

#: For how many seconds signed bytes that came from an unknown address are remembered, and how many.
REMEMBERED_SECONDS: Final = 600.0
_MAX_REMEMBERED: Final = 1024


class AuthenticatedKnock:
    """The turns and look-ups of one endpoint.

    in_hand: deliveries whose turn has not ended; who has taken one counts it down.
    """

    def __init__(self, knock: Knock | None, clock: Clock) -> None:
        """Take the knock that refreshes the endpoint's hosts; None where it has none."""
        self._knock = knock
        self._clock = clock
        self.in_hand = 0
        self._turns: deque[tuple[float, ClientKey]] = deque()
        self._proofs: dict[bytes, float] = {}
        self._later: asyncio.Task[None] | None = None

    def take_turn(self, head: RequestHead, client: Address) -> bool:
        """Return whether the body of this client may be looked at; it counts as in hand then."""
        now = self._clock.monotonic()
        turns = self._turns
        while turns and now - turns[0][0] >= _WINDOW:
            turns.popleft()
        network = network_key(client)
        if (
            self.in_hand >= _AT_A_TIME
            or len(turns) >= _PER_WINDOW
            or any(network == each for _, each in turns)
            or not _is_plain(head)
        ):
            return False
        turns.append((now, network))
        self.in_hand += 1
        return True

    def is_first(self, proof: bytes) -> bool:
        """Return whether these signed bytes come for the first time in a while; note them."""
        now, proofs = self._clock.monotonic(), self._proofs
        known = proofs.get(proof)
        if known is not None and now - known < REMEMBERED_SECONDS:
            return False
        if len(proofs) >= _MAX_REMEMBERED:
            del proofs[next(iter(proofs))]
        proofs.pop(proof, None)
        proofs[proof] = now
        return True

    async def look_up(self) -> None:
        """Refresh the hosts and wait for it, a second at most; later, if that was done just now."""
        if self._knock is None:
            return
        result = await self._knock.knock()
        if result is KnockResult.LIMITED and (self._later is None or self._later.done()):
            self._later = asyncio.get_running_loop().create_task(self._look_up_later(self._knock))

    async def close(self) -> None:
        """Cancel the look-up under way and the one to come, if there are any."""
        if self._later is not None:
            self._later.cancel()
            await asyncio.wait({self._later})
        if self._knock is not None:
            await self._knock.close()

    async def _look_up_later(self, knock: Knock) -> None:
        await self._clock.sleep(LOOKUP_INTERVAL.total_seconds())
        await knock.knock()


def _is_plain(head: RequestHead) -> bool:
    """Return whether the body is not too long by its head, not encoded, and not waited for."""
    headers = head.headers
    codings = ",".join(headers.values("Content-Encoding"))
    if headers.values("Expect") or codings.strip().lower() not in {"", "identity"}:
        return False
    # Only numbers come as far as this.
    return all(int(length) <= MAX_BODY for length in headers.values("Content-Length"))
