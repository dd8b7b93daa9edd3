"""Warnings about routes: that decide by what is not signed, never match, or change nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from relay.config.conditions import HeaderIn
from relay.config.endpoints import endpoint_options, provider_of
from relay.config.inline_provider import InlineProvider
from relay.config.lint_topology import Advice
from relay.config.routes import Route
from relay.config.settings import Endpoint, Settings
from relay.config.yaml_document import Location, shown
from relay.core.conditions import Condition, HeaderCondition, JsonCondition
from relay.providers import EndpointOptions, ProviderInfo, RequiredField
from relay.providers.inline.problems import header_names, names_token
from relay.providers.inline.signed_text import Template

#: Header fields that hold tokens by definition.
TOKEN_FIELDS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})


def route_advice(settings: Settings, info: Mapping[str, ProviderInfo]) -> Iterator[Advice]:
    """Yield warnings about every route. info: of each endpoint's provider, by its name."""
    for at, endpoint in enumerate(settings.endpoints):
        known = info.get(endpoint.name)
        if known is None or not endpoint.routes:
            continue
        location: Location = ("endpoints", at, "routes")
        never = [*_never(settings, endpoint.routes, location)]
        yield from never
        dead = {each.location for each in never}
        for advice in (
            *_unsigned(endpoint, known, location),
            *_by_tokens(endpoint, location),
            *_without_effect(endpoint, location),
        ):
            # Nothing more is said of a route that never matches.
            if (*advice.location[:4], "when") not in dead:
                yield advice


# ---- fields that are not signed -------------------------------------------------------------


def _unsigned(endpoint: Endpoint, info: ProviderInfo, location: Location) -> Iterator[Advice]:
    """Yield each route by a field that a signature does not cover.

    Where nothing is signed, a token or an address vouches for the whole of a message.
    """
    if not endpoint.secrets or info.token:
        return
    headers = _signed_headers(endpoint)
    for at, route in enumerate(endpoint.routes):
        condition = route.when.condition()
        if isinstance(condition, HeaderCondition):
            if condition.name.lower() in _tokens(endpoint):
                continue
            key, named = "header", condition.name
            signed = named.lower() in headers
        else:
            key, named = "json", condition.pointer
            signed = _signs(endpoint, info, named)
        if not signed:
            message = (
                f"{named} is not signed: who has one signed message can send it elsewhere with"
                " another value; choose by a signed field, or let no upstream rely on it"
            )
            yield Advice((*location, at, "when", key), "route-unsigned", message)


def _by_tokens(endpoint: Endpoint, location: Location) -> Iterator[Advice]:
    """Yield each route by a field that may hold a token, which is kept nowhere."""
    for at, route in enumerate(endpoint.routes):
        condition = route.when.condition()
        if isinstance(condition, HeaderCondition) and condition.name.lower() in _tokens(endpoint):
            message = (
                "may hold the sender's token, which is kept nowhere: a refusal that is released"
                " takes another route; choose by another field"
            )
            yield Advice((*location, at, "when", "header"), "route-token", message)
        elif isinstance(condition, JsonCondition) and _is_token(endpoint, condition.pointer):
            message = (
                "is the sender's token, which is masked before a route is chosen: nothing matches;"
                " choose by another field"
            )
            yield Advice((*location, at, "when", "json"), "route-token", message)


def _is_token(endpoint: Endpoint, pointer: str) -> bool:
    """Return whether a token stands in this field of the body."""
    if not isinstance(endpoint.provider, InlineProvider):
        return False
    return names_token(endpoint.provider.description().signature, RequiredField(pointer, ()))


def _tokens(endpoint: Endpoint) -> frozenset[str]:
    """Return the names, in lower case, of the header fields that may hold a token."""
    if isinstance(endpoint.provider, InlineProvider):
        rule = endpoint.provider.description().signature
        if rule.is_token:
            return TOKEN_FIELDS | {name.lower() for name in header_names(rule.source)}
    return TOKEN_FIELDS


def _signed_headers(endpoint: Endpoint) -> frozenset[str]:
    """Return the names, in lower case, of the header fields that are signed."""
    if not isinstance(endpoint.provider, InlineProvider):
        return frozenset()
    rule = endpoint.provider.description().signature
    names = Template(rule.signed).headers if rule.signs_text else ()
    return frozenset(name.lower() for name in names)


