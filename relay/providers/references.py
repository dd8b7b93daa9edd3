"""References of deliveries that are refused: read from bodies that nobody has verified."""

from collections.abc import Mapping, Sequence
from typing import Final

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.request import Delivery, References, references
from relay.core.strict_json import JsonValue

#: The largest body of a refused delivery that is parsed for its references.
_MAX_BODY: Final = 64 * 1024


class FieldsAsReferences:
    """The references of an inspector where they are fields of the body. names: of the fields."""

    names: Sequence[str] = ()

    def references(self, delivery: Delivery) -> References:
        return references(parsed_if_small(delivery), self.names)


def parsed_if_small(delivery: Delivery) -> Mapping[str, JsonValue]:
    """Return the object in the body of a refused delivery; an empty one if it is none, or large."""
    found = json_if_small(delivery)
    return found if isinstance(found, dict) else {}


def json_if_small(delivery: Delivery) -> JsonValue:
    """Return what the body of a refused delivery says; None if it is no JSON, or large."""
    if len(delivery.body) > _MAX_BODY:
        return None
    try:
        return strict_json.parse(delivery.body, delivery.json_limits)
    except Refusal:
        return None
