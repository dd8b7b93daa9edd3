"""URLs: default ports, the authority that leaves them out, how they are shown, and signed ones."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_plus, urlsplit

#: By scheme, in lower case; the schemes there are.
DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})


def authority(host: str, port: int | None, scheme: str) -> str:
    """Return the host, with the port behind it where that is not the default of the scheme.

    host: an IPv6 address stands in brackets.
    """
    return host if port in {None, DEFAULT_PORTS[scheme]} else f"{host}:{port}"


def is_https(url: str) -> bool:
    """Return whether a URL is one of TLS; a scheme is the same in capital letters."""
    return url.lower().startswith("https:")


def without_query(url: str) -> str:
    """Return a URL with a mark in the place of its query: people put keys and tokens there."""
    path, mark, _ = url.partition("?")
    return f"{path}?…" if mark else path


def appended(url: str, suffix: str) -> str:
    """Return a URL with a suffix behind its path; the query of a suffix stands before its own."""
    path, mark, query = url.partition("?")
    if mark and "?" in suffix:
        mark = "&"
    return f"{path}{suffix}{mark}{query}"


def query_values(url: str) -> list[str]:
    """Return the values of a URL's query, as they are written and decoded, and the query itself."""
    query = url.partition("?")[2]
    written = [query, *(each.partition("=")[2] for each in re.split("[&;]", query))]
    return list(filter(None, dict.fromkeys((*written, *map(unquote_plus, written)))))


# ---- the URL that a sender signed -----------------------------------------------------------

# No user, no fragment, and nothing that a parser would drop or encode.
_URL = re.compile(r"(?i:https?)://[A-Za-z0-9._:\[\]-]+(?P<rest>(?:[/?][!-\"$-~]*)?)", re.ASCII)
_WRITE_URL = "write the URL registered at the sender, such as https://pay.example.com/x"


@dataclass(frozen=True, slots=True)
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
