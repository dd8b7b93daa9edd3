"""Whether the upstreams that endpoints and their routes name are there, and are enough."""

from collections.abc import Iterator, Sequence

from relay.config.endpoints import known_info
from relay.config.settings import Endpoint
from relay.config.yaml_document import ConfigIssue, Location, shown, suggestion


def destination_issues(
    endpoint: Endpoint, names: Sequence[str], location: Location
) -> Iterator[ConfigIssue]:
    """Yield what is wrong with where the events of an endpoint go. names: the upstreams there are.

    Those with mistakes of their own are among them.
    """
    yield from _default(endpoint, location)
    lists = [("upstreams",), *(("routes", at, "upstreams") for at in range(len(endpoint.routes)))]
    written = [endpoint.upstreams or (), *(route.upstreams for route in endpoint.routes)]
    named: list[tuple[Location, str]] = []
    if endpoint.upstream is not None:
        named.append(((*location, "upstream"), endpoint.upstream))
    for keys, several in zip(lists, written, strict=True):
        where: Location = (*location, *keys)
        named += [((*where, at), name) for at, name in enumerate(several)]
        for at, name in enumerate(several):
            if name in several[:at]:
                message = f"{shown(name)} stands there already, and gets each event once"
                yield ConfigIssue((*where, at), f"{message}; leave it out")
    for place, name in named:
        # Where there is no name at all, that is said of `upstreams`.
        if names and name not in names:
            near = suggestion(name, names)
            yield ConfigIssue(place, f'no upstream named "{shown(name)}"; {near}')
    yield from _passed_on(endpoint, location)


def _default(endpoint: Endpoint, location: Location) -> Iterator[ConfigIssue]:
    if endpoint.upstream is None and endpoint.upstreams is None:
        message = 'this key is needed, such as upstream: "billing"'
        yield ConfigIssue((*location, "upstream"), message, ((*location, "upstreams"),))
    if endpoint.upstream is not None and endpoint.upstreams is not None:
        message = "has no meaning beside upstream; write one of the two"
        yield ConfigIssue((*location, "upstreams"), message, ((*location, "upstream"),))


def _passed_on(endpoint: Endpoint, location: Location) -> Iterator[ConfigIssue]:
    """Yield what one answer cannot come from: deliveries that are passed on have one upstream."""
    if len(endpoint.default_upstreams) <= 1 and not endpoint.routes:
        return
    needs: tuple[Location, ...] = ((*location, "mode"),)
    cause = "mode: proxy answers with what one upstream said"
    if endpoint.mode != "proxy":
        info, callback = known_info(endpoint), endpoint.callback
        if info is None or (callback is not None and callback not in info.callbacks):
            return
        proxied = (shape.path for shape in info.shapes_of(callback) if shape.proxied)
        path = next(proxied, None)
        if path is None:
            return
        needs = ((*location, "provider"), (*location, "callback"))
        cause = f"{path or 'what comes here'} is answered with what one upstream said"
    if endpoint.upstreams is not None and len(endpoint.upstreams) > 1:
        message = f"must hold one: {cause}; write upstream: {shown(endpoint.upstreams[0])}"
        yield ConfigIssue((*location, "upstreams"), message, needs)
    if endpoint.routes:
        yield ConfigIssue((*location, "routes"), f"{cause}; leave routes out", needs)
