"""Receives payment webhooks at the network edge: checks, verifies, stores, delivers.

One delivery walks this way; everything below a line is imported by what stands above it.

    edge          bytes from the internet become a request
    ingest        use-case one: admit, verify, store, acknowledge
    clientip      who is calling          sources     may it: networks, DNS hosts
    providers     what it says            schemes     is it genuine
    spool         on disk until it is delivered
    dispatch      use-case two: claim, forward, decide, settle
    confirm       is it so: the provider's own API, before an event goes out
    upstream      one internal service: its line of attempts, its retries, its breaker

Beside the way: `admin` and `telemetry` are what the operator sees, `config`, `assembly` and
`generations` turn a file into parts, `app` starts and stops them and `reload` changes them, `cli`
and `demo` are the commands. `refusals`, `explain` and `reconcile` mend what went wrong. `model`
and `errors` hold the types that travel.
"""

__version__ = "0.1.0"
