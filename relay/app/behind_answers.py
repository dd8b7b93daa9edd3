"""What is written behind the answers: proxied history, kept refusals, strangers, activity.

Also what releases refusals again, by a person's word or by itself.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from relay.core.clock import Clock
from relay.core.ids import event_ids, refusal_ids
from relay.core.request import VerifiedDelivery
from relay.core.secret import Secret
from relay.delivery.proxy import ProxiedHistory
from relay.ingest.activity import ActivityRecorder
from relay.ingest.admission import Endpoint
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.refusals import AutoReleaser, RefusalRecorder, RefusalReleaser
from relay.ingest.strangers import StrangerCounter
from relay.ingest.unknown_senders import UnknownSenders
from relay.spool import Spool
from relay.spool.refusals import RefusalLimits
from relay.spool.strangers import StrangerLimits
from relay.telemetry import Telemetry


class Runs(Protocol):
    """What runs until it is cancelled."""

    async def run(self) -> None:
        """Run.

        Raises:
            SpoolBroken: nothing can be written any more without a restart.
        """


class BehindAnswers:
    """The parts of one process that write to its spool behind the answers.

    running: those that are to be run. Call `flush` when they have ended.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        clock: Clock,
        telemetry: Telemetry,
        paths: Callable[[], EndpointPaths[Endpoint]],
        endpoints: Callable[[], Iterable[Endpoint]],
        secrets: Callable[[], Iterable[Secret]],
    ) -> None:
        """Take the parts. paths, endpoints, secrets: return those of the present configuration."""
        self.history = ProxiedHistory(spool, clock=clock, telemetry=telemetry)
        self.recorder = RefusalRecorder(
            spool.refusals,
            clock=clock,
            telemetry=telemetry,
            new_id=refusal_ids(),
            bounds=RefusalLimits(),
        )
        self.strangers = StrangerCounter(
            spool.strangers, clock=clock, telemetry=telemetry, bounds=StrangerLimits()
        )
        self.releaser = RefusalReleaser(
            spool,
            paths=paths,
            secrets=secrets,
            clock=clock,
            new_id=event_ids(),
            unrouted=telemetry.unrouted,
        )
        self.auto_releaser = AutoReleaser(
            self.releaser, endpoints=endpoints, clock=clock, telemetry=telemetry
        )
        self.activity = ActivityRecorder(spool.activity, telemetry, clock)
        self.unknown_senders = UnknownSenders(
            clock, telemetry, self._note_unknown, self.strangers.count
        )

    @property
    def running(self) -> Sequence[Runs]:
        return self.history, self.recorder, self.strangers, self.auto_releaser, self.activity

    async def flush(self) -> None:
        """Write what waits, or lose it."""
        await self.recorder.flush()
        await self.history.flush()
        await self.strangers.flush()
        await self.activity.flush()

    def _note_unknown(self, endpoint: Endpoint, event: VerifiedDelivery) -> None:
        self.auto_releaser.add(endpoint, event, self.recorder.note_unknown(endpoint, event))
