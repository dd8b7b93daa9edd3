"""Build a signed sample message of a described sender."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit
from uuid import uuid4

from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.urls import appended, signed_url
from relay.providers import Sample, SampleOrder
from relay.providers.inline import (
    NOWHERE,
    Description,
    Field,
    HeaderField,
    HeaderFields,
    JsonField,
    QueryField,
    SignatureRule,
)
from relay.providers.inline.bodies import reads_form, takes_list
from relay.providers.inline.draft import Draft, draft
from relay.providers.inline.filled import Filled
from relay.providers.inline.formats import Format
from relay.providers.inline.message import Message
from relay.providers.inline.signature import time_of
from relay.providers.inline.signed_text import Template
from relay.providers.inline.signed_times import write_time
from relay.providers.inline.signing import signed


def sample(description: Description, order: SampleOrder) -> Sample:
    """Return a message that the description's own inspector accepts.

    It is the description's sample where there is one. changes: fields of a form by their names, of
    JSON by their pointers, the first slash left out.

    Raises:
        ValueError: it cannot be signed here, or a change cannot be made.
    """
    rule = description.signature
    time = time_of(rule)
    timestamp = "" if time is None else write_time(order.at, time.unit)
    template = Template(rule.signed, rule.source) if rule.signs_text else None
    made = draft(
        description.sample,
        order.at,
        form=reads_form(description),
        listed=takes_list(description),
    )
    for field in _wanted(description, template):
        if not made.has(field):
            made.put(field, uuid4().hex)
    if time is not None and time.source is not None:
        made.put(time.source, timestamp)
    for required in description.must:
        made.put(JsonField(required.pointer), required.values[0])
    for name, value in order.changes.items():
        made.put_in_body(name, value)
    if rule.source != NOWHERE:
        if rule.signs_text:
            # What is signed leaves out a signature in the body: its place has to be there.
            made.put(_place(rule), "")
        signature = _signature(rule, order, _message(description, order, made))
        if not isinstance(_place(rule), HeaderField):
            # Elsewhere than in a header field it is text, and no Latin-1.
            signature = signature.encode("latin-1").decode(errors="replace")
        made.put(_place(rule), signature)
    fields = Headers(made.fields())
    return Sample(description.methods[0], made.suffix, fields, made.content())


def _signature(rule: SignatureRule, order: SampleOrder, message: Message) -> str:
    if rule.scheme == "jwt":
        # As in `relay.providers.inline.provider`.
        from relay.providers.inline.json_web_tokens import signed_token  # noqa: PLC0415

        token = signed_token(rule, order.secret, order.at, message.body, message.body_digest)
        value = Format(rule.format).write(token, "")
        in_authorization = rule.source == HeaderField("Authorization")
        return f"Bearer {value}" if in_authorization and value == token else value
    time = time_of(rule)
    timestamp = "" if time is None else write_time(order.at, time.unit)
    filled: Sequence[Filled] = ()
    if rule.signs_text:
        filled = Template(rule.signed, rule.source).fill(message, timestamp)
    return Format(rule.format).write(signed(rule, order, filled), timestamp)


def _wanted(description: Description, template: Template | None) -> Iterator[Field]:
    """Yield the fields that tell events apart, and those that are signed and have to be there."""
    yield from description.event_key
    if template is not None:
        yield from (HeaderField(name) for name in template.headers if name.lower() != "host")
        yield from map(QueryField, template.parameters)
        if description.sample is None:
            yield from template.covered


def _place(rule: SignatureRule) -> Field:
    """Return where the signature is put: into the first of several header fields."""
    source = rule.source
    return HeaderField(source.names[0]) if isinstance(source, HeaderFields) else source


def _message(description: Description, order: SampleOrder, made: Draft) -> Message:
    url = signed_url(order.url)
    peer = ip_address("0.0.0.0")  # noqa: S104 - nothing is bound to it
    fields = (("Host", urlsplit(order.url).netloc), *made.fields())
    target = appended(url.path_query, made.suffix)
    head = RequestHead(description.methods[0], target, Headers(fields), peer, order.at)
    delivery = Delivery("", head, ClientAddress(peer, Via.PEER), "", made.content())
    return Message(delivery, url, takes_list=True)
