"""Warnings about values that are redacted in a body, and shown beside it all the same."""

from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Address

import orjson

from relay.config.endpoints import endpoint_options, provider_of
from relay.config.inline_provider import InlineProvider
from relay.config.lint_topology import Advice
from relay.config.settings import Endpoint, Settings
from relay.core.json_pointer import Pointer
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.providers.inline import JsonField

_MARK = "redacted"


def privacy_advice(settings: Settings) -> Iterator[Advice]:
    """Yield each pointer of `redact` whose value is a part of an event key, or a reference."""
    for at, endpoint in enumerate(settings.endpoints):
        for number, pointer in enumerate(endpoint.redact):
            if (what := _shown_as(endpoint, pointer)) is not None:
                message = (
                    f"is {what}, which is shown in lists and searched by: it is masked in the"
                    " body alone; choose another one, or leave this one out"
                )
                location = ("endpoints", at, "redact", number)
                yield Advice(location, "redacted-and-shown", message)


def _shown_as(endpoint: Endpoint, pointer: str) -> str | None:
    """Return as what a value is shown besides; None where it is not."""
    if isinstance(endpoint.provider, InlineProvider):
        described = endpoint.provider.description()
        if any(
            isinstance(each, JsonField) and each.pointer == pointer for each in described.event_key
        ):
            return "a part of the event key"
    return "a reference" if _is_reference(endpoint, pointer) else None


def _is_reference(endpoint: Endpoint, pointer: str) -> bool:
    """Return whether the provider takes a value that stands there for a reference."""
    body: object = _MARK
    for step in reversed(Pointer(pointer).steps):
        body = [body] if step in {"*", "0"} else {step: body}
    address = IPv4Address("127.0.0.1")
    head = RequestHead(
        "POST", endpoint.path, Headers(()), address, datetime(2026, 1, 1, tzinfo=UTC)
    )
    client = ClientAddress(address, Via.PEER)
    delivery = Delivery(endpoint.name, head, client, "", orjson.dumps(body))
    provider = provider_of(endpoint)
    inspector = provider.bind(endpoint_options(endpoint, provider.info))
    return any(text == _MARK for _, text in inspector.references(delivery))
