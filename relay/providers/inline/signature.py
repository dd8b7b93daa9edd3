"""Verify a described signature: its location, coverage and signed time."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.providers import (
    Window,
)
from relay.providers.inline import (
    Field,
    FormField,
    HeaderField,
    HeaderFields,
    JsonField,
    SignatureRule,
    Source,
    TimeRule,
)
from relay.providers.inline.ambiguity import Ambiguity
from relay.providers.inline.filled import Filled, shown
from relay.providers.inline.formats import Format, ParsedSignature, checked_count
from relay.providers.inline.message import Message
from relay.providers.inline.signed_text import Template
from relay.providers.inline.signed_times import check_window, read_time
from relay.providers.inline.verifiers import text_verifier
from relay.signatures import (
    OnSigned,
    SignedText,
    ignore_signed,
)

#: Stripe, Slack and Standard Webhooks all allow five minutes, and sign each retry anew.
WINDOW: Final = Window(past=timedelta(minutes=5), future=timedelta(minutes=5))


@dataclass(frozen=True, slots=True)
class Verified:
    """The position of the secret, and the coverage, as in `core.request.Verification`.

    filled: the parts of what is signed, where that covers the whole body; None for the secret.
    """

    secret: int
    signed: tuple[str, ...]
    ambiguous: bool
    filled: tuple[Filled, ...] = field(default=(), repr=False, compare=False)


class SignatureCheck:
    """Verifies messages of one rule with the secrets of one endpoint."""

    def __init__(
        self,
        rule: SignatureRule,
        secrets: tuple[Secret, ...],
        window: Window,
        *,
        url_known: bool = False,
    ) -> None:
        """Build the check of a rule without `problems` (`relay.providers.inline.provider`).

        url_known: the URL is configured, so that the caller does not choose it.

        Raises:
            ValueError: a secret is unusable.
        """
        self._source, self._several = _one_or_several(rule.source)
        self._format = Format(rule.format)
        self._template = Template(rule.signed, rule.source) if rule.signs_text else None
        self._time = time_of(rule)
        self._verifier = text_verifier(rule, secrets)
        self._window = window
        parts = () if self._template is None else self._template.parts
        covered = () if self._template is None else self._template.covered
        self._names = tuple(map(field_name, covered))
        self._ambiguity = Ambiguity(parts, url_known=url_known)
        hashed = () if self._template is None else self._template.hashed
        self._hashed = [
            (each, Ambiguity(each.parts, url_known=url_known))
            for each in hashed
            if len(each.parts) > 1 or each.holds("form_sorted")
        ]
        self._hashes_secret = any(each.holds("secret") for each in hashed)
        self._own_fields = signature_fields(rule)

    def verify(
        self, message: Message, now: datetime, on_signed: OnSigned = ignore_signed
    ) -> Verified:
        """Verify the signature, its time, and that it covers something of the body.

        on_signed: as in `Inspector.verify`; not called where no text is signed.

        Raises:
            Refusal: with the reason of the first check that failed.
        """
        if self._several is None:
            found = self._format.read(message.required(self._source))
        else:
            found = self._read_several(message, self._several)
        if self._template is None:
            return Verified(self._match((), found, ignore_signed), signed=(), ambiguous=False)
        timestamp = self._timestamp(message, found)
        filled = self._template.fill(message, timestamp)
        hashed = self._filled_hashes(message, timestamp) if self._hashed else ()
        if self._template.covers_body:
            self._ambiguity.check_marks(filled)
            for ambiguity, values in hashed:
                ambiguity.check_marks(values)
        secret = self._match(filled, found, on_signed)
        if self._time is not None:
            check_window(read_time(timestamp, self._time.unit), now, self._window)
        if self._template.covers_body:
            ambiguous = self._ambiguity.of_body(filled)
            for ambiguity, values in hashed:
                ambiguous = ambiguous or ambiguity.of_body(values)
            return Verified(secret, ("body",), ambiguous, filled)
        if not self._template.says_something(message, apart_from=self._own_fields):
            # The signature of one such body would be that of all of them.
            raise Refusal(Reason.FIELD_INVALID, "none of the signed fields is in the body")
        ambiguous = self._ambiguity.of_fields(filled)
        for ambiguity, values in hashed:
            ambiguous = ambiguous or ambiguity.of_fields(values)
        return Verified(secret, self._names, ambiguous)

    def _filled_hashes(
        self, message: Message, timestamp: str
    ) -> Sequence[tuple[Ambiguity, Sequence[Filled]]]:
        """Return the parts of each text that is hashed within the signed one."""
        return [(each, template.fill(message, timestamp)) for template, each in self._hashed]

    def _read_several(self, message: Message, source: HeaderFields) -> ParsedSignature:
        """Parse each of several fields; those that are not in the format are passed over.

        Raises:
            Refusal: SIGNATURE_MISSING when none is there; as the format refuses the first one when
                none is in it; SIGNATURE_MISMATCH for too many signatures.
        """
        signatures: list[str] = []
        refusal: Refusal | None = None
        for value in message.signatures(source):
            try:
                signatures += self._format.read(value).signatures
            except Refusal as refused:
                refusal = refusal or refused
        if refusal is not None and not signatures:
            raise refusal
        return ParsedSignature(checked_count(signatures))

    def verify_each(
        self, message: Message, now: datetime, on_signed: OnSigned = ignore_signed
    ) -> Verified:
        """Do as `verify` for every element that the stars of the rule's pointers stand for.

        The result is the first one's, ambiguous where one of them is.
        """
        found = [self.verify(each, now, on_signed) for each in message.elements(self._source)]
        return replace(found[0], ambiguous=any(each.ambiguous for each in found))

    def _timestamp(self, message: Message, found: ParsedSignature) -> str:
        if self._time is None or self._time.source is None:
            return found.timestamp or ""
        return message.required(self._time.source)

    def _match(
        self, filled: tuple[Filled, ...], found: ParsedSignature, on_signed: OnSigned
    ) -> int:
        """Verify every signature; return the position of the secret of the first that fits."""
        first, refusal = None, None
        for signature in found.signatures:
            if on_signed is not ignore_signed:
                text = shown(filled) if self._hashes_secret else filled
                on_signed(SignedText(text, signature))  # type: ignore[arg-type] # of bytes, then
            try:
                position = self._verifier.verify(filled, signature)
            except Refusal as refused:
                refusal = refusal or refused
            else:
                first = position if first is None else first
        if first is None:
            raise refusal or Refusal(Reason.SIGNATURE_MISMATCH)
        return first


def _one_or_several(source: Source) -> tuple[Field, HeaderFields | None]:
    return (HeaderField(""), source) if isinstance(source, HeaderFields) else (source, None)


def field_name(field: JsonField | FormField) -> str:
    """Return the name of a covered field, as `Verified.signed` has it."""
    return field.pointer[1:] if isinstance(field, JsonField) else field.name


def signature_fields(rule: SignatureRule) -> frozenset[JsonField | FormField]:
    """Return the fields of the body that hold the signature and its time.

    They are no content of the event.
    """
    sources = (rule.source, None if rule.time is None else rule.time.source)
    return frozenset(each for each in sources if isinstance(each, JsonField | FormField))


def time_of(rule: SignatureRule) -> TimeRule | None:
    """Return the rule of the signed time; in seconds where only the format holds one."""
    if rule.time is None and Format(rule.format).holds_time:
        return TimeRule(None, "s")
    return rule.time
