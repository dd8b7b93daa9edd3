"""Verify a described signature: its location, format, key and signed time."""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Final, Protocol

from relay.core.errors import Reason, Refusal
from relay.core.secret import RevealedSecrets, Secret
from relay.providers import (
    Window,
)
from relay.providers.inline import (
    PUBLIC_KEY_SCHEMES,
    Algorithm,
    Encoding,
    JsonField,
    SignatureRule,
    TimeRule,
    Unit,
)
from relay.providers.inline.ambiguity import Ambiguity
from relay.providers.inline.signed_text import Message, Template, any_field_present
from relay.signatures import (
    OnSigned,
    SignedText,
    Verifier,
    decode,
    ignore_signed,
)
from relay.signatures.public_key import Ed25519, Rsa, UnusableKey
from relay.signatures.shared_secret import Digest, Hmac, Token

# ---- keys -----------------------------------------------------------------------------------


class TextVerifier(Protocol):
    """Verifies a signed text that may hold the secret itself."""

    def verify(self, parts: Sequence[bytes | None], signature: str) -> int:
        """Return the position, from 0, of the secret that fits.

        parts: of the text, with None where the secret belongs.

        Raises:
            Refusal: SIGNATURE_MISMATCH.
        """


def text_verifier(rule: SignatureRule, secrets: Sequence[Secret]) -> TextVerifier:
    """Build the verifier of this rule.

    Raises:
        ValueError: a secret is unusable; the message begins with `secrets.` and its position.
    """
    keys = [_key(rule, position, secret) for position, secret in enumerate(secrets)]
    try:
        match rule.scheme:
            case "digest":
                return _EmbeddedSecretVerifier(rule.algorithm, keys, rule.encoding)
            case "hmac":
                return _JoinedVerifier(Hmac(rule.algorithm, keys, rule.encoding))
            case "rsa":
                return _JoinedVerifier(Rsa(keys), rule.encoding)
            case "ed25519":
                return _JoinedVerifier(Ed25519(keys, rule.encoding))
            case "token":
                return _JoinedVerifier(Token(keys))
    except UnusableKey as error:
        raise ValueError(f"secrets.{error.position}: {error}") from None


def key(rule: SignatureRule, secret: Secret) -> Secret:
    """Decode the secret to the bytes of the key.

    Raises:
        ValueError: it is not written as the rule says, or is empty.
    """
    text = secret.reveal().removeprefix(rule.strip_prefix.encode())
    if not text.strip():
        raise ValueError("is empty; give the sender's secret")
    if rule.scheme in PUBLIC_KEY_SCHEMES:
        # These read Base64 themselves.
        return Secret(b64encode(_hex(text)) if rule.key_encoding == "hex" else text)
    decoded_key = text
    if rule.key_encoding == "hex":
        decoded_key = _hex(text)
    if rule.key_encoding == "base64":
        decoded_key = _base64(text)
    if not decoded_key:
        raise ValueError("stands for no bytes at all; give the sender's secret")
    return Secret(decoded_key)


def _key(rule: SignatureRule, position: int, secret: Secret) -> Secret:
    try:
        return key(rule, secret)
    except ValueError as error:
        raise ValueError(f"secrets.{position}: {error}") from None


def _hex(text: bytes) -> bytes:
    try:
        return binascii.unhexlify(text)
    except binascii.Error:
        raise ValueError("is not hexadecimal; secret_encoding says it would be") from None


def _base64(text: bytes) -> bytes:
    # Senders and people leave the padding out.
    padded = text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)
    try:
        return b64decode(padded, validate=True)
    except binascii.Error:
        raise ValueError("is not Base64; secret_encoding says it would be") from None


class _JoinedVerifier:
    """Passes the joined text to a `Verifier`; converts hexadecimal signatures to its Base64."""

    def __init__(self, verifier: Verifier, encoding: Encoding = "base64") -> None:
        self._verifier = verifier
        self._encoding = encoding

    def verify(self, parts: Sequence[bytes | None], signature: str) -> int:
        if self._encoding == "hex":
            signature = b64encode(decode(signature, "hex")).decode("ascii")
        return self._verifier.verify(b"".join(filter(None, parts)), signature)


class _EmbeddedSecretVerifier:
    """Verifies the hash of a text that holds the secret itself."""

    def __init__(self, algorithm: Algorithm, keys: Sequence[Secret], encoding: Encoding) -> None:
        self._digest = Digest(algorithm, (Secret(b""),))
        self._keys = RevealedSecrets.of(keys)
        self._encoding = encoding

    def verify(self, parts: Sequence[bytes | None], signature: str) -> int:
        if self._encoding == "base64":
            signature = decode(signature, "base64").hex()
        fits: list[int] = []
        for position, key in enumerate(self._keys):
            try:
                text = b"".join([key if part is None else part for part in parts])
                self._digest.verify(text, signature)
            except Refusal:
                continue
            fits.append(position)
        if not fits:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no secret")
        return fits[0]


