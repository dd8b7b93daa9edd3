"""Check a description, and build a provider from it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from functools import cached_property
from typing import Final

from relay.core import ids
from relay.core.errors import Refusal
from relay.core.json_pointer import Pointer, json_text
from relay.core.request import MAX_REFERENCE, Delivery, References, Verification, references
from relay.core.strict_json import JsonObject, JsonValue
from relay.core.urls import SignedUrl, signed_url
from relay.providers import (
    EndpointOptions,
    Inspector,
    ProviderInfo,
    Sample,
    SampleOrder,
    media_type,
)
from relay.providers.answers import PlainAnswers
from relay.providers.inline import (
    PUBLIC_KEY_SCHEMES,
    Description,
    HeaderField,
    JsonField,
    SignatureRule,
    replays,
)
from relay.providers.inline.ambiguity import needs_url
from relay.providers.inline.replays import Replays, can_replay
from relay.providers.inline.sample import sample
from relay.providers.inline.signature import (
    WINDOW,
    Format,
    SignatureCheck,
    signature_fields,
    time_of,
)
from relay.providers.inline.signed_text import Message, Template
from relay.providers.references import parsed_if_small
from relay.providers.required_fields import check_signed, requiring, unsigned
from relay.signatures import (
    OnSigned,
    ignore_signed,
)

# ---- checks of a description, before an endpoint is bound -----------------------------------

KeyPath = tuple[str, ...]


def problems(description: Description) -> Iterator[tuple[KeyPath, str]]:
    """Yield each mistake: the path of its key, and what to write instead."""
    rule = description.signature
    for key, message in _signature_problems(rule):
        yield ("signature", key), message
    if rule.scheme == "token" and isinstance(rule.source, HeaderField):
        for key in ("event_key", "references"):
            named = [f for f in getattr(description, key) if isinstance(f, HeaderField)]
            if rule.source.name.lower() in {field.name.lower() for field in named}:
                yield (key,), "is the token itself, which is shown nowhere; leave it out"
    for at, field in enumerate(description.references):
        if isinstance(field, JsonField) and len(field.pointer.encode()) > MAX_REFERENCE:
            longer = f"is longer than {MAX_REFERENCE} bytes; name another field"
            yield ("references", str(at)), longer
    with suppress(ValueError):
        for key, message in replays.problems(description):
            yield (key,), message
        covered = _covered_fields(rule)
        if covered is not None:
            for at, message in unsigned(description.must, covered):
                yield ("must", str(at)), message


def _covered_fields(rule: SignatureRule) -> tuple[str, ...] | None:
    """Return the only fields of the body that are signed; None under a token, or if all of it is.

    Raises:
        ValueError: what is signed is no template.
    """
    template = Template(rule.signed)
    return None if rule.scheme == "token" or template.covers_body else template.fields


def _signature_problems(rule: SignatureRule) -> Iterator[tuple[str, str]]:
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
        yield from _token_problems(rule, form)
    else:
        yield from _key_problems(rule)
        if template is not None:
            yield from _coverage_problems(rule, template)
            if form is not None:
                yield from _time_problems(rule, template, form)


#: Header fields of every delivery that reach an upstream (`relay.ingest`).
_ALWAYS_FORWARDED = ("content-type", "user-agent", "accept")


#: Header fields that say something else, and of which a value may be remembered for a while
#: (`relay.edge.fast_lane`): what clients, proxies and the protocol itself send, and names.
_GENERAL: Final = re.compile(
    "accept-.*|cache-control|channel-id|connection|content-.*|host|pragma|via|x-forwarded-.*"
    "|x-partner-id|x-real-ip"
)


def _token_problems(rule: SignatureRule, form: Format | None) -> Iterator[tuple[str, str]]:
    if isinstance(rule.source, JsonField):
        yield "from", "a token in the body would be stored and forwarded; it must be in a header"
    elif rule.source.name.lower() in _ALWAYS_FORWARDED:
        yield "from", "this header field is forwarded; a token must be in one of its own"
    elif _GENERAL.fullmatch(rule.source.name.lower()):
        yield "from", "this header field has another meaning; a token must be in one of its own"
    if rule.signed != "{body}":
        yield "signed", "a token signs nothing; leave the key out"
    if rule.time is not None:
        yield "timestamp", "a token signs no time; leave the key out"
    if form is not None and form.holds_time:
        yield "format", "a token signs no time; leave {timestamp} out"


def _key_problems(rule: SignatureRule) -> Iterator[tuple[str, str]]:
    if rule.scheme == "rsa" and rule.algorithm != "sha256":
        yield "algorithm", "RSA signatures are verified with sha256 alone; leave the key out"
    if rule.scheme == "rsa" and rule.key_encoding == "hex":
        yield "secret_encoding", "RSA keys are given in PEM or Base64; leave the key out"
    if rule.scheme == "ed25519" and rule.algorithm != "sha256":
        yield "algorithm", "Ed25519 takes no algorithm; leave the key out"


def _coverage_problems(rule: SignatureRule, template: Template) -> Iterator[tuple[str, str]]:
    if not template.covers_body and not template.fields:
        yield "signed", "covers nothing of the body; put {body}, a hash of it or {json:/path} in"
    elif not template.covers_body and signature_fields(rule).issuperset(template.fields):
        message = "covers only the signature itself or its time; name the fields that matter too"
        yield "signed", message
    if template.covers_body and isinstance(rule.source, JsonField):
        message = "a signature inside the body cannot cover all of it; name fields, as {json:/path}"
        yield "signed", message
    if rule.scheme == "digest" and not template.holds("secret"):
        yield "signed", "anybody could compute this; put {secret} where the sender puts it"
    if rule.scheme != "digest" and template.holds("secret"):
        yield "signed", "{secret} stands in what a digest hashes; leave it out"


def _time_problems(
    rule: SignatureRule, template: Template, form: Format
) -> Iterator[tuple[str, str]]:
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


# ---- the provider ---------------------------------------------------------------------------


class _InlineInspector(PlainAnswers):
    def __init__(
        self, description: Description, signature: SignatureCheck | None, public: SignedUrl | None
    ) -> None:
        self.methods = description.methods
        self._key = description.event_key
        self._single = None if description.single is None else Pointer(description.single)
        self._reads_json = reads_json(description)
        self._signature = signature
        self._public = public
        self._replays = Replays(description) if can_replay(description) else None
        self._references = _named(description.references)
        rule = description.signature
        self.signs_query = rule.scheme != "token" and Template(rule.signed).holds("path_query")
        self._signs_fields = signature is not None and bool(_covered_fields(rule))

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        message = Message(delivery, self._public)
        found = None
        if self._signature is not None:
            found = self._signature.verify(message, delivery.head.received_at, on_signed)
        if self._signs_fields:
            media_type.check_json(delivery.head.headers)
        if self._single is not None:
            message.check_single(self._single)
        said = self._said(message)
        key = self._event_key(message)
        named = self._named(message, said) if self._references else ()
        if found is None:
            return Verification(key, said, references=named)
        if self._replays is None:
            return Verification(
                key,
                said,
                signed=found.signed,
                ambiguous=found.ambiguous,
                secret=found.secret,
                references=named,
            )
        return Verification(
            key,
            said,
            replay_digest=self._replays.digest(message, found.filled),
            signed=found.signed,
            ambiguous=found.ambiguous,
            secret=found.secret,
            on_replay=self._replays.on_replay,
            references=named,
        )

    def references(self, delivery: Delivery) -> References:
        return self._named(Message(delivery, self._public), parsed_if_small(delivery))

    def _named(self, message: Message, said: object) -> References:
        """Return the references; said: the body, parsed, or anything else where it is no object."""
        found: JsonObject = {}
        for name, field in self._references:
            if isinstance(field, HeaderField):
                found[name] = message.optional(field)
            elif isinstance(said, dict):
                found[name] = json_text(field.find(said))
        return references(found, [*found])

    def _said(self, message: Message) -> JsonValue | bytes:
        # Some senders post forms or plain text: JSON is required only where fields are read.
        try:
            return message.json
        except Refusal:
            if self._reads_json:
                raise
            return message.body_digest

    def _event_key(self, message: Message) -> str:
        texts: list[str] = []
        for field in self._key:
            text = message.optional(field)
            if text is not None:
                texts.append(text)
        if not texts or len(texts) < len(self._key):
            return ids.of_digest(message.body_digest)
        return ids.spell(*texts)


class InlineProvider:
    """A provider built from a description."""

    def __init__(self, description: Description) -> None:
        """Check the description.

        Raises:
            ValueError: it holds a mistake; the message begins with the path of its key, such as
                `signature.signed: ...`.
        """
        for place, message in problems(description):
            raise ValueError(f"{'.'.join(place)}: {message}")
        self._description = description

    @cached_property
    def info(self) -> ProviderInfo:
        described = self._description
        time = time_of(described.signature)
        return ProviderInfo(
            name=described.name,
            title=f"{described.name}, described in the configuration",
            environments=described.environments,
            methods=described.methods,
            secrets=_secrets_text(described),
            signature=_signature_text(described),
            event_key=", ".join(map(_field_text, described.event_key)) or "the SHA-256 of the body",
            answers="200 OK",
            document="",
            # Nothing is built in that could become outdated.
            reviewed=date.max,
            headers=_forwarded_headers(described),
            window=None if time is None else WINDOW,
            token=described.signature.scheme == "token",
        )

    def bind(self, options: EndpointOptions) -> Inspector:
        for key in ("order_id_pattern", "partner_id", "callback"):
            if getattr(options, key) is not None:
                raise ValueError(
                    f"{key}: has no meaning for a provider described here; leave it out"
                )
        if options.merchant_id is not None:
            raise ValueError("merchant_id: write must: [{json: /merchantId, is: …}]")
        public = None if options.public_url is None else _public_url(options.public_url)
        check = None
        covered = _covered_fields(self._description.signature)
        if covered is not None:
            check_signed(options.must, covered)
        if options.secrets:
            rule = self._description.signature
            check = SignatureCheck(
                rule, options.secrets, options.window or WINDOW, url_known=public is not None
            )
            if public is None and rule.scheme != "token" and needs_url(Template(rule.signed).parts):
                raise ValueError("public_url: is signed; write the URL registered at the sender")
        inspector = _InlineInspector(self._description, check, public)
        return requiring(inspector, (*self._description.must, *options.must))

    def sample(self, order: SampleOrder) -> Sample:
        return sample(self._description, order)


def _named(fields: Sequence[HeaderField | JsonField]) -> list[tuple[str, HeaderField | Pointer]]:
    """Return fields by what they are shown as: by the last step of a pointer, where that is one's.

    Of two that end alike the second one is shown whole.
    """
    named: dict[str, HeaderField | Pointer] = {}
    for field in fields:
        if isinstance(field, HeaderField):
            named[field.name] = field
        else:
            last = field.pointer.rpartition("/")[2]
            named[field.pointer if last in named else last] = Pointer(field.pointer)
    return [*named.items()]


def reads_json(description: Description) -> bool:
    """Tell whether a body has to be JSON for this description."""
    if description.single is not None or description.must:
        return True
    rule = description.signature
    time = rule.time.source if rule.time is not None else None
    if any(isinstance(field, JsonField) for field in (rule.source, time, *description.event_key)):
        return True
    template = Template(rule.signed)
    return bool(template.fields) or template.minifies


def _public_url(url: str) -> SignedUrl:
    try:
        return signed_url(url)
    except ValueError as error:
        raise ValueError(f"public_url: {error}") from None


def _field_text(field: HeaderField | JsonField) -> str:
    return field.name if isinstance(field, HeaderField) else field.pointer


def _secrets_text(description: Description) -> str:
    rule = description.signature
    if rule.scheme in PUBLIC_KEY_SCHEMES:
        return "the sender's public keys"
    prefix = f", without {rule.strip_prefix}" if rule.strip_prefix else ""
    return f"the sender's secrets, as {rule.key_encoding}{prefix}"


def _signature_text(description: Description) -> str:
    rule = description.signature
    where = f"in {_field_text(rule.source)} as {rule.format}"
    if rule.scheme == "token":
        return f"a token {where}; nothing is signed"
    kind = {
        "hmac": f"HMAC-{rule.algorithm.upper()}",
        "digest": rule.algorithm.upper(),
        "rsa": "RSA (PKCS#1 v1.5) with SHA256",
        "ed25519": "Ed25519",
    }[rule.scheme]
    shown = rule.signed.replace("\n", "\\n")
    return f"{kind} in {rule.encoding}, {where}, of {shown}"


def _forwarded_headers(description: Description) -> tuple[str, ...]:
    """Return the sender's own header fields that are forwarded: those signed, and no token."""
    rule = description.signature
    fields = [*description.event_key, *description.distinct]
    names: list[str] = []
    if rule.scheme != "token":
        fields = [rule.source, *fields]
        if rule.time is not None and rule.time.source is not None:
            fields.append(rule.time.source)
        names = list(Template(rule.signed).headers)
    names = [field.name for field in fields if isinstance(field, HeaderField)] + names
    by_name = {name.lower(): name for name in reversed(names) if name.lower() != "host"}
    return tuple(reversed(by_name.values()))
