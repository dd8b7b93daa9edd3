"""The mistakes of what is signed: whether it covers enough, and whether the time is in it."""

from collections.abc import Iterator

from relay.providers.inline import (
    FormField,
    HeaderField,
    JsonField,
    QueryField,
    SignatureRule,
)
from relay.providers.inline.formats import Format
from relay.providers.inline.placeholders import AS_IT_CAME
from relay.providers.inline.signature import signature_fields
from relay.providers.inline.signed_text import Template


def coverage_problems(rule: SignatureRule, template: Template) -> Iterator[tuple[str, str]]:
    """Yield each mistake of what is signed: its key, and what to write instead."""
    covered = template.covered
    if not template.covers_body and not covered:
        wanted = "{body}, a hash of it, {json:/path} or {form:NAME}"
        yield "signed", f"covers nothing of the body; put {wanted} in"
    elif not template.covers_body and signature_fields(rule).issuperset(covered):
        message = "covers only the signature itself or its time; name the fields that matter too"
        yield "signed", message
    if rule.scheme == "digest" and not template.holds("secret"):
        yield "signed", "anybody could compute this; put {secret} where the sender puts it"
    if rule.scheme != "digest" and template.holds("secret"):
        yield "signed", "{secret} stands in what a digest hashes; leave it out"
    yield from _source_problems(rule, template)


def _source_problems(rule: SignatureRule, template: Template) -> Iterator[tuple[str, str]]:
    source = rule.source
    if isinstance(source, JsonField | FormField) and any(map(template.holds, AS_IT_CAME)):
        message = "a signature inside the body cannot cover all of it; name fields, as {json:/path}"
        without = "{form_sorted}"
        if isinstance(source, JsonField):
            without = f"{{json_sorted}} or {{body_without:{source.pointer}}}"
        yield "signed", f"{message}, or write {without}"
    for name in template.left_out:
        if source != JsonField(f"/{name}"):
            message = f"nothing would cover /{name}; only the signature itself is left out of"
            yield "signed", f"{message} {{body_without:…}}, where from: {{json: …}} names it"
    if template.reads_form and (template.reads_json or isinstance(source, JsonField)):
        yield "signed", "a body is JSON or a form, and not both; leave the ones or the others out"
    if template.reads_json and isinstance(source, FormField):
        yield "from", "a body is JSON or a form, and signed reads JSON; write {json: /path}"


def time_problems(
    rule: SignatureRule, template: Template, form: Format
) -> Iterator[tuple[str, str]]:
    """Yield each mistake of the signed time: its key, and what to write instead."""
    source = rule.time.source if rule.time is not None else None
    if rule.time is not None and source is None and not form.holds_time:
        message = "say where the time stands: from: {header: NAME}, or {timestamp} in format"
        yield "timestamp", message
    elif source is not None and form.holds_time:
        yield "timestamp", "the time stands in format already; leave from out"
    elif rule.time is None and not form.holds_time:
        if template.holds("timestamp"):
            yield "signed", "{timestamp} needs the key timestamp, which says where the time stands"
    elif not _time_is_covered(rule, template):
        message = "the time is not signed, and anybody could renew it; put {timestamp} into signed"
        yield ("signed" if rule.time is None else "timestamp"), message


def _time_is_covered(rule: SignatureRule, template: Template) -> bool:
    if template.holds("timestamp"):
        return True
    match rule.time.source if rule.time is not None else None:
        case HeaderField(name):
            return name.lower() in {each.lower() for each in template.headers}
        case QueryField(name):
            return name in template.parameters
        case JsonField() | FormField() as source:
            return template.covers_body or source in template.covered
        case _:
            return False
