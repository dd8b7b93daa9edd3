"""A stand-in, not a test: `relay` that is soon back at an upstream that has healed.

What proves a day of an upstream's troubles in a minute cannot wait for pauses of a minute. It is
run as `python short_pauses.py run -c relay.yaml`; relay itself has no such switch.
"""

from dataclasses import replace
from datetime import timedelta

from relay.delivery import circuit_breaker

if __name__ == "__main__":
    circuit_breaker.UPSTREAM_BREAKER = replace(  # type: ignore[misc]
        circuit_breaker.UPSTREAM_BREAKER, first_pause=0.2, longest_pause=1.0
    )
    # Behind the change: it takes the name from there.
    from relay.delivery import worker

    # Of upstreams with a `timeout` of five seconds: what a killed relay had in hand is free soon.
    worker.LEASE_MARGIN = timedelta(seconds=6 - 5 * worker.PREFETCH)
    from relay.cli import main

    main()
