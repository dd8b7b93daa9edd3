"""Plain data -> settings, with every fault at once.

A part that is wrong is put aside, so that what depends on the other parts can still be looked at.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from relay.config.explain import explain
from relay.config.places import TOP, Fault, Place
from relay.config.settings import Settings
from relay.config.structure import Trace, trace

MOST_FAULTS = 100
# Each round can bring to light only what the rounds before had hidden.
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Validated:
    """Settings as far as they can be made, the faults, and the places that hold stand-ins."""

    settings: Settings | None
    faults: tuple[Fault, ...]
    unsound: frozenset[Place]


def validate(data: object, base: Path) -> Validated:
    """Check data against the models. Never raises."""
    faults: list[Fault] = []
    unsound: set[Place] = set()
    for _ in range(_ROUNDS):
        try:
            settings = Settings.model_validate(data, context={"base": base})
        except ValidationError as error:
            found = [
                (explain(detail, traced), traced, detail["type"])
                for detail in error.errors()[: MOST_FAULTS + 1]
                if not _is_consequence(detail)
                for traced in (trace(detail["loc"]),)
            ]
            faults.extend(fault for fault, _, _ in found[:MOST_FAULTS])
            if len(found) > MOST_FAULTS:
                message = f"more than {MOST_FAULTS} mistakes; the others are not shown"
                faults.append(Fault((), message, position=TOP))
                break
            if not isinstance(data, dict):
                break
            for _, traced, kind in found:
                if kind == "extra_forbidden":
                    data = without(data, traced.place)
                else:
                    data, place = _mended(data, traced)
                    unsound.add(place)
        else:
            return Validated(settings, tuple(faults), frozenset(unsound))
    return Validated(None, tuple(faults), frozenset(unsound))


def _is_consequence(detail: ErrorDetails) -> bool:
    """Tell whether pydantic says this only because of something else that it says."""
    short = detail["type"] == "too_short" and bool(detail["input"])
    return short or detail["type"] == "default_factory_not_called"


def _mended(data: object, found: Trace) -> tuple[object, Place]:
    slot = found.slots[-1]
    if slot.optional:
        return without(data, slot.place), slot.place
    return replaced(data, slot.place, slot.stand_in()), slot.place


def replaced(data: object, place: Place, value: object) -> object:
    """Return a copy of nested dicts and tuples with another value at one place."""
    if not place:
        return value
    first, rest = place[0], place[1:]
    if isinstance(data, dict):
        return {**data, first: replaced(data.get(first, {}), rest, value)}
    if isinstance(data, tuple) and isinstance(first, int) and first < len(data):
        return (*data[:first], replaced(data[first], rest, value), *data[first + 1 :])
    return data


def without(data: object, place: Place) -> object:
    """Return a copy of nested dicts and tuples without one key."""
    first, rest = place[0], place[1:]
    if isinstance(data, tuple) and rest:
        at = cast("int", first)
        return (*data[:at], without(data[at], rest), *data[at + 1 :])
    if not isinstance(data, dict) or first not in data:
        return data
    if not rest:
        return {key: value for key, value in data.items() if key != first}
    return {**data, first: without(data[first], rest)}
