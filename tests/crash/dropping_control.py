"""A control, not a test: `relay` that forgets the last upstream of an event that has several.

What proves that each destination of an event gets it must find this one out. It is run as
`python dropping_control.py run -c relay.yaml`; relay itself has no such switch.
"""

from dataclasses import replace

from relay.core.request import VerifiedDelivery
from relay.ingest import admission

_verified = admission.verify_delivery


def _forgetful(*given: object, **named: object) -> VerifiedDelivery:
    delivery: VerifiedDelivery = _verified(*given, **named)  # type: ignore[arg-type]
    return replace(delivery, upstreams=delivery.upstreams[:1])


if __name__ == "__main__":
    admission.verify_delivery = _forgetful
    from relay.cli import main

    main()
