"""Finding one's way in the models by the place of a value: what is allowed there, what is wrong.

pydantic's locations name the members of unions, which are not in the file; the walk along the
models leaves them out.
"""

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, TypeGuard, Union, get_args, get_origin

from pydantic import Tag
from pydantic.fields import FieldInfo

from relay.config.places import Place
from relay.config.settings import Settings
from relay.config.types import Section
from relay.secret import Secret


@dataclass(frozen=True, slots=True)
class Slot:
    """A part that can be mended by itself: a key of a section, or a section in a list or mapping.

    field: None for a section in a list or mapping.
    """

    place: Place
    annotation: object
    field: FieldInfo | None

    @property
    def optional(self) -> bool:
        return self.field is not None and not self.field.is_required()

    def stand_in(self) -> object:
        """Return data that is valid here, made from examples."""
        return _stand_in(self.annotation, self.field)


@dataclass(frozen=True, slots=True)
class Trace:
    """A pydantic location, understood.

    place: the same in terms of the file. section: the innermost section that the place lies in,
    or that should stand there. slots: from the outermost to the innermost.
    """

    place: Place
    section: type[Section]
    slots: tuple[Slot, ...]


def trace(location: Place) -> Trace:
    """Follow a location through the models."""
    annotation: object = Settings
    section: type[Section] = Settings
    place: Place = ()
    slots: list[Slot] = []
    for part in location:
        annotation, tagged = _narrow(annotation, part)
        if tagged:
            continue
        if _is_section(annotation):
            section = annotation
            field = fields(section).get(str(part))
            place = (*place, part)
            annotation = field.annotation if field else None
            if field:
                slots.append(Slot(place, annotation, field))
        elif get_origin(annotation) in (tuple, dict):
            place = (*place, part)
            annotation = _item(annotation)
            if _is_section(annotation):
                slots.append(Slot(place, annotation, None))
    annotation, _ = _narrow(annotation, None)
    return Trace(place, annotation if _is_section(annotation) else section, tuple(slots))


def fields(section: type[Section]) -> dict[str, FieldInfo]:
    """Return the fields of a section by their keys in the file."""
    return {info.alias or name: info for name, info in section.model_fields.items()}


def _narrow(annotation: object, part: str | int | None) -> tuple[object, bool]:
    """Leave wrappings behind; choose the member of a union that `part` names, or the first."""
    tagged = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            members = [member for member in get_args(annotation) if member is not NoneType]
            named = [member for member in members if part is not None and part in _tags(member)]
            tagged = tagged or bool(named)
            annotation = (named or members)[0]
        else:
            return annotation, tagged


def _tags(member: object) -> tuple[str, ...]:
    metadata = getattr(member, "__metadata__", ())
    return tuple(item.tag for item in metadata if isinstance(item, Tag))


def _item(annotation: object) -> object:
    """Return the type of what a tuple or a dict holds."""
    arguments = get_args(annotation)
    return arguments[1] if get_origin(annotation) is dict else arguments[0]


def _is_section(annotation: object) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _stand_in(annotation: object, field: FieldInfo | None) -> object:
    annotation, _ = _narrow(annotation, None)
    if _is_section(annotation):
        required = {key: info for key, info in fields(annotation).items() if info.is_required()}
        return {key: _stand_in(info.annotation, info) for key, info in required.items()}
    if get_origin(annotation) is tuple and _is_section(_item(annotation)):
        return (_stand_in(_item(annotation), None),)
    if get_origin(annotation) is dict:
        return {"stand-in": _stand_in(_item(annotation), field)}
    if annotation is Secret:
        return Secret("stand-in")
    example = field.examples[0] if field and field.examples else ""
    return tuple(example) if isinstance(example, list) else example
