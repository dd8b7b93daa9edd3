"""JSON values of `relay.core.strict_json` in one form, whichever parser they came from."""

import orjson

from relay.core.strict_json import JsonValue


def as_written(value: JsonValue) -> JsonValue:
    """Return the value with every number as the bytes it was written in."""
    match value:
        case dict():
            return {key: as_written(each) for key, each in value.items()}
        case list():
            return [as_written(each) for each in value]
        case bool():
            return value
        case int() | float():
            return orjson.dumps(value)
        case _:
            return value
