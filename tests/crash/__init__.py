"""Proofs of the promise: what was acknowledged is delivered, whatever stops, fails or lies.

Relay is killed, stopped, paused and reloaded under load; power is cut and the disk is full, damaged
or slow to sync; the clock jumps; upstreams and name servers misbehave. `promises` says what must
hold afterwards. Each has a short form for every day and a long one (`lengths`).
"""
