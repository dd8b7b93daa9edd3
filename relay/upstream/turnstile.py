"""Few at once: what begins together would hold up everybody who waits for the event loop."""

import asyncio
from collections.abc import Callable
from typing import Final

AT_ONCE: Final = 4


class Turnstile:
    """Lets so many through in each turn of the event loop, whoever they are.

    Who is turned away is called in one of the next turns, in order, and tries again.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._left = at_once
        # A dictionary keeps the order, and each but once.
        self._turned_away: dict[Callable[[], None], None] = {}

    def enter(self, again: Callable[[], None]) -> bool:
        """Tell whether the caller may begin something now; if not, `again` is called later."""
        if not self._left:
            self._turned_away[again] = None
            return False
        if self._left == self._at_once:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._left -= 1
        return True

    def _next_turn(self) -> None:
        self._left = self._at_once
        while self._turned_away and self._left:
            again = next(iter(self._turned_away))
            del self._turned_away[again]
            again()
