"""What an endpoint's part is made of besides its provider: its routes, and the fields it keeps."""

from dataclasses import replace
from typing import Final

from relay.config import Endpoint
from relay.config.inline_provider import InlineProvider
from relay.core.conditions import HeaderCondition
from relay.core.request import Delivery
from relay.core.secret import Secret
from relay.ingest.admission import COMMON_HEADERS
from relay.ingest.upstream_routes import UpstreamRoute
from relay.providers import Challenges, EndpointOptions, Provider, ProviderInfo
from relay.providers.inline.problems import header_names
from relay.providers.inline.provider import InlineProvider as DescribedProvider
from relay.providers.inline.token_masks import token_mask
from relay.providers.snap.access_tokens import AccessTokens
from relay.providers.snap.provider import SnapProvider

#: Fields that may hold a token: no route makes relay keep them.
_SECRET_FIELDS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})


def upstream_routes(settings: Endpoint) -> tuple[UpstreamRoute, ...]:
    """Return the routes of an endpoint."""
    return tuple(
        UpstreamRoute(each.when.condition(), tuple(dict.fromkeys(each.upstreams)))
        for each in settings.routes
    )


def kept_headers(settings: Endpoint, info: ProviderInfo) -> tuple[str, ...]:
    """Return the provider's header fields that are kept of deliveries, and reach the upstream.

    Those are its own, and those that routes look at: so a refusal that is released takes the route
    that its delivery would have taken. A field that may hold a token is not among the latter.
    """
    if not settings.routes:
        return info.headers
    known = {name.lower() for name in (*info.headers, *COMMON_HEADERS, *token_fields(settings))}
    added: dict[str, str] = {}
    for route in upstream_routes(settings):
        if isinstance(route.when, HeaderCondition):
            added.setdefault(route.when.name.lower(), route.when.name)
    names = (name for lower, name in added.items() if lower not in known | _SECRET_FIELDS)
    return (*info.headers, *names)


def challenges(provider: Provider, options: EndpointOptions) -> Challenges | None:
    """Return the challenges of an endpoint that was bound; None where its provider has none."""
    if isinstance(provider, DescribedProvider | SnapProvider):
        return provider.challenges(options)
    return None


def token_fields(settings: Endpoint) -> tuple[str, ...]:
    """Return the header fields that hold a token by the endpoint's description."""
    if not isinstance(settings.provider, InlineProvider):
        return ()
    rule = settings.provider.description().signature
    return header_names(rule.source) if rule.is_token else ()


def token_values(settings: Endpoint, delivery: Delivery) -> list[Secret]:
    """Return what stands in a body or a query in the place of the endpoint's token."""
    if not isinstance(settings.provider, InlineProvider):
        return []
    mask = token_mask(settings.provider.description().signature)
    return [] if mask is None else mask.values(delivery)


def issuing(
    settings: Endpoint, options: EndpointOptions, tokens: AccessTokens | None
) -> EndpointOptions:
    """Return the options with the access tokens of this endpoint, where it issues any."""
    rules = options.tokens
    if tokens is None or rules is None:
        return options
    return replace(options, issued=tokens.of(settings.name, rules.client_id, rules.life))
