"""A small HTTP/1.1 client for one origin: what an upstream needs, and nothing else.

`messages` writes requests and reads answers, without I/O; `connection` resolves, dials and makes
one exchange; `pool` keeps connections. Of events, retries and causes it knows nothing, and it does
not follow, unpack, remember or send anything a second time.
"""
