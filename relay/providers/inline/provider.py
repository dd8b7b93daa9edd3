"""Build a provider from a description."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from relay.core import ids
from relay.core.errors import Refusal
from relay.core.json_pointer import Pointer, json_text
from relay.core.request import Delivery, References, Verification, references
from relay.core.secret import Secret
from relay.core.strict_json import JsonObject, JsonValue
from relay.core.urls import SignedUrl, signed_url
from relay.providers import (
    EndpointOptions,
    Inspector,
    ProviderInfo,
    Sample,
    SampleOrder,
)
from relay.providers.answers import PlainAnswers
from relay.providers.inline import (
    PUBLIC_KEY_SCHEMES,
    About,
    Description,
    Field,
    HeaderFields,
    JsonField,
    JwtRule,
    SignatureRule,
    Source,
)
from relay.providers.inline.ambiguity import needs_url
from relay.providers.inline.bodies import reads_json, reads_query, takes_list, type_check
from relay.providers.inline.challenge_problems import may_sign
from relay.providers.inline.challenge_rules import HEAD, told
from relay.providers.inline.challenges import Challenges
from relay.providers.inline.forwarded_fields import forwarded_fields
from relay.providers.inline.message import Message, has_stars
from relay.providers.inline.problems import covered_fields, names_token, problems
from relay.providers.inline.replays import Replays, can_replay
from relay.providers.inline.sample import sample
from relay.providers.inline.signature import WINDOW, SignatureCheck, Verified, time_of
from relay.providers.inline.signed_text import Template
from relay.providers.inline.token_masks import TokenMask, is_in_body, token_mask
from relay.providers.inline.verifiers import key as signing_key
from relay.providers.media_type import check_form
from relay.providers.references import json_if_small
from relay.providers.required_fields import check_signed, requiring
from relay.signatures import (
    OnSigned,
    ignore_signed,
)

if TYPE_CHECKING:
    from relay.providers.inline.json_web_tokens import JwtCheck


class _InlineInspector(PlainAnswers):
    def __init__(
        self,
        description: Description,
        signature: "SignatureCheck | JwtCheck | None",
        public: SignedUrl | None,
    ) -> None:
        self.methods = description.every_method
        self._key = description.event_key
        self._single = None if description.single is None else Pointer(description.single)
        self._reads_json = reads_json(description)
        self._signature = signature
        self._public = public
        self._replays = Replays(description) if can_replay(description) else None
        self._references = _named(description.references)
        rule = description.signature
        self._token_mask = token_mask(rule)
        self._is_each = has_stars(rule.source)
        self.signs_query = reads_query(description)
        self._check_type = None if signature is None else type_check(description)
        self._needs_form = self._check_type is check_form
        self._takes_list = takes_list(description)

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        message = Message(delivery, self._public, takes_list=self._takes_list)
        found = None
        if self._needs_form:
            # What is no form has none of the fields, and would only be known as not signed.
            check_form(delivery.head.headers)
        if self._signature is not None:
            check = self._signature.verify_each if self._is_each else self._signature.verify
            found = check(message, delivery.head.received_at, on_signed)
        if self._check_type is not None and not self._needs_form:
            self._check_type(delivery.head.headers)
        if self._single is not None:
            message.check_single(self._single)
        if self._token_mask is not None:
            return self._verified_token(self._token_mask, message, found)
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

    def _verified_token(
        self, mask: TokenMask, message: Message, found: Verified | None
    ) -> Verification:
        """Return what is established of a message with its token masked, which is all that is."""
        message, kept, redacted = mask.masked(message)
        said = self._said(message)
        return Verification(
            self._event_key(message),
            said,
            secret=None if found is None else found.secret,
            references=self._named(message, said),
            redacted=redacted,
            kept=kept,
        )

    def references(self, delivery: Delivery) -> References:
        return self._named(
            Message(delivery, self._public, takes_list=self._takes_list), json_if_small(delivery)
        )

    def _named(self, message: Message, said: object) -> References:
        """Return the references; said: the body, parsed, or anything else where it is no object."""
        found: JsonObject = {}
        for name, field in self._references:
            if not isinstance(field, Pointer):
                # Nothing is refused for want of a reference.
                with suppress(Refusal):
                    found[name] = message.optional(field)
            elif isinstance(said, dict | list):
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
            raise ValueError(f"{'.'.join(map(str, place))}: {message}")
        self._description = description

    @cached_property
    def info(self) -> ProviderInfo:
        described = self._description
        timed = _is_timed(described.signature)
        about = described.about or About(f"{described.name}, described in the configuration")
        return ProviderInfo(
            name=described.name,
            title=about.title,
            environments=described.environments,
            methods=described.every_method,
            secrets=_secrets_text(described),
            signature=_signature_text(described),
            event_key=", ".join(map(_field_text, described.event_key)) or "the SHA-256 of the body",
            answers="200 OK",
            document=about.documents[0] if about.documents else "",
            # What was never compared with anything cannot become outdated.
            reviewed=about.reviewed or date.max,
            headers=forwarded_fields(described),
            window=WINDOW if timed else None,
            token=described.signature.is_token,
            documents=about.documents[1:],
            traps=about.traps,
            vector=about.vector,
            challenges=tuple(map(told, described.challenges)),
            token_in_body=is_in_body(described.signature),
            gzip=described.gzip,
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
        covered = covered_fields(self._description.signature)
        if covered is not None:
            check_signed(options.must, covered)
        for at, each in enumerate(options.must):
            if names_token(self._description.signature, each):
                raise ValueError(f"must.{at}: is the token itself; leave it out")
        if options.secrets:
            rule = self._description.signature
            check = _check(rule, options, url_known=public is not None)
            if public is None and rule.signs_text and needs_url(Template(rule.signed).parts):
                raise ValueError("public_url: is signed; write the URL registered at the sender")
        required = (*self._description.must, *options.must)
        # What holds no JSON has none of the fields.
        inspector = _InlineInspector(replace(self._description, must=required), check, public)
        return requiring(inspector, required)

    def challenges(self, options: EndpointOptions) -> Challenges | None:
        """Return the challenges of one endpoint that was bound; None where the sender has none."""
        described = self._description
        rules = described.challenges
        if "HEAD" in described.methods:
            rules = (*rules, HEAD)
        if not rules:
            return None
        rule, public = described.signature, None
        if options.public_url is not None:
            public = _public_url(options.public_url)
        check, signing = None, list[Secret]()
        if options.secrets:
            check = _check(rule, options, url_known=public is not None)
            if may_sign(rule):
                signing = [signing_key(rule, secret) for secret in options.secrets]
        return Challenges(
            rules,
            methods=described.methods,
            signature=check,
            public=public,
            keys=signing,
            takes_list=takes_list(described),
        )

    def sample(self, order: SampleOrder) -> Sample:
        return sample(self._description, order)


def _check(
    rule: SignatureRule, options: EndpointOptions, *, url_known: bool
) -> "SignatureCheck | JwtCheck":
    window = options.window or WINDOW
    if rule.scheme == "jwt":
        # The library is for senders of tokens alone, and would slow down the start of all others.
        from relay.providers.inline.json_web_tokens import JwtCheck  # noqa: PLC0415

        return JwtCheck(rule, options.secrets, window)
    return SignatureCheck(rule, options.secrets, window, url_known=url_known)


def _is_timed(rule: SignatureRule) -> bool:
    """Tell whether the window of an endpoint decides about a message."""
    if rule.scheme == "jwt" and rule.jwt is not None:
        return not rule.jwt.expires and not rule.jwt.detached
    return time_of(rule) is not None


def _named(fields: Sequence[Field]) -> list[tuple[str, Field | Pointer]]:
    """Return fields by what they are shown as: by the last step of a pointer, where that is one's.

    Of two that end alike the second one is shown whole.
    """
    named: dict[str, Field | Pointer] = {}
    for field in fields:
        if not isinstance(field, JsonField):
            named[field.name] = field
        else:
            last = field.pointer.rpartition("/")[2]
            named[field.pointer if last in named else last] = Pointer(field.pointer)
    return [*named.items()]


def _public_url(url: str) -> SignedUrl:
    try:
        return signed_url(url)
    except ValueError as error:
        raise ValueError(f"public_url: {error}") from None


def _field_text(field: Source) -> str:
    match field:
        case JsonField(pointer):
            return pointer
        case HeaderFields(names):
            return " or ".join(names)
        case _:
            return field.name


def _secrets_text(description: Description) -> str:
    rule = description.signature
    if rule.scheme == "none":
        return "none"
    if rule.scheme == "basic":
        return 'pairs of name and password, as "user:password"'
    if rule.scheme in PUBLIC_KEY_SCHEMES:
        return "the sender's public keys"
    if rule.scheme == "jwt":
        return "the sender's public keys, JSON Web Keys or shared secrets"
    prefix = f", without {rule.strip_prefix}" if rule.strip_prefix else ""
    return f"the sender's secrets, as {rule.key_encoding}{prefix}"


def _signature_text(description: Description) -> str:
    rule = description.signature
    where = f"in {_field_text(rule.source)} as {rule.format}"
    if rule.scheme == "none":
        return "none; the address is all that is checked"
    if rule.scheme == "token":
        return f"a token {where}; nothing is signed"
    if rule.scheme == "jwt" and rule.jwt is not None:
        return _jwt_text(rule, rule.jwt)
    if rule.scheme == "basic":
        return f"a token (name and password) in {_field_text(rule.source)}; nothing is signed"
    kind = {
        "hmac": f"HMAC-{rule.algorithm.upper()}",
        "digest": rule.algorithm.upper(),
        "rsa": f"RSA (PKCS#1 v1.5) with {rule.algorithm.upper()}",
        "ecdsa": f"ECDSA with {rule.algorithm.upper()}",
        "ed25519": "Ed25519",
    }[rule.scheme]
    shown = rule.signed.replace("\n", "\\n")
    return f"{kind} in {rule.encoding}, {where}, of {shown}"


def _jwt_text(rule: SignatureRule, own: JwtRule) -> str:
    where, named = _field_text(rule.source), ", ".join(own.algorithms)
    if own.detached:
        return f"a detached JWS ({named}) in {where}, of {{body}}"
    if own.body_sha256 is not None:
        return f"a JWT ({named}) in {where}, with the SHA-256 of {{body}} as {{{own.body_sha256}}}"
    return f"a token (JWT by {named}) in {where}; nothing of the body is signed"
