"""Counting strangers: addresses that were refused since no list holds them.

Counted in memory, by network, and written behind the answers (`relay.spool.write_behind`). What is
counted between two writes is bounded, so that no flood takes memory, and none keeps the disk busy:
past the bound new networks are not counted, unless their signature fits.
"""

from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address
from typing import Final

from relay.core.clock import Clock
from relay.core.errors import SpoolUnavailable
from relay.core.request import ClientAddress, RequestHead
from relay.spool.strangers import NETWORK_BITS, Stranger, StrangerLimits, StrangerStore, network_of
from relay.spool.write_behind import WriteBehind, WriteLimits
from relay.telemetry import Telemetry

#: Networks that wait to be written: all, and those whose signature fits besides.
_MAX_WAITING: Final = 2048
_MAX_FITTING: Final = 1024

# Each waiting network counts one.
_WRITE_LIMITS: Final = WriteLimits(
    buffer=_MAX_WAITING + _MAX_FITTING, batch=50, window=0.5, retry_interval=5.0, per_window=200
)

#: Letters of a path that are kept.
_MAX_PATH: Final = 200

#: An endpoint, and the number of an address; of IPv6, that of its network.
_Key = tuple[str, int, int]

_HOST_BITS: Final = 128 - NETWORK_BITS


class _Count:
    """What was counted of one network at one endpoint since it was last written."""

    __slots__ = ("client", "first_at", "fits", "key", "last_at", "path", "times")

    def __init__(self, key: _Key, at: datetime) -> None:
        self.key = key
        self.first_at = at
        self.times = 0
        self.fits = False
        self.path = ""
        self.client: ClientAddress
        self.last_at: datetime


class StrangerCounter:
    """Counts strangers. `run` it, and `flush` it at the end.

    It passes as the `Sink` of what it counts.
    """

    def __init__(
        self,
        store: StrangerStore,
        *,
        clock: Clock,
        telemetry: Telemetry,
        bounds: StrangerLimits,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._bounds = bounds
        self._waiting: dict[_Key, _Count] = {}
        self._write_behind = WriteBehind[_Count](self, _WRITE_LIMITS, clock, lambda _: 1)

    def count(self, endpoint: str, head: RequestHead, client: ClientAddress, *, fits: bool) -> None:
        """Count a refused request of this client. Neither raises nor blocks.

        fits: its signature or token is right.
        """
        address, number = client.address, int(client.address)
        version = 4 if type(address) is IPv4Address else 6
        key = (endpoint, version, number if version == 4 else number >> _HOST_BITS)  # noqa: PLR2004
        counted = self._waiting.get(key)
        if counted is None:
            most = _MAX_WAITING + _MAX_FITTING if fits else _MAX_WAITING
            if len(self._waiting) >= most:
                return
            counted = self._waiting[key] = _Count(key, head.received_at)
            self._write_behind.add(counted)
        counted.times += 1
        counted.last_at = head.received_at
        counted.client = client
        counted.path = head.path[:_MAX_PATH]
        counted.fits = counted.fits or fits

    async def run(self) -> None:
        """Write until cancelled; what is counted then is left to `flush`.

        Raises:
            SpoolBroken: nothing can be written any more without a restart.
        """
        await self._write_behind.run()

    async def flush(self) -> None:
        """Write what is counted, or lose it. Call it when `run` has ended."""
        await self._write_behind.flush()

    # ---- called by `WriteBehind` ------------------------------------------------------------

    async def write(self, batch: Sequence[_Count]) -> None:
        for each in batch:
            # What comes meanwhile is counted anew.
            if self._waiting.get(each.key) is each:
                del self._waiting[each.key]
        await self._store.add([_stranger(each) for each in batch], self._bounds)

    def delayed(self, error: SpoolUnavailable) -> None:
        self._telemetry.log.warning("strangers_delayed", detail=str(error))

    def failed(self, fault: Exception) -> None:
        self._telemetry.log.fault("strangers_fault", fault)

    def lost(self, item: _Count, why: str) -> None:  # noqa: ARG002 - it is a number, no delivery
        self._waiting.pop(item.key, None)

    def window_ended(self) -> None:
        """Nothing is told of a window: refusals are counted by their metric, too."""


def _stranger(counted: _Count) -> Stranger:
    return Stranger(
        endpoint=counted.key[0],
        network=network_of(counted.client.address),
        address=counted.client.text,
        path=counted.path,
        times=counted.times,
        first_at=counted.first_at,
        last_at=counted.last_at,
        signature_fits=counted.fits,
    )
