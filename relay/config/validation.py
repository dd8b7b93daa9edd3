"""Plain data to settings: validation by pydantic, with every issue at once as a sentence.

An invalid part is replaced by a placeholder, so that the other parts can still be checked.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeGuard, Union, cast, get_args, get_origin

from pydantic import Tag, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from relay.config.settings import Settings
from relay.config.types import Section
from relay.config.upstream_settings import Upstream, UpstreamTls
from relay.config.yaml_document import (
    TOP,
    ConfigIssue,
    Location,
    nearest,
    shown,
    shown_key,
    suggestion,
)
from relay.core.secret import Secret

# ---- the models by place --------------------------------------------------------------------
# pydantic's locations contain the members of unions, which are not in the file; walking along the
# models removes them.


@dataclass(frozen=True, slots=True)
class Slot:
    """A part that can be replaced by itself: a key of a section, or a section in a list or mapping.

    field: None for a section in a list or mapping, and for a value in a mapping by name.
    """

    location: Location
    annotation: object
    field: FieldInfo | None

    @property
    def optional(self) -> bool:
        return self.field is not None and not self.field.is_required()

    def placeholder(self) -> object:
        """Return data that is valid here, made from examples."""
        return _placeholder(self.annotation, self.field)


@dataclass(frozen=True, slots=True)
class Trace:
    """A pydantic location in terms of the file.

    location: the place in the file. section: the innermost section around the place, or the one
    that belongs there. slots: from the outermost to the innermost. choices: the values or
    kinds that are taken there, where only some are.
    """

    location: Location
    section: type[Section]
    slots: tuple[Slot, ...]
    choices: tuple[str, ...] = ()


def trace(loc: Location) -> Trace:
    """Follow a pydantic location through the models."""
    annotation: object = Settings
    section: type[Section] = Settings
    location: Location = ()
    slots: list[Slot] = []
    for part in loc:
        annotation, tagged = _narrow(annotation, part)
        if tagged:
            continue
        if _is_section(annotation):
            section = annotation
            field = fields(section).get(str(part))
            location = (*location, part)
            annotation = field.annotation if field else None
            if field:
                slots.append(Slot(location, annotation, field))
        elif get_origin(annotation) in (tuple, dict):
            location = (*location, part)
            by_name = get_origin(annotation) is dict
            annotation = _item(annotation)
            # One value of several by name is no reason to leave out the others.
            if by_name or _is_section(annotation):
                slots.append(Slot(location, annotation, None))
    choices = _choices(annotation)
    annotation, _ = _narrow(annotation, None)
    return Trace(
        location, annotation if _is_section(annotation) else section, tuple(slots), choices
    )


def fields(section: type[Section]) -> dict[str, FieldInfo]:
    """Return the fields of a section by their keys in the file."""
    return {info.alias or name: info for name, info in section.model_fields.items()}


def _inner_keys(annotation: object) -> frozenset[str]:
    """Return the keys of a section, or of each section that may stand there."""
    if _is_section(annotation):
        return frozenset(fields(annotation))
    if get_origin(annotation) is Annotated:
        return _inner_keys(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return frozenset[str]().union(*map(_inner_keys, get_args(annotation)))
    return frozenset()


def _narrow(annotation: object, part: str | int | None) -> tuple[object, bool]:
    """Unwrap `Annotated` and unions: of a union, choose the member that `part` names, or the first.

    Also returns whether `part` named one.
    """
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            members = [member for member in get_args(annotation) if member is not NoneType]
            named = [member for member in members if part is not None and part in _tags(member)]
            if named:
                # A union may stand in this one, of which the next part names a member.
                return named[0], True
            annotation = members[0]
        else:
            return annotation, False


def _tags(member: object) -> tuple[str, ...]:
    metadata = getattr(member, "__metadata__", ())
    return tuple(item.tag for item in metadata if isinstance(item, Tag))


def _choices(annotation: object) -> tuple[str, ...]:
    """Return the tags of a union, the words of a `Literal` or the values of an enumeration."""
    if get_origin(annotation) is Annotated:
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        tags = tuple(tag for member in get_args(annotation) for tag in _tags(member))
        return tags or _choices(_narrow(annotation, None)[0])
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(str(member.value) for member in annotation)
    return ()


def _item(annotation: object) -> object:
    """Return the type of the items of a tuple or a dict."""
    arguments = get_args(annotation)
    return arguments[1] if get_origin(annotation) is dict else arguments[0]


def _is_section(annotation: object) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _placeholder(annotation: object, field: FieldInfo | None) -> object:
    annotation, _ = _narrow(annotation, None)
    if _is_section(annotation):
        required = {key: info for key, info in fields(annotation).items() if info.is_required()}
        return {key: _placeholder(info.annotation, info) for key, info in required.items()}
    if get_origin(annotation) is tuple and _is_section(_item(annotation)):
        return (_placeholder(_item(annotation), None),)
    if get_origin(annotation) is dict:
        return {"stand-in": _placeholder(_item(annotation), field)}
    if annotation is Secret:
        return Secret("stand-in")
    example = field.examples[0] if field and field.examples else ""
    return tuple(example) if isinstance(example, list) else example


# ---- pydantic's errors as sentences ---------------------------------------------------------

#: Keys that turn the verification of certificates off elsewhere.
_UNVERIFIED: Final = re.compile("verify|insecure|check_?hostname|self_?signed", re.IGNORECASE)


def explain(error: ErrorDetails, found: Trace) -> ConfigIssue:
    """Return the issue of an error of pydantic. Its sentence holds no value from the file."""
    kind = error["type"]
    if kind == "extra_forbidden":
        known = fields(found.section)
        key = str(found.location[-1])
        # Such as a key of `tls` that stands beside it.
        inner = [name for name, info in known.items() if key in _inner_keys(info.annotation)]
        meant = f"it belongs in {inner[0]}" if inner else suggestion(key, known)
        if found.section in (Upstream, UpstreamTls) and _UNVERIFIED.search(key):
            meant = "certificates are always verified; tls.ca names an authority of your own"
        message = f'unknown key "{shown_key(key)}"; {meant}'
        return ConfigIssue(found.location, message, at_key=True)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return ConfigIssue((*found.location, "kind"), _one_of(error, found))
    # What pydantic says itself differs from version to version, and may quote the file.
    message = _SENTENCES.get(kind, _unfit)(error, found)
    if kind != "missing" and error["input"] is None:
        slot = found.slots[-1] if found.slots else None
        needed = slot is not None and slot.location == found.location and not slot.optional
        message = f"this key has no value; {message}{'' if needed else ', or leave the key out'}"
    return ConfigIssue(found.location, message)


def _context(error: ErrorDetails) -> Mapping[str, Any]:
    return error.get("ctx", {})


def _examples(found: Trace) -> list[Any]:
    slot = found.slots[-1] if found.slots else None
    at_place = slot is not None and slot.field is not None and slot.location == found.location
    return list(slot.field.examples or ()) if at_place and slot and slot.field else []


def _unfit(_: ErrorDetails, found: Trace) -> str:
    examples = _examples(found)
    sample = f"; write it such as {json.dumps(examples[0])}" if examples else ""
    return f"this value cannot be taken here{sample}"


def _missing(_: ErrorDetails, found: Trace) -> str:
    examples = _examples(found)
    sample = f", such as {found.location[-1]}: {json.dumps(examples[0])}" if examples else ""
    return f"this key is needed{sample}"


def _list(_: ErrorDetails, found: Trace) -> str:
    examples = _examples(found)
    return f"write a list{f', such as {json.dumps(examples[0])}' if examples else ''}"


def _names(_: ErrorDetails, found: Trace) -> str:
    """Return what to write where a mapping has names of the user's own as its keys."""
    for example in _examples(found):
        for name, settings in example.items():
            if isinstance(settings, str):
                sample = f"{shown(str(found.location[-1]))}: {{{name}: {json.dumps(settings)}}}"
                return f"write names with their values, such as {sample}"
            return f"write names with their settings: {name}: {{{next(iter(settings))}: …}}"
    return "write names with their settings"