# ---- formats: a bare signature, a prefix, or a list of several ------------------------------

#: More signatures than a rotation has; each costs a verification with every secret.
MAX_SIGNATURES: Final = 16

_VERSIONED = re.compile(r"([A-Za-z0-9_-]+),\{signature\}")
_KEYED = re.compile(
    r"([A-Za-z0-9_-]+)=\{(timestamp|signature)\}([,;]) ?([A-Za-z0-9_-]+)=\{(timestamp|signature)\}"
)
_PREFIXED = re.compile(r"([^{}]*)\{signature\}")


@dataclass(frozen=True, slots=True)
class ParsedSignature:
    """The signatures in a value, and the time if it is part of the value."""

    signatures: tuple[str, ...]
    timestamp: str | None = None


class Format:
    """A parsed format.

    Raises:
        ValueError: it is none of the known ones; the message names them.
    """

    def __init__(self, text: str) -> None:
        self._prefix = self._version = self._separator = ""
        self._keys: dict[str, str] = {}
        if versioned := _VERSIONED.fullmatch(text):
            self._version = versioned[1]
        elif (keyed := _KEYED.fullmatch(text)) and keyed[2] != keyed[5] and keyed[1] != keyed[4]:
            self._separator = keyed[3]
            self._keys = {keyed[2]: keyed[1], keyed[5]: keyed[4]}
        elif prefixed := _PREFIXED.fullmatch(text):
            self._prefix = prefixed[1]
        else:
            raise ValueError(
                'write "{signature}", a prefix as in "sha256={signature}", a list with the time as'
                ' in "t={timestamp},v1={signature}", or "v1,{signature}" for entries apart by'
                " spaces"
            )

    @property
    def holds_time(self) -> bool:
        """Whether the signed time is part of the signature's value."""
        return bool(self._keys)

    def read(self, value: str) -> ParsedSignature:
        """Parse `value`; entries that are not in the format are ignored.

        Raises:
            Refusal: SIGNATURE_MISSING when there is no signature or not one time,
                SIGNATURE_MISMATCH when the prefix is another one or there are too many.
        """
        if self._keys:
            return self._read_keyed(value)
        if self._version:
            entries = [entry.partition(",") for entry in value.split(" ")]
            return ParsedSignature(
                _checked_count([text for name, _, text in entries if name == self._version])
            )
        if not value.startswith(self._prefix):
            raise Refusal(Reason.SIGNATURE_MISMATCH, f"does not begin with {self._prefix}")
        return ParsedSignature(_checked_count([value.removeprefix(self._prefix)]))

    def write(self, signature: str, timestamp: str) -> str:
        """Return the value that `read` parses."""
        if self._keys:
            values = {"signature": signature, "timestamp": timestamp}
            return self._separator.join(f"{key}={values[kind]}" for kind, key in self._keys.items())
        return f"{self._version},{signature}" if self._version else self._prefix + signature

    def _read_keyed(self, value: str) -> ParsedSignature:
        time_key, signature_key = self._keys["timestamp"], self._keys["signature"]
        times: list[str] = []
        signatures: list[str] = []
        for entry in value.split(self._separator):
            key, _, text = entry.strip(" ").partition("=")
            if key == time_key:
                times.append(text)
            elif key == signature_key:
                signatures.append(text)
        if len(times) != 1 or not times[0]:
            raise Refusal(Reason.SIGNATURE_MISSING, f"{time_key}= is not there exactly once")
        return ParsedSignature(_checked_count(signatures), times[0])


def _checked_count(signatures: list[str]) -> tuple[str, ...]:
    found = tuple(filter(None, signatures))
    if not found:
        raise Refusal(Reason.SIGNATURE_MISSING, "there is no signature of the wanted kind")
    if len(found) > MAX_SIGNATURES:
        raise Refusal(Reason.SIGNATURE_MISMATCH, f"more than {MAX_SIGNATURES} signatures")
    return found


# ---- signed times ---------------------------------------------------------------------------

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"[0-9]{1,15}", re.ASCII)
_RFC1123 = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT", re.ASCII)
_ISO8601 = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


@lru_cache(maxsize=256)
def read_time(text: str, unit: Unit) -> datetime:
    """Parse a signed time. The last ones are remembered: a sender's clock gives few at a time.

    Raises:
        Refusal: TIMESTAMP_INVALID when it is not written in this unit, or no such time exists.
    """
    try:
        return _read(text, unit)
    except (ValueError, OverflowError):
        raise Refusal(Reason.TIMESTAMP_INVALID, f"the signed time is not {unit}") from None


