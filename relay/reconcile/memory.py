"""Which orders have been asked about, so that a run that was cut short goes on where it was."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import orjson

from relay.clock import Clock
from relay.errors import RelayError

#: After this an order is asked about again: it may have moved on.
KEPT: Final = timedelta(days=1)


class AskedBefore:
    """The orders of one endpoint that were answered within the last day, in a file of lines."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def load(self) -> frozenset[str]:
        """Return the orders that need not be asked about. A damaged line is as good as none.

        Raises:
            RelayError: the file cannot be read.
        """
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise RelayError(f"cannot read {self._path}: {error.strerror}") from None
        since = self._clock.now() - KEPT
        found = {}
        for line in lines:
            try:
                said = orjson.loads(line)
                found[str(said["order"])] = datetime.fromisoformat(said["at"]).astimezone(UTC)
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                continue
        return frozenset(order for order, at in found.items() if at > since)

    def add(self, order: str) -> None:
        """Remember that this order was answered.

        Raises:
            RelayError: it cannot be written down.
        """
        line = orjson.dumps({"order": order, "at": self._clock.now().isoformat()})
        try:
            with self._path.open("ab") as file:
                # What was cut off in the middle of a line ends here.
                file.write((b"" if file.tell() == 0 else b"\n") + line)
        except OSError as error:
            raise RelayError(f"cannot write {self._path}: {error.strerror}") from None

    def forget(self) -> None:
        """Begin anew.

        Raises:
            RelayError: the file cannot be removed.
        """
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise RelayError(f"cannot remove {self._path}: {error.strerror}") from None