# What YAML 1.1 took for false, and other words for it.
_NO: Final = frozenset({"no", "off", "false", "none", "never", "disabled"})


def _mapping(error: ErrorDetails, found: Trace) -> str:
    keys = fields(found.section)
    known = ", ".join(keys)
    if not found.location:
        return f"write a mapping with some of the keys {known}"
    given = error["input"]
    key = found.location[-1]
    needed = [
        name for name, info in keys.items() if info.is_required() or name in found.section.USUAL
    ]
    usual = needed or [next(name for name in keys if name != "kind")]
    sample = ", ".join(f"{name}: …" for name in usual)
    sample = f"- {sample}" if isinstance(key, int) else f"{shown(key)}: {{{sample}}}"
    slot = found.slots[-1].field if found.slots else None
    # Leaving it out is to do without it, where no default takes its place.
    without_it = slot is not None and not slot.is_required() and slot.default is None
    if without_it and isinstance(given, str | bool) and str(given).lower() in _NO:
        return f"leave {key} out to do without it"
    return (
        f"write {sample}"
        if set(usual) == set(keys)
        else f"write {sample}, with some of the keys {known}"
    )


def _one_of(error: ErrorDetails, found: Trace) -> str:
    names = found.choices
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
    "dict_type": _names,
    "model_type": _mapping,
    "model_attributes_type": _mapping,
    "literal_error": _one_of,
    "enum": _one_of,
    "too_short": lambda *_: "must hold at least one",
    "string_too_short": lambda *_: "must not be empty",
    "greater_than_equal": lambda error, _: f"write {_context(error)['ge']} or more",
    "less_than_equal": lambda error, _: f"write {_context(error)['le']} or less",
}

