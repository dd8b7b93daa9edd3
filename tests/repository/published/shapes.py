"""The shape of a JSON document: names and types, without values."""

from typing import Any, Final

_NULL_OR: Final = "null or"


def shape(value: Any) -> Any:
    """Return a document with the types in place of the values.

    The elements of a list are told as one, which has the fields of all of them.
    """
    if isinstance(value, dict):
        return {name: shape(each) for name, each in sorted(value.items())}
    if isinstance(value, list):
        together: Any = "nothing"
        for each in value:
            together = _merged(together, shape(each))
        return [] if not value else [together]
    names = {bool: "bool", int: "number", float: "number", str: "text", type(None): "null"}
    return names[type(value)]


def _merged(one: Any, other: Any) -> Any:
    """Return what fits both shapes."""
    if "nothing" in (one, other) or one == other:
        return other if one == "nothing" else one
    if _is_optional(one) or _is_optional(other):
        return {_NULL_OR: _merged(_without_null(one), _without_null(other))}
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            name: _merged(one.get(name, "nothing"), other.get(name, "nothing"))
            for name in sorted(one.keys() | other.keys())
        }
    if isinstance(one, list) and isinstance(other, list):
        return one if len(one) >= len(other) else other
    for document, optional in ((one, other), (other, one)):
        if optional == "null" and not isinstance(document, str):
            return {_NULL_OR: document}
    return " or ".join(sorted({*str(one).split(" or "), *str(other).split(" or ")}))


def _is_optional(found: Any) -> bool:
    return isinstance(found, dict) and found.keys() == {_NULL_OR}


def _without_null(found: Any) -> Any:
    if found == "null":
        return "nothing"
    return found[_NULL_OR] if _is_optional(found) else found