def _signs(endpoint: Endpoint, info: ProviderInfo, pointer: str) -> bool:
    """Return whether the provider would take this field for one of `must`, which are signed."""
    required = (RequiredField(pointer, ("any",)),)
    url = endpoint_options(endpoint, info).public_url
    try:
        provider_of(endpoint).bind(
            EndpointOptions(secrets=endpoint.secrets, public_url=url, must=required)
        )
    except ValueError:
        return False
    return True


# ---- routes that never match ----------------------------------------------------------------


def _never(settings: Settings, routes: Sequence[Route], location: Location) -> Iterator[Advice]:
    """Yield what another route takes before, and what no message can hold."""
    taken: dict[tuple[str, str], Location] = {}
    for at, route in enumerate(routes):
        condition = route.when.condition()
        where: Location = (*location, at, "when")
        field = _field(condition)
        earlier = {each: taken.get((field, each)) for each in condition.values}
        if all(earlier.values()):
            places = dict.fromkeys(_place(settings, each) for each in earlier.values() if each)
            message = f"never matches: {_taken(condition, condition.values, places)}"
            yield Advice(where, "route-never", message)
        else:
            yield from _partly(settings, condition, earlier, where)
        yield from _impossible(route, condition, where)
        for each in condition.values:
            taken.setdefault((field, each), where)


def _partly(
    settings: Settings,
    condition: Condition,
    earlier: Mapping[str, Location | None],
    where: Location,
) -> Iterator[Advice]:
    """Yield each value of a list that never comes this far."""
    for number, value in enumerate(condition.values):
        first = earlier[value]
        if first is not None:
            message = f"never matches: {_taken(condition, (value,), (_place(settings, first),))}"
            yield Advice((*where, "in", number), "route-never", message)
        elif value in condition.values[:number]:
            message = f"{shown(value)} stands there already; write it once"
            yield Advice((*where, "in", number), "route-never", message)


def _taken(condition: Condition, values: Sequence[str], places: Iterable[str]) -> str:
    named = condition.name if isinstance(condition, HeaderCondition) else condition.pointer
    listed, before = " or ".join(map(shown, values)), " and ".join(places)
    return f"{named} that is {listed} is taken before, by the route at {before}; leave it out"


def _impossible(route: Route, condition: Condition, where: Location) -> Iterator[Advice]:
    if isinstance(condition, HeaderCondition):
        for number, value in enumerate(condition.values):
            if value != value.strip():
                message = "never matches: a header field has no blanks around its value"
                at = ("in", number) if isinstance(route.when, HeaderIn) else ("is",)
                yield Advice((*where, *at), "route-never", message)
    elif "*" in condition.pointer.split("/"):
        message = (
            "* is a key of that name here, and not each element; write the number of an element,"
            " such as /0"
        )
        yield Advice((*where, "json"), "route-never", message)


def _field(condition: Condition) -> str:
    """Return what the condition looks at; names of header fields have no case."""
    if isinstance(condition, HeaderCondition):
        return f"header {condition.name.lower()}"
    return f"json {condition.pointer}"


def _place(settings: Settings, location: Location) -> str:
    return "{}:{}".format(*settings.source.position(location))


# ---- routes that change nothing -------------------------------------------------------------


def _without_effect(endpoint: Endpoint, location: Location) -> Iterator[Advice]:
    """Yield each route without which every event would go to the same upstreams."""
    default = set(endpoint.default_upstreams)
    for at, route in enumerate(endpoint.routes):
        if set(route.upstreams) != default:
            continue
        others = endpoint.routes[at + 1 :]
        if all(set(each.upstreams) == default or _apart(route, each) for each in others):
            message = (
                "changes nothing: such events go there without it; leave it out, or name others"
            )
            yield Advice((*location, at, "upstreams"), "route-without-effect", message)


def _apart(one: Route, other: Route) -> bool:
    """Return whether no message is for both: one field, and no value in common."""
    first, second = one.when.condition(), other.when.condition()
    return _field(first) == _field(second) and set(first.values).isdisjoint(second.values)
