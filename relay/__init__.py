"""Receives payment webhooks at the network edge: checks, verifies, stores, delivers.

One delivery walks this way; a package imports only what stands below it.

    edge          bytes from the internet become a request
    ingest        admit, verify, store or pass on, acknowledge
    allowlist     may this address send: networks, DNS hosts
    providers     what a sender says, and how it wants to be answered
    signatures    is it genuine
    spool         on disk until it is delivered
    delivery      claim, confirm, send, decide, settle

`admin`, `cli`, `explain` and `config` are what the operator uses; `app` builds the parts, runs and
exchanges them; `telemetry` counts and logs; `core` holds the types that travel.
"""

__version__ = "0.1.0"
