"""Split the URL that a sender signed into parts: the configured one, or the received one."""

import re
from urllib.parse import urlsplit

from relay.core.errors import Reason, Refusal
from relay.core.request import RequestHead, frozen
from relay.core.urls import authority

# No user, no fragment, and nothing that a parser would drop or encode.
_URL = re.compile(r"(?i:https?)://[A-Za-z0-9._:\[\]-]+(?P<rest>(?:[/?][!-\"$-~]*)?)", re.ASCII)
_WRITE_URL = "write the URL registered at the sender, such as https://pay.example.com/x"


@frozen
class SignedUrl:
    """A URL and its parts, undecoded. `host` has a port when it is not the usual one.

    whole: empty when only the parts are known.
    """

    whole: str
    host: str
    path: str
    path_query: str


def signed_url(url: str) -> SignedUrl:
    """Return the parts of an absolute http or https URL.

    The host is in lower case; the path and the query are as they are written, with a slash in
    front: .NET's `Authority` and `PathAndQuery`.

    Raises:
        ValueError: it is none, or holds a user, a fragment or anything but visible ASCII.
    """
    try:
        parts, found = urlsplit(url), _URL.fullmatch(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(_WRITE_URL) from None
    if found is None or host is None:
        raise ValueError(_WRITE_URL)
    name = f"[{host}]" if ":" in host else host
    rest = found["rest"] if found["rest"].startswith("/") else "/" + found["rest"]
    return SignedUrl(url, authority(name, port, parts.scheme), rest.partition("?")[0], rest)


def received_url(head: RequestHead) -> SignedUrl:
    """Return the parts of the URL of a received request, without its scheme.

    Raises:
        Refusal: SIGNATURE_MISMATCH when there is no single Host.
    """
    hosts = head.headers.values("Host")
    if len(hosts) != 1:
        raise Refusal(Reason.SIGNATURE_MISMATCH, "Host is not there exactly once")
    target = head.target
    return SignedUrl("", hosts[0], target.partition("?")[0], target)
