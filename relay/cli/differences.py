"""What one list of networks has and another has not, by the addresses in them. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netaddr import IPNetwork, IPSet

from relay.networks import parse_network

#: Where a line of somebody's list ends: a comment, or what nginx and nftables put there.
_COMMENT = re.compile(r"[#;].*")


@dataclass(frozen=True, slots=True)
class Difference:
    """A network of one list alone. `allowed`: the configuration has it, the other list has not."""

    network: IPNetwork
    allowed: bool


class Unreadable(ValueError):
    """A list cannot be read. `line` and `column` count from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def differences(allowed: Sequence[IPNetwork], other: Sequence[IPNetwork]) -> list[Difference]:
    """Return what is in one of them alone, in the fewest networks, allowed ones first."""
    ours, theirs = IPSet(allowed), IPSet(other)
    found = [Difference(network, allowed=True) for network in (ours - theirs).iter_cidrs()]
    return [
        *found,
        *(Difference(network, allowed=False) for network in (theirs - ours).iter_cidrs()),
    ]


def read(text: str) -> list[IPNetwork] | dict[str, list[IPNetwork]]:
    """Return the networks of a list, or by endpoint those of a file that relay wrote as JSON.

    A list has one network a line, and comments behind `#`.

    Raises:
        Unreadable: a line is no network; the message says what to write.
    """
    if text.lstrip().startswith("["):
        return _written(text)
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        word = _COMMENT.sub("", line).strip()
        if word:
            try:
                found.append(parse_network(word))
            except ValueError as error:
                raise Unreadable(number, line.index(word) + 1, str(error)) from None
    return found


def _written(text: str) -> dict[str, list[IPNetwork]]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(error.lineno, error.colno, f"not JSON: {error.msg}") from None
    except (RecursionError, ValueError):
        raise Unreadable(1, 1, "no list of networks: too deep, or a number too long") from None
    found: dict[str, list[IPNetwork]] = {}
    for row in rows:
        endpoint, networks = _row(row)
        try:
            found.setdefault(endpoint, []).extend(map(parse_network, networks))
        except ValueError as error:
            raise Unreadable(1, 1, f"{endpoint}: {error}") from None
    return found


def _row(row: object) -> tuple[str, list[str]]:
    if isinstance(row, Mapping) and isinstance(row.get("endpoint"), str):
        networks = row["networks"] if "networks" in row else [row.get("network")]
        if isinstance(networks, list) and all(isinstance(each, str) for each in networks):
            return row["endpoint"], networks
    message = "not what `relay allowlist show` or `export` prints with --format json"
    raise Unreadable(1, 1, message)
