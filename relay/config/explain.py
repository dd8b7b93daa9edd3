"""What pydantic found -> sentences that say what to write instead."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from relay.config.places import Fault, shown
from relay.config.structure import Trace, fields
from relay.config.suggest import suggestion


def explain(error: ErrorDetails, found: Trace) -> Fault:
    """Return the fault that pydantic means. The sentence holds no value from the file."""
    kind = error["type"]
    if kind == "extra_forbidden":
        known = fields(found.section)
        key = str(found.place[-1])
        message = f'unknown key "{shown(key)}"; {suggestion(key, known)}'
        return Fault(found.place, message, at_key=True)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return Fault((*found.place, "kind"), _one_of(error, found))
    message = _SENTENCES[kind](error, found) if kind in _SENTENCES else error["msg"]
    if kind != "missing" and error["input"] is None:
        message = f"this key has no value; {message}, or leave the key out"
    return Fault(found.place, message)


def _context(error: ErrorDetails) -> Mapping[str, Any]:
    return error.get("ctx", {})


def _examples(found: Trace) -> list[Any]:
    slot = found.slots[-1] if found.slots else None
    at_place = slot is not None and slot.field is not None and slot.place == found.place
    return list(slot.field.examples or ()) if at_place and slot and slot.field else []


def _missing(_: ErrorDetails, found: Trace) -> str:
    examples = _examples(found)
    sample = f", such as {found.place[-1]}: {json.dumps(examples[0])}" if examples else ""
    return f"this key is needed{sample}"


def _list(_: ErrorDetails, found: Trace) -> str:
    examples = _examples(found)
    return f"write a list{f', such as {json.dumps(examples[0])}' if examples else ''}"


def _mapping(_: ErrorDetails, found: Trace) -> str:
    return f"write a mapping with some of the keys {', '.join(fields(found.section))}"


def _one_of(error: ErrorDetails, found: Trace) -> str:
    context = _context(error)
    listed = context.get("expected", context.get("expected_tags", ""))
    names = re.findall(r"'([^']*)'", listed)
    examples = _examples(found)
    if len(names) == 1 and examples:
        return f"write {' or '.join(json.dumps(example) for example in examples)}"
    word = error["input"]
    near = suggestion(word, names) if isinstance(word, str) else ""
    meant = f"; {near}" if near.startswith("did") else ""
    return f"write one of {', '.join(names)}{meant}"


_SENTENCES: dict[str, Callable[[ErrorDetails, Trace], str]] = {
    "missing": _missing,
    "value_error": lambda error, _: str(_context(error)["error"]),
    "string_type": lambda *_: "write text; a number or a word such as true needs quotes",
    "int_type": lambda *_: "write a whole number without quotes",
    "bool_type": lambda *_: "write true or false without quotes",
    "tuple_type": _list,
    "dict_type": _mapping,
    "model_type": _mapping,
    "model_attributes_type": _mapping,
    "literal_error": _one_of,
    "enum": _one_of,
    "too_short": lambda *_: "must hold at least one",
    "string_too_short": lambda *_: "must not be empty",
    "greater_than_equal": lambda error, _: f"write {_context(error)['ge']} or more",
    "less_than_equal": lambda error, _: f"write {_context(error)['le']} or less",
}
