"""One request as it goes over the wire. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}

# Methods that are sent without a Content-Length when there is no body (RFC 9110, 8.6).
_USUALLY_BODILESS = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an upstream listens.

    host: as the resolver is asked for it.
    name: as certificates spell it, which do without the dot that ends a name in DNS.
    authority: what `Host` says, the port only where it is not the usual one.
    prefix: the part of its URLs that names it, which no request target holds.
    """

    host: str
    name: str
    port: int
    tls: bool
    authority: str
    prefix: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the origin of an http or https URL.

        Raises:
            ValueError: it has no host or no such port.
        """
        parts = urlsplit(url)
        usual = _DEFAULT_PORTS.get(parts.scheme)
        if usual is None or not parts.hostname:
            raise ValueError("an origin is http:// or https:// and a host")
        port = parts.port or usual
        place = parts.netloc.rpartition("@")[2]
        name = place[: place.index("]") + 1] if "[" in place else place.partition(":")[0]
        name = name.removesuffix(".")
        return cls(
            host=parts.hostname,
            name=parts.hostname.removesuffix("."),
            port=port,
            tls=parts.scheme == "https",
            authority=name if port == usual else f"{name}:{port}",
            prefix=url[: len(parts.scheme) + len("://") + len(parts.netloc)],
        )

    def target(self, url: str) -> str:
        """Return the request target for a URL of this origin, character by character.

        Raises:
            ValueError: the URL is another origin's.
        """
        rest = url.removeprefix(self.prefix)
        if rest == url or rest[:1] not in {"", "/", "?"}:
            raise ValueError("this URL does not belong to this origin")
        return rest if rest[:1] == "/" else "/" + rest


def encode(
    method: str, target: str, authority: str, fields: Iterable[tuple[str, str]], body: bytes
) -> bytes:
    """Return a whole request. Fields go out in this order, between Host and Content-Length.

    fields: Latin-1 text, which is sent as the bytes that it stands for.

    Raises:
        ValueError: something would end its line early, or is not Latin-1. Nothing is to be sent.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {authority}"]
    lines += [f"{name}: {value}" for name, value in fields]
    if body or method not in _USUALLY_BODILESS:
        lines.append(f"Content-Length: {len(body)}")
    # One look at the whole: every line break in it has to be one of ours.
    text = "\r\n".join(lines)
    ours = len(lines) - 1
    if "\0" in text or text.count("\r") != ours or text.count("\n") != ours:
        raise ValueError("a line of this request holds a line break or a zero byte")
    if lines[0].count(" ") != 2:  # noqa: PLR2004 - method, target and version
        raise ValueError("a method or a request target holds a blank")
    return text.encode("latin-1") + b"\r\n\r\n" + body
