"""One request of an upstream's sender, and what comes of it."""

from collections.abc import Callable

from relay.core.concurrency import Cancel, called_back
from relay.core.event import Lease, Outcome, ProxyResponse
from relay.core.request import VerifiedDelivery
from relay.delivery.sender import Forwarding, HttpSender, SentEvent


class Attempted(SentEvent):
    """Tells the outcome. repeats: how often it was sent once more."""

    repeats = 0

    def __init__(self, lease: Lease, told: Callable[[Outcome], None]) -> None:
        super().__init__(lease)
        self._told = told

    def told(self, outcome: Outcome) -> None:
        self._told(outcome)

    def repeated(self) -> None:
        self.repeats += 1


async def attempted(sender: HttpSender, lease: Lease) -> Outcome:
    """Return the outcome of one attempt."""

    def start(done: Callable[[Outcome], None]) -> Cancel:
        sending = Attempted(lease, done)
        sender.attempt(sending)
        return sending.drop

    return await called_back(start)


class Forwarded(Forwarding):
    """Tells what to answer."""

    def __init__(
        self, delivery: VerifiedDelivery, responded: Callable[[ProxyResponse], None]
    ) -> None:
        super().__init__(delivery)
        self._responded = responded

    def responded(self, response: ProxyResponse) -> None:
        self._responded(response)


async def forwarded(sender: HttpSender, delivery: VerifiedDelivery) -> ProxyResponse:
    """Return what to answer after forwarding a delivery."""

    def start(done: Callable[[ProxyResponse], None]) -> Cancel:
        forwarding = Forwarded(delivery, done)
        sender.forward(forwarding)
        return forwarding.drop

    return await called_back(start)
