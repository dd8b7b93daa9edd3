"""One internal service: how it is reached, what it is sent, and when it is tried again.

`forward` makes one attempt, `outgoing` and `signing` say what it looks like; `retry` and `breaker`
decide without I/O; `attempts` puts them together for one leased event. Which events, and how many
at once, is decided in `relay.dispatch`. `passthrough` is for deliveries whose sender waits: one
attempt, no retry, no breaker.
"""
