"""What kind of body a description reads, and the Content-Type that it needs."""

from collections.abc import Callable, Iterator

from relay.core.json_pointer import Pointer
from relay.core.request import Headers
from relay.providers import media_type
from relay.providers.inline import Description, FormField, JsonField, QueryField
from relay.providers.inline.signed_text import Template


def reads_json(description: Description) -> bool:
    """Tell whether a body has to be JSON for this description."""
    if description.single is not None or description.must:
        return True
    needed = (*_proofs(description), *description.event_key)
    return (
        any(isinstance(field, JsonField) for field in needed) or _template(description).reads_json
    )


def reads_form(description: Description) -> bool:
    """Tell whether a body has to be a form for this description."""
    needed = (*_proofs(description), *description.event_key)
    return (
        any(isinstance(field, FormField) for field in needed) or _template(description).reads_form
    )


def reads_query(description: Description) -> bool:
    """Tell whether a message cannot be verified again, or named, without its query.

    A token in it does not count: it is kept nowhere.
    """
    rule = description.signature
    named = (*description.event_key, *description.references)
    needed = named if rule.is_token else (*_proofs(description), *named)
    if any(isinstance(field, QueryField) for field in needed):
        return True
    return rule.signs_text and _template(description).signs_query


def takes_list(description: Description) -> bool:
    """Tell whether a body may be a list of JSON: a pointer of the description goes into one."""
    fields = (*_proofs(description), *description.event_key, *description.references)
    pointers = [field.pointer for field in fields if isinstance(field, JsonField)]
    pointers += [f"/{name}" for name in _template(description).fields]
    pointers += [each.pointer for each in description.must]
    return any(Pointer(each).into_list for each in pointers)


def type_check(description: Description) -> Callable[[Headers], None] | None:
    """Return the check of the Content-Type where a signature covers what a body is parsed to.

    None where it covers bytes, or nothing: then the upstream reads what it likes.
    """
    if not description.signature.signs_text:
        return None
    template = _template(description)
    if template.reads_form or any(isinstance(each, FormField) for each in _proofs(description)):
        return media_type.check_form
    if template.holds("json_sorted") or (template.fields and not template.covers_body):
        return media_type.check_json
    return None


def _proofs(description: Description) -> Iterator[object]:
    rule = description.signature
    yield rule.source
    if rule.time is not None:
        yield rule.time.source


def _template(description: Description) -> Template:
    return Template(description.signature.signed)
