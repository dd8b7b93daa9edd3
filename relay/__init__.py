"""Receives payment webhooks at the network edge: checks, verifies, stores, delivers.

    bytes in > edge > ingest > spool > delivery > your service

A package imports only what stands below it; two in one paragraph do not know each other.

    cli           the `relay` command: one module for each verb or family of verbs

    explain       why a captured request is taken or refused

    app           one process: constructs the parts, runs, reloads and stops them

    admin         the private listener: health, metrics, API, operator pages
    edge          the public listeners: bytes become requests, answers become bytes

    config        the configuration file: read, checked, warned about
    ingest        one delivery in: admit, verify, store or pass on, acknowledge
    delivery      one event out: claim, confirm, send, decide, settle

    providers     what each provider sends, and how it wants to be answered

    allowlist     may this address send: networks and DNS hosts
    signatures    is it genuine: public keys and shared secrets
    spool         the durable store between ingest and delivery

    telemetry     what is counted and logged: one method for each decision

    core          the types that travel, and small tools
"""

__version__ = "0.1.0"
