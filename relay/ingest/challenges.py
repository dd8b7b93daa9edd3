"""A challenge on its way in: answered where an event would be verified."""

from relay.core.errors import Reason, Refusal
from relay.core.request import Delivery, Verdict
from relay.ingest.admission import Admission, Endpoint


def answer_challenge(admission: Admission, delivery: Delivery) -> bool:
    """Give a challenge its answer; return whether the delivery is one.

    No digest of its body is told: little may be in it besides a secret.

    Raises:
        Refusal: as `relay.providers.Challenges.answer`; and how its unknown address is refused: no
            challenge lets a sender prove itself.
    """
    assert admission.match is not None  # noqa: S101 - it was admitted
    challenges = admission.match.endpoint.challenges
    assert challenges is not None  # noqa: S101 - else nobody asks
    if admission.unknown is not None and challenges.find(delivery) is not None:
        raise admission.unknown
    digest, admission.body_sha256 = admission.body_sha256, None
    answered = challenges.answer(delivery)
    if answered is None:
        admission.body_sha256 = digest
        return False
    admission.ack, admission.verdict = answered.ack, Verdict.CHALLENGED
    admission.secret = answered.secret
    return True


def check_event(endpoint: Endpoint, delivery: Delivery) -> None:
    """Check that a delivery is none of the challenges of its endpoint.

    Raises:
        Refusal: UNKNOWN_ENDPOINT.
    """
    number = None if endpoint.challenges is None else endpoint.challenges.find(delivery)
    if number is not None:
        detail = f"it is challenge.{number} now, which is answered at once and stored nowhere"
        raise Refusal(Reason.UNKNOWN_ENDPOINT, detail)
