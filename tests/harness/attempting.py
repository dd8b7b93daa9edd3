"""One attempt of an upstream's sender, and its outcome."""

from collections.abc import Callable

from relay.core.concurrency import Cancel, called_back
from relay.core.event import Lease, Outcome
from relay.delivery.sender import HttpSender, SentEvent


class Attempted(SentEvent):
    """Tells the outcome."""

    def __init__(self, lease: Lease, told: Callable[[Outcome], None]) -> None:
        super().__init__(lease)
        self._told = told

    def told(self, outcome: Outcome) -> None:
        self._told(outcome)


async def attempted(sender: HttpSender, lease: Lease) -> Outcome:
    """Return the outcome of one attempt."""

    def start(done: Callable[[Outcome], None]) -> Cancel:
        sending = Attempted(lease, done)
        sender.attempt(sending)
        return sending.drop

    return await called_back(start)