def write_time(at: datetime, unit: Unit) -> str:
    """Return the text that `read_time` parses."""
    if unit == "rfc1123":
        return format_datetime(at.astimezone(UTC), usegmt=True)
    if unit == "iso8601":
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(
        (at - _EPOCH) // (timedelta(seconds=1) if unit == "s" else timedelta(milliseconds=1))
    )


def check_window(signed_at: datetime, now: datetime, window: Window) -> None:
    """Check that a signed time lies within the window.

    Raises:
        Refusal: TIMESTAMP_OUTSIDE_WINDOW.
    """
    age = now - signed_at
    if window.past is not None and age > window.past:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, f"the signed time is {age} old")
    if window.future is not None and -age > window.future:
        raise Refusal(Reason.TIMESTAMP_OUTSIDE_WINDOW, f"the signed time is {-age} ahead")


def _read(text: str, unit: Unit) -> datetime:
    if unit == "rfc1123":
        found = parsedate_to_datetime(text) if _RFC1123.fullmatch(text) else None
        # Writing it again finds a wrong day of the week.
        if found is None or format_datetime(found, usegmt=True) != text:
            raise ValueError
        return found
    if unit == "iso8601":
        # A time without an offset could be anywhere within a day.
        match = _ISO8601.fullmatch(text)
        if match is None:
            raise ValueError
        fraction = (match[2] or "")[:6].ljust(6, "0")
        return datetime.fromisoformat(f"{match[1]}.{fraction}{match[3].replace('Z', '+00:00')}")
    if not _WHOLE.fullmatch(text):
        raise ValueError
    return _EPOCH + timedelta(**{"seconds" if unit == "s" else "milliseconds": int(text)})


# ---- one rule with its secrets --------------------------------------------------------------

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
    filled: tuple[bytes | None, ...] = field(default=(), repr=False, compare=False)


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
        self._source = rule.source
        self._format = Format(rule.format)
        self._template = None if rule.scheme == "token" else Template(rule.signed)
        self._time = time_of(rule)
        self._verifier = text_verifier(rule, secrets)
        self._window = window
        parts = () if self._template is None else self._template.parts
        self._ambiguity = Ambiguity(parts, url_known=url_known)
        self._own_fields = signature_fields(rule)

    def verify(
        self, message: Message, now: datetime, on_signed: OnSigned = ignore_signed
    ) -> Verified:
        """Verify the signature, its time, and that it covers something of the body.

        on_signed: as in `Inspector.verify`; not called with a token.

        Raises:
            Refusal: with the reason of the first check that failed.
        """
        found = self._format.read(message.required(self._source))
        if self._template is None:
            return Verified(self._match((), found, ignore_signed), signed=(), ambiguous=False)
        timestamp = self._timestamp(message, found)
        filled = self._template.fill(message, timestamp)
        if self._template.covers_body:
            self._ambiguity.check_marks(filled)
        secret = self._match(filled, found, on_signed)
        if self._time is not None:
            check_window(read_time(timestamp, self._time.unit), now, self._window)
        if self._template.covers_body:
            return Verified(secret, ("body",), self._ambiguity.of_body(filled), filled)
        if not any_field_present(self._template.parts, filled, apart_from=self._own_fields):
            # The signature of one such body would be that of all of them.
            raise Refusal(Reason.FIELD_INVALID, "none of the signed fields is in the body")
        return Verified(secret, self._template.fields, self._ambiguity.of_fields(filled))

    def _timestamp(self, message: Message, found: ParsedSignature) -> str:
        if self._time is None or self._time.source is None:
            return found.timestamp or ""
        return message.required(self._time.source)

    def _match(
        self, filled: tuple[bytes | None, ...], found: ParsedSignature, on_signed: OnSigned
    ) -> int:
        """Verify every signature; return the position of the secret of the first that fits."""
        first, refusal = None, None
        for signature in found.signatures:
            if on_signed is not ignore_signed:
                on_signed(SignedText(filled, signature))
            try:
                position = self._verifier.verify(filled, signature)
            except Refusal as refused:
                refusal = refusal or refused
            else:
                first = position if first is None else first
        if first is None:
            raise refusal or Refusal(Reason.SIGNATURE_MISMATCH)
        return first


def signature_fields(rule: SignatureRule) -> frozenset[str]:
    """Return the fields of the body that hold the signature and its time, as templates name them.

    They are no content of the event.
    """
    sources = (rule.source, None if rule.time is None else rule.time.source)
    return frozenset(each.pointer[1:] for each in sources if isinstance(each, JsonField))


def time_of(rule: SignatureRule) -> TimeRule | None:
    """Return the rule of the signed time; in seconds where only the format holds one."""
    if rule.time is None and Format(rule.format).holds_time:
        return TimeRule(None, "s")
    return rule.time
