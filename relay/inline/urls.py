"""The parts of a URL that senders sign."""

from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


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

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.fragment:
        raise ValueError(
            "write the URL registered at the sender, such as https://pay.example.com/x"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.port not in {None, _DEFAULT_PORTS[parts.scheme]}:
        host = f"{host}:{parts.port}"
    path = parts.path or "/"
    return SignedUrl(url, host, path, f"{path}?{parts.query}" if parts.query else path)
