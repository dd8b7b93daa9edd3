"""Build a signed sample message of a described sender."""

import json
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.urls import signed_url
from relay.providers import Sample, SampleOrder
from relay.providers.inline import (
    NOWHERE,
    Description,
    Field,
    HeaderField,
    HeaderFields,
    JsonField,
)
from relay.providers.inline.formats import Format
from relay.providers.inline.message import Message
from relay.providers.inline.signature import time_of
from relay.providers.inline.signed_text import Template
from relay.providers.inline.signed_times import write_time
from relay.providers.inline.signing import signed


def sample(description: Description, order: SampleOrder) -> Sample:
    """Return a message that the description's own inspector accepts.

    changes: fields of the body by their JSON pointers, the first slash left out.

    Raises:
        ValueError: it cannot be signed here, or a change cannot be made.
    """
    rule = description.signature
    time = time_of(rule)
    timestamp = "" if time is None else write_time(order.at, time.unit)
    headers = {"Content-Type": "application/json"}
    body: dict[str, Any] = {"id": str(uuid4()), "type": "sample"}
    template = Template(rule.signed) if rule.signs_text else None
    wanted: list[Field] = [*description.event_key]
    if template is not None:
        wanted += [HeaderField(n) for n in template.headers if n.lower() != "host"]
        wanted += [JsonField("/" + name) for name in template.fields]
    for field in wanted:
        _set(field, uuid4().hex, headers, body)
    if time is not None and time.source is not None:
        _set(time.source, timestamp, headers, body)
    for required in description.must:
        _put(body, required.pointer[1:].split("/"), required.values[0])
    for name, value in order.changes.items():
        _put(body, name.split("/"), value)
    filled: Sequence[bytes | None] = ()
    if template is not None:
        filled = template.fill(_message(description, order, headers, body), timestamp)
    if rule.source != NOWHERE:
        signature = Format(rule.format).write(signed(rule, order, filled), timestamp)
        source = rule.source
        if isinstance(source, HeaderFields):
            source = HeaderField(source.names[0])
        _set(source, signature, headers, body)
    return Sample(description.methods[0], "", Headers(tuple(headers.items())), _json(body))


def _message(
    description: Description, order: SampleOrder, headers: dict[str, str], body: dict[str, Any]
) -> Message:
    url = signed_url(order.url)
    peer = ip_address("0.0.0.0")  # noqa: S104 - nothing is bound to it
    fields = (("Host", urlsplit(order.url).netloc), *headers.items())
    head = RequestHead(description.methods[0], url.path_query, Headers(fields), peer, order.at)
    delivery = Delivery("", head, ClientAddress(peer, Via.PEER), "", _json(body))
    return Message(delivery, url)


def _set(field: Field, value: str, headers: dict[str, str], body: dict[str, Any]) -> None:
    match field:
        case HeaderField(name):
            headers[name] = value
        case JsonField(pointer):
            _put(body, pointer[1:].split("/"), value)
        case _:
            raise ValueError("a sample of a form or a query is not available yet")


def _put(body: dict[str, Any], steps: list[str], value: str) -> None:
    inner: Any = body
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        fresh: Any = value if following is None else [] if following == "0" else {}
        if isinstance(inner, list) and step == "0":
            if not inner or following is None:
                inner[:] = [fresh]
            inner = inner[0]
        elif isinstance(inner, dict):
            inner[step] = fresh if following is None else inner.get(step, fresh)
            inner = inner[step]
        else:
            raise ValueError(f"{'/'.join(steps)}: cannot be set")


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
