"""A small HTTP/1.1 client for one origin: what an upstream needs, and nothing else.

What is named here is all that others use: a `Pool` of connections to an `Origin` sends what
`encode` has written, once, and fills a `Response`; what keeps it from that raises `ExchangeFailed`,
one of its kinds, or `OSError`. Inside, `messages` writes requests and parses answers without I/O,
`connection` resolves, dials and makes one exchange, and `pool` keeps connections.

Of events, retries and causes it knows nothing. It does not follow redirects, unpack bodies, keep
cookies or send anything a second time.
"""

from relay.delivery.http.messages import (
    Closed,
    ExchangeFailed,
    Malformed,
    Origin,
    Response,
    TooLong,
    encode,
)
from relay.delivery.http.pool import CannotConnect, Pool

__all__ = [
    "CannotConnect",
    "Closed",
    "ExchangeFailed",
    "Malformed",
    "Origin",
    "Pool",
    "Response",
    "TooLong",
    "encode",
]
