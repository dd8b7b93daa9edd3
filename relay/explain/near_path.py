"""Which endpoint a path was meant for that no endpoint has: what proxies do to paths, undone."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from relay.core.errors import Refusal
from relay.core.request import RequestHead
from relay.ingest.admission import Endpoint
from relay.ingest.endpoint_paths import EndpointPaths

_NEAREST: Final = "an endpoint has the path {path}; paths are compared as they are"


def near_path(endpoints: Sequence[Endpoint], head: RequestHead) -> str | None:
    """Return a hint at the endpoint that a request was meant for, or None when none is near."""
    paths = EndpointPaths(endpoints)

    def taken_by(path: str) -> Endpoint | None:
        try:
            return paths.find(replace(head, target=path)).endpoint
        except Refusal:
            return None

    if not head.path.startswith("/"):
        return None
    return _mended(head.path, endpoints, taken_by) or _alike(head.path, endpoints)


def _mended(
    path: str, endpoints: Sequence[Endpoint], taken_by: Callable[[str], Endpoint | None]
) -> str | None:
    for other, how in _spellings(path):
        if other != path and (found := taken_by(other)) is not None:
            if found.path == other:
                return f"{_NEAREST.format(path=other)} ({how})"
            return f"the endpoint {found.name} takes {other}: {how}"
    parts = path.split("/")
    for number in range(2, len(parts)):
        if (found := taken_by("/" + "/".join(parts[number:]))) is not None:
            added = "/".join(parts[:number])
            return f"the endpoint {found.name} takes it without {added}, which is added on the way"
    for endpoint in endpoints:
        own = endpoint.path.rstrip("/").split("/")
        for number in range(2, len(own) + 1):
            stripped = "/".join(own[:number])
            if taken_by(stripped + path) is endpoint:
                return (
                    f"the endpoint {endpoint.name} takes it behind {stripped}, which something on"
                    " the way strips"
                )
    return None


def _spellings(path: str) -> Iterator[tuple[str, str]]:
    """Yield other spellings of a path, and what is wrong with this one."""
    single = path
    while "//" in single:
        single = single.replace("//", "/")
    yield single, "a slash is doubled on the way"
    yield path.rstrip("/"), "it has one slash too many at its end"
    yield path + "/", "its last slash is lost"
    yield path.lower(), "its letters are another case"
    decoded = unquote(path)
    if decoded.isascii() and decoded.isprintable():
        yield decoded, "it is percent-encoded on the way"


def _alike(path: str, endpoints: Sequence[Endpoint]) -> str | None:
    paths = [endpoint.path for endpoint in endpoints]
    near = difflib.get_close_matches(path, paths, n=1)
    return _NEAREST.format(path=near[0]) if near else None
