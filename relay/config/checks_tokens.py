"""Mistakes around a sender's token that stands in the body or in the URL."""

from collections.abc import Iterator

from relay.config.inline_provider import InlineProvider
from relay.config.settings import Endpoint
from relay.config.yaml_document import ConfigIssue, Location
from relay.providers.inline import QueryField


def token_issues(endpoint: Endpoint, location: Location) -> Iterator[ConfigIssue]:
    """Yield what would let a token in the query go further."""
    if not isinstance(endpoint.provider, InlineProvider):
        return
    rule = endpoint.provider.description().signature
    if rule.is_token and isinstance(rule.source, QueryField) and endpoint.query != "drop":
        message = (
            f"the token of {endpoint.provider.name} stands in the URL, in {rule.source.name};"
            " write query: drop, so that no upstream gets it"
        )
        yield ConfigIssue((*location, "query"), message, ((*location, "provider"),))
