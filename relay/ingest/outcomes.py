"""What came of storing an event, where that is more than a new event: told, and answered."""

from typing import Final

from relay.core.errors import Reason
from relay.core.request import IngestResult, Verdict, VerifiedDelivery
from relay.ingest.admission import Admission
from relay.spool import Conflict, Duplicate, PutResult
from relay.telemetry import Telemetry

#: The result of what is stored, whatever else is told of it.
ACCEPTED: Final = IngestResult(Verdict.ACCEPTED)
_DUPLICATE: Final = IngestResult(Verdict.DUPLICATE)
_CONFLICT: Final = IngestResult(Verdict.CONFLICT, Reason.EVENT_CONFLICT)


def goes_nowhere(event: VerifiedDelivery) -> bool:
    """Return whether its route leads to no upstream. A message for a test is delivered nowhere."""
    return not (event.upstreams or event.verification.test)


def note_unrouted(admission: Admission, event: VerifiedDelivery, telemetry: Telemetry) -> None:
    """Count a new event that goes nowhere, and say so in its log line."""
    if goes_nowhere(event):
        admission.unrouted = True
        telemetry.unrouted(event.delivery.endpoint)


def outcome_of(
    admission: Admission, event: VerifiedDelivery, stored: PutResult, telemetry: Telemetry
) -> IngestResult:
    """Count and log what came of storing an event; return the result to answer."""
    endpoint = event.delivery.endpoint
    match stored:
        case Duplicate(revived=revived):
            admission.revived = revived
            if revived:
                telemetry.revived(endpoint)
            return _DUPLICATE
        case Conflict():
            telemetry.conflicted(endpoint)
            return _CONFLICT
    if stored.conflicts_with is not None:
        telemetry.conflicted(endpoint)
    if stored.repeats is not None:
        telemetry.repeated(endpoint)
    hold = event.verification.hold
    # What goes nowhere is held nowhere.
    if hold is not None and not event.confirm and event.upstreams:
        telemetry.held(endpoint, stored.id, hold)
    return ACCEPTED
