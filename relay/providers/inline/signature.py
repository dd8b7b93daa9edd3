"""A rule with its secrets: whether a message is signed as it says."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from relay.errors import Reason, Refusal
from relay.inline import JsonField, SignatureRule, TimeRule, shift, times
from relay.inline.formats import Format, Found
from relay.inline.keys import check
from relay.inline.message import Message
from relay.inline.template import Template, says_something
from relay.providers import Window
from relay.schemes import witness
from relay.secret import Secret

#: Stripe, Slack and Standard Webhooks all allow five minutes, and sign each retry anew.
WINDOW: Final = Window(past=timedelta(minutes=5), future=timedelta(minutes=5))


@dataclass(frozen=True, slots=True)
class Verified:
    """Which secret fitted, and what the signature covers; as in `relay.model.Evidence`."""

    secret: int
    signed: tuple[str, ...]
    ambiguous: bool


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
        """Take a rule that `relay.inline.rules` finds nothing wrong with.

        url_known: the configuration says the URL, so that nobody else chooses it.

        Raises:
            ValueError: a secret is unusable.
        """
        self._source = rule.source
        self._format = Format(rule.format)
        self._template = None if rule.scheme == "token" else Template(rule.signed)
        self._time = time_of(rule)
        self._check = check(rule, secrets)
        self._window = window
        self._url_known = url_known
        self._frame = frame(rule)

    def verify(self, message: Message, now: datetime) -> Verified:
        """Return what was verified.

        Raises:
            Refusal: with the reason of the first check that failed.
        """
        found = self._format.read(message.required(self._source))
        if self._template is None:
            return Verified(self._match((), found), signed=(), ambiguous=False)
        timestamp = self._timestamp(message, found)
        parts, filled = self._template.parts, self._template.fill(message, timestamp)
        if self._template.covers_body:
            shift.check_marks(parts, filled, url_known=self._url_known)
        secret = self._match(filled, found)
        if self._time is not None:
            times.check(times.read(timestamp, self._time.unit), now, self._window)
        if self._template.covers_body:
            ambiguous = shift.body_ambiguous(parts, filled, url_known=self._url_known)
            return Verified(secret, ("body",), ambiguous)
        if not says_something(parts, filled, apart_from=self._frame):
            # The signature of one such body would be that of all of them.
            raise Refusal(Reason.FIELD_INVALID, "none of the signed fields is in the body")
        ambiguous = shift.fields_ambiguous(parts, filled, url_known=self._url_known)
        return Verified(secret, self._template.fields, ambiguous)

    def _timestamp(self, message: Message, found: Found) -> str:
        if self._time is None or self._time.source is None:
            return found.timestamp or ""
        return message.required(self._time.source)

    def _match(self, filled: tuple[bytes | None, ...], found: Found) -> int:
        """Try every signature, and return the secret of the first that fits."""
        fits: list[int] = []
        refused: list[Refusal] = []
        for signature in found.signatures:
            if self._template is not None:
                witness.saw(filled, signature)
            try:
                fits.append(self._check.verify(filled, signature))
            except Refusal as refusal:
                refused.append(refusal)
        if not fits:
            raise refused[0]
        return fits[0]


def frame(rule: SignatureRule) -> frozenset[str]:
    """Return the fields of the body that hold the signature and its time, as templates name them.

    They say when and by whom, and nothing about the event.
    """
    sources = (rule.source, None if rule.time is None else rule.time.source)
    return frozenset(each.pointer[1:] for each in sources if isinstance(each, JsonField))


def time_of(rule: SignatureRule) -> TimeRule | None:
    """Return how the signed time is to be read; seconds, where only the format speaks of it."""
    if rule.time is None and Format(rule.format).holds_time:
        return TimeRule(None, "s")
    return rule.time
