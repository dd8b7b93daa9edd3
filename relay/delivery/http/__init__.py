"""A small HTTP/1.1 client for one origin: what an upstream needs, and nothing else.

What is named here is all that others use: a `Pool` of connections to an `Origin` sends the request
of an `Exchange` once, fills its `Response` and calls back; what keeps it from that is an
`ExchangeFailed`, one of its kinds, or an `OSError`. `encode` writes a request, `client_context`
says how an origin's certificate is checked. By a `Name` and `dial` a connection is tried step by
step. Inside, `messages` writes requests and parses answers without I/O, `client_tls` knows TLS,
`connection` resolves, dials and makes one exchange, and `pool` keeps connections.

Of events, retries and causes it knows nothing. It does not follow redirects, unpack bodies, keep
cookies or send anything a second time.
"""

from relay.delivery.http.client_tls import (
    CertificateRefused,
    CertificateWanted,
    ClientContext,
    LastWords,
    NameUnknown,
    client_context,
    refusal,
)
from relay.delivery.http.connection import (
    AddressNotAllowed,
    Exchange,
    Name,
    addresses_of,
    dial,
)
from relay.delivery.http.messages import (
    BODILESS_METHODS,
    Closed,
    ExchangeFailed,
    Fields,
    Malformed,
    Origin,
    Response,
    TooLong,
    encode,
)
from relay.delivery.http.pool import CannotConnect, Pool

__all__ = [
    "BODILESS_METHODS",
    "AddressNotAllowed",
    "CannotConnect",
    "CertificateRefused",
    "CertificateWanted",
    "ClientContext",
    "Closed",
    "Exchange",
    "ExchangeFailed",
    "Fields",
    "LastWords",
    "Malformed",
    "Name",
    "NameUnknown",
    "Origin",
    "Pool",
    "Response",
    "TooLong",
    "addresses_of",
    "client_context",
    "dial",
    "encode",
    "refusal",
]
