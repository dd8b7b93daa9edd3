"""A small HTTP/1.1 client for one origin: what an upstream needs, and nothing else.

`request` writes a request down and `response` reads an answer, both without I/O; `dial` finds the
way to a host, `connection` is one connection, `pool` keeps them. Of events, retries and causes it
knows nothing, and it does not follow, unpack, remember or send anything a second time.
"""
