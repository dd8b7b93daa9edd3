"""Where events are asked about, kept from one configuration to the next.

Only what differs is made anew: reading a configuration again lets nobody ask more often.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from relay import asking
from relay.clock import Clock
from relay.config import Endpoint
from relay.config.endpoint import Confirm
from relay.confirm.confirmer import Desk, StatusConfirmer
from relay.confirm.pace import Turns
from relay.fleet import Close, Fleet, Member, nothing
from relay.secret import Secret
from relay.telemetry import Telemetry

# Provider, environment and URL tell which API it is.
_Api = tuple[object, str | None, str | None]
_Pace = tuple[_Api, int]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a desk is made from."""

    api: _Api
    secrets: tuple[Secret, ...]
    strict: bool
    turns: Turns
    endpoint: Endpoint = field(compare=False)


_Asking = frozenset[tuple[str, Member[_Asked, Desk]]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The desks of one configuration, and who asks at them."""

    paces: Mapping[str, Member[_Pace, Turns]]
    desks: Mapping[str, Member[_Asked, Desk]]
    confirmers: Mapping[str, Member[_Asking, StatusConfirmer]]
    unasked: frozenset[str]

    @property
    def confirmer(self) -> StatusConfirmer:
        """Who asks; the same object for as long as the desks are the same."""
        return self.confirmers[""].part


class Desks:
    """The desks in use, and those that have been replaced and are not closed yet.

    Used as `relay.fleet.Fleet`: what `prepare` returns comes into use with `take`.
    """

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._paces = Fleet(_pace)
        self._desks = Fleet(self._desk)
        self._confirmers = Fleet(self._confirmer)
        # The endpoints in use that do not ask. All confirmers know it, so that none is made anew
        # when an endpoint comes or goes.
        self._unasked: set[str] = set()

    def prepare(self, endpoints: Sequence[Endpoint]) -> Prepared:
        """Return the desks for these endpoints; those in use stay where they are the same.

        How often an API has been asked stays known for as long as it is the same API, and may be
        asked as often: also where the secrets have changed.
        """
        asks = [(each, each.confirm) for each in endpoints if each.confirm is not None]
        paces = self._paces.prepare(
            {each.name: (_api(each, confirm), confirm.rate) for each, confirm in asks}
        )
        desks = self._desks.prepare(
            {each.name: _asked(each, confirm, paces[each.name].part) for each, confirm in asks}
        )
        confirmers = self._confirmers.prepare({"": frozenset(desks.items())})
        unasked = frozenset(each.name for each in endpoints if each.confirm is None)
        return Prepared(paces, desks, confirmers, unasked)

    def take(self, prepared: Prepared) -> None:
        """Use these from now on."""
        self._paces.take(prepared.paces)
        self._desks.take(prepared.desks)
        self._confirmers.take(prepared.confirmers)
        self._unasked.clear()
        self._unasked.update(prepared.unasked)

    def others(self) -> list[Member[_Asked, Desk]]:
        """Return those that are open and not in use; nothing else has to be closed."""
        return self._desks.others()

    async def close(self, members: Iterable[Member[_Asked, Desk]] | None = None) -> None:
        """Close these, or all."""
        await self._desks.close(members)
        # They hold nothing open, and are let go.
        await self._confirmers.close(self._confirmers.others())
        await self._paces.close(self._paces.others())

    def _desk(self, _: str, asked: _Asked) -> tuple[Desk, Close]:
        stack = AsyncExitStack()
        desk = Desk(
            api=asking.status_client(asked.endpoint, self._clock, stack),
            secrets=asked.secrets,
            turns=asked.turns,
            strict=asked.strict,
        )
        return desk, stack.aclose

    def _confirmer(self, _: str, described: _Asking) -> tuple[StatusConfirmer, Close]:
        parts = {name: member.part for name, member in described}
        return StatusConfirmer(parts, self._unasked, self._clock, self._telemetry), nothing


def _api(endpoint: Endpoint, confirm: Confirm) -> _Api:
    return endpoint.provider, endpoint.environment, confirm.url


def _asked(endpoint: Endpoint, confirm: Confirm, turns: Turns) -> _Asked:
    strict = confirm.on_error == "hold"
    return _Asked(_api(endpoint, confirm), endpoint.secrets, strict, turns, endpoint)


def _pace(_: str, described: _Pace) -> tuple[Turns, Close]:
    return Turns(described[1]), nothing
