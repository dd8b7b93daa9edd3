"""A stand-in, not a test: `relay` whose leases last one second longer than one attempt.

What proves that a lease runs out need not wait for so long. It is run as `python short_leases.py
run -c relay.yaml`; relay itself has no such switch.
"""

from datetime import timedelta

from relay.delivery import worker

if __name__ == "__main__":
    # Of upstreams with a `timeout` of three seconds.
    worker.LEASE_MARGIN = timedelta(seconds=4 - 3 * worker.PREFETCH)
    from relay.cli import main

    main()
