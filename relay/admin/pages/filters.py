"""The filters of a list: they live in its address, and each can be taken away by itself."""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlencode

#: The filters of the list of events, which a requeue of what it finds takes as well.
EVENT_FILTERS: Final = ("find", "status", "endpoint", "upstream", "since", "until", "key")


def filters_of(values: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return the filters of these names that are not empty."""
    return {name: text for name in names if (text := values.get(name, "").strip())}


def chips(filters: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return each filter's name and text, and the query of all but this one."""
    return [
        (name, text, urlencode({each: other for each, other in filters.items() if each != name}))
        for name, text in filters.items()
    ]
