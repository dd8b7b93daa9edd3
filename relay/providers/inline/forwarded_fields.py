"""The sender's own header fields that are kept of its deliveries, and reach the upstream.

They are those that are signed, those that tell events apart, and those that a description lists: a
topic, say, which stands in no body. A token is never among them.
"""

from collections.abc import Iterator
from typing import Final

from relay.core.header_fields import owner_of
from relay.providers.inline import Description, Field, HeaderField, HeaderFields
from relay.providers.inline.signed_text import Template

#: Fields that may hold a token, whatever a description says.
_SECRET: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})


def forwarded_fields(description: Description) -> tuple[str, ...]:
    """Return their names, each once."""
    rule = description.signature
    fields: list[Field] = [*description.event_key, *description.distinct]
    signed: list[str] = []
    if not rule.is_token:
        if isinstance(rule.source, HeaderFields):
            fields = [*map(HeaderField, rule.source.names), *fields]
        else:
            fields = [rule.source, *fields]
        if rule.time is not None and rule.time.source is not None:
            fields.append(rule.time.source)
        signed = list(Template(rule.signed).headers) if rule.signs_text else []
    named = [field.name for field in fields if isinstance(field, HeaderField)]
    names = (*named, *signed, *description.forward)
    by_name = {name.lower(): name for name in reversed(names) if name.lower() != "host"}
    return tuple(reversed(by_name.values()))


def problems(description: Description) -> Iterator[tuple[int, str]]:
    """Yield the position of each listed field that cannot be forwarded, and why."""
    rule = description.signature
    tokens: frozenset[str] = frozenset()
    if rule.is_token and isinstance(rule.source, HeaderField):
        tokens = frozenset({rule.source.name.lower()})
    elif rule.is_token and isinstance(rule.source, HeaderFields):
        tokens = frozenset(name.lower() for name in rule.source.names)
    for at, name in enumerate(description.forward):
        if name.lower() in _SECRET | tokens:
            yield at, f"{name} may hold a token, which is forwarded nowhere; leave it out"
        elif (owner := owner_of(name)) is not None:
            yield at, f"{name} belongs to {owner.value}, and is not the sender's; leave it out"
