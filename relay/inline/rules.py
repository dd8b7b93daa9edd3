"""What a description cannot mean, found before anything is bound."""

from collections.abc import Iterator

from relay.inline import Description, HeaderField, JsonField, SignatureRule
from relay.inline.formats import Format
from relay.inline.signature import frame
from relay.inline.template import Template

Place = tuple[str, ...]


def problems(description: Description) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong: the keys that lead there, and what to write instead."""
    rule = description.signature
    for key, message in _signature(rule):
        yield ("signature", key), message
    if rule.scheme == "token" and isinstance(rule.source, HeaderField):
        names = {f.name.lower() for f in description.event_key if isinstance(f, HeaderField)}
        if rule.source.name.lower() in names:
            yield ("event_key",), "is the token itself, which is shown nowhere; leave it out"


def _signature(rule: SignatureRule) -> Iterator[tuple[str, str]]:
    template, form = None, None
    try:
        form = Format(rule.format)
    except ValueError as error:
        yield "format", str(error)
    try:
        template = Template(rule.signed)
    except ValueError as error:
        yield "signed", str(error)
    if rule.scheme == "token":
        yield from _token(rule, form)
    else:
        yield from _keys(rule)
        if template is not None:
            yield from _covered(rule, template)
            if form is not None:
                yield from _time(rule, template, form)


#: What reaches an upstream of every delivery (`relay.ingest`).
_ALWAYS_FORWARDED = ("content-type", "user-agent", "accept")


def _token(rule: SignatureRule, form: Format | None) -> Iterator[tuple[str, str]]:
    if isinstance(rule.source, JsonField):
        yield "from", "a token in the body would be stored and forwarded; it must be in a header"
    elif rule.source.name.lower() in _ALWAYS_FORWARDED:
        yield "from", "this header field is forwarded; a token must be in one of its own"
    if rule.signed != "{body}":
        yield "signed", "a token signs nothing; leave the key out"
    if rule.time is not None:
        yield "timestamp", "a token signs no time; leave the key out"
    if form is not None and form.holds_time:
        yield "format", "a token signs no time; leave {timestamp} out"


def _keys(rule: SignatureRule) -> Iterator[tuple[str, str]]:
    if rule.scheme == "rsa" and rule.algorithm != "sha256":
        yield "algorithm", "RSA signatures are verified with sha256 alone; leave the key out"
    if rule.scheme == "rsa" and rule.key_encoding == "hex":
        yield "secret_encoding", "RSA keys are given in PEM or Base64; leave the key out"
    if rule.scheme == "ed25519" and rule.algorithm != "sha256":
        yield "algorithm", "Ed25519 takes no algorithm; leave the key out"


def _covered(rule: SignatureRule, template: Template) -> Iterator[tuple[str, str]]:
    if not template.covers_body and not template.fields:
        yield "signed", "covers nothing of the body; put {body}, a hash of it or {json:/path} in"
    elif not template.covers_body and frame(rule).issuperset(template.fields):
        message = "covers only the signature itself or its time; name the fields that matter too"
        yield "signed", message
    if template.covers_body and isinstance(rule.source, JsonField):
        message = "a signature inside the body cannot cover all of it; name fields, as {json:/path}"
        yield "signed", message
    if rule.scheme == "digest" and not template.holds("secret"):
        yield "signed", "anybody could compute this; put {secret} where the sender puts it"
    if rule.scheme != "digest" and template.holds("secret"):
        yield "signed", "{secret} stands in what a digest hashes; leave it out"


def _time(rule: SignatureRule, template: Template, form: Format) -> Iterator[tuple[str, str]]:
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
        case JsonField(pointer):
            return template.covers_body or pointer[1:] in template.fields
        case None:
            return False