# ---- validating -----------------------------------------------------------------------------

MAX_ISSUES = 100
# Each round finds issues that those of the rounds before had hidden.
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Validated:
    """Settings if they could be made, the issues, and the places that hold placeholders."""

    settings: Settings | None
    issues: tuple[ConfigIssue, ...]
    unsound: frozenset[Location]


def validate(data: object, base: Path) -> Validated:
    """Check data against the models. Never raises."""
    issues: list[ConfigIssue] = []
    unsound: set[Location] = set()
    for _ in range(_ROUNDS):
        try:
            settings = Settings.model_validate(data, context={"base": base})
        except ValidationError as error:
            found = [
                (explain(detail, traced), traced, detail["type"])
                for detail in error.errors()[: MAX_ISSUES + 1]
                if not _is_consequence(detail)
                for traced in (trace(detail["loc"]),)
            ]
            meant = {place for _, traced, kind in found for place in _meant(traced, kind, data)}
            issues.extend(
                issue
                for issue, traced, kind in found[:MAX_ISSUES]
                if kind != "missing" or traced.location not in meant
            )
            unsound |= meant
            if len(found) > MAX_ISSUES:
                message = f"more than {MAX_ISSUES} mistakes; the others are not shown"
                issues.append(ConfigIssue((), message, position=TOP))
                break
            if not isinstance(data, dict):
                break
            for _, traced, kind in found:
                if kind == "extra_forbidden":
                    data = without(data, traced.location)
                else:
                    data, location = _without_invalid(data, traced)
                    unsound.add(location)
        else:
            return Validated(settings, tuple(issues), frozenset(unsound))
    return Validated(None, tuple(issues), frozenset(unsound))


def _is_consequence(detail: ErrorDetails) -> bool:
    """Return whether an error only follows from another one."""
    short = detail["type"] == "too_short" and bool(detail["input"])
    return short or detail["type"] == "default_factory_not_called"


def _meant(found: Trace, kind: str, data: object) -> Iterator[Location]:
    """Yield the place of the key that an unknown one is a misspelling of, if it is not there."""
    if kind != "extra_forbidden":
        return
    *around, key = found.location
    near = nearest(str(key), fields(found.section))
    for part in around:
        data = data[part] if isinstance(data, dict | tuple) else None  # type: ignore[index]
    if near is not None and isinstance(data, dict) and near not in data:
        yield (*around, near)


def _without_invalid(data: object, found: Trace) -> tuple[object, Location]:
    slot = found.slots[-1]
    if slot.optional:
        return without(data, slot.location), slot.location
    return replaced(data, slot.location, slot.placeholder()), slot.location


def replaced(data: object, location: Location, value: object) -> object:
    """Return a copy of nested dicts and tuples with another value at one place."""
    if not location:
        return value
    first, rest = location[0], location[1:]
    if isinstance(data, dict):
        return {**data, first: replaced(data.get(first, {}), rest, value)}
    if isinstance(data, tuple) and isinstance(first, int) and first < len(data):
        return (*data[:first], replaced(data[first], rest, value), *data[first + 1 :])
    return data


def without(data: object, location: Location) -> object:
    """Return a copy of nested dicts and tuples without one key."""
    first, rest = location[0], location[1:]
    if isinstance(data, tuple) and rest:
        at = cast("int", first)
        return (*data[:at], without(data[at], rest), *data[at + 1 :])
    if not isinstance(data, dict) or first not in data:
        return data
    if not rest:
        return {key: value for key, value in data.items() if key != first}
    return {**data, first: without(data[first], rest)}
