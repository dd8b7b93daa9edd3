"""Descriptions for tests, and deliveries to judge with them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.secret import Secret
from relay.core.urls import SignedUrl
from relay.providers import EndpointOptions, Environment, Inspector
from relay.providers.inline import Description, Field, HeaderField, SignatureRule
from relay.providers.inline.message import Message
from relay.providers.inline.provider import InlineProvider

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def described(*, event_key: tuple[Field, ...] = (), **rule: Any) -> Description:
    """Return an HMAC description with some things changed."""
    usual: dict[str, Any] = {"scheme": "hmac", "source": HeaderField("X-Signature")}
    signature = SignatureRule(**usual | rule)
    return Description("test", signature, {"live": Environment()}, event_key=event_key)


def bound(description: Description, *secrets: str, **options: Any) -> Inspector:
    given = tuple(Secret(secret) for secret in secrets)
    return InlineProvider(description).bind(EndpointOptions(secrets=given, **options))


def delivery(
    headers: Mapping[str, str] | None = None,
    body: bytes = b"{}",
    target: str = "/hook?a=1",
    at: datetime = AT,
) -> Delivery:
    fields = (("Host", "pay.example.com"), *(headers or {}).items())
    peer = ip_address("192.0.2.1")
    head = RequestHead("POST", target, Headers(fields), peer, at)
    return Delivery("endpoint", head, ClientAddress(peer, Via.PEER), "", body)


def message(
    headers: Mapping[str, str] | None = None,
    body: bytes = b"{}",
    public: SignedUrl | None = None,
    target: str = "/hook?a=1",
) -> Message:
    return Message(delivery(headers, body, target), public)
