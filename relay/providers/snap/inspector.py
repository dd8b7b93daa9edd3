"""Verify BI-SNAP messages.

The signature covers the method, the path, the body and X-TIMESTAMP, and where it is symmetric the
access token. It covers neither X-EXTERNAL-ID, which tells one message from the next, nor
X-PARTNER-ID.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from relay.core import ids, strict_json
from relay.core.errors import Reason, Refusal
from relay.core.request import Delivery, Headers, OnConflict, References, Verification, references
from relay.core.strict_json import minify
from relay.providers import IssuedTokens, Window
from relay.providers.references import parsed_if_small
from relay.providers.snap import (
    AUTHORIZATION,
    PARTNER,
    SIGNATURE,
    TIMESTAMP,
    TOKENS,
    Dialect,
)
from relay.providers.snap.answers import Answers
from relay.providers.snap.contents import (
    ACCOUNT_NUMBER,
    KEYS,
    REFERENCES,
    check_age,
    external_id,
    is_initial,
    linked_account,
    merchants,
    missing,
    parse_time,
    replay_digest,
    subject_of,
    trimmed,
)
from relay.signatures import OnSigned, SignedText, Verifier, ignore_signed

_SIGNED = ("body",)
_BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class Checks:
    """What is checked of messages besides their form.

    verifier: None where unsigned messages are accepted.
    prefix: the path of the public URL, where another one arrives here.
    issued: the access tokens that may be signed with; None where signatures are asymmetric.
    """

    verifier: Verifier | None
    window: Window
    prefix: str | None = None
    partner_id: str | None = None
    merchant_id: str | None = None
    issued: IssuedTokens | None = None


class SnapInspector:
    """An inspector of one dialect."""

    signs_query = True

    def __init__(self, dialect: Dialect, checks: Checks) -> None:
        answers = Answers(dialect)
        self.answer = answers.answer
        self.proxied_answer = answers.proxied_answer
        self._services = dialect.services
        self._token_path = dialect.token_path
        self._verifier = checks.verifier
        self._prefix = checks.prefix
        self._window = checks.window
        self._partner_id = checks.partner_id
        self._merchant_id = checks.merchant_id
        self._symmetric = dialect.symmetric
        self._issued = checks.issued

    def verify(self, delivery: Delivery, on_signed: OnSigned = ignore_signed) -> Verification:
        headers = delivery.head.headers
        if delivery.remainder == self._token_path:
            # What asks for a token is answered at once, and is no message.
            raise Refusal(Reason.UNKNOWN_ENDPOINT, "no access tokens are issued here")
        signed_at = headers.single(KEYS[TIMESTAMP]) or missing(TIMESTAMP, Reason.SIGNATURE_MISSING)
        if self._partner_id is not None:
            self._check_partner(self._partner_id, headers)
        secret, day = self._verify_signature(delivery, signed_at, on_signed)
        message = strict_json.parse_object(delivery.body, delivery.json_limits)
        if self._merchant_id is not None and self._merchant_id not in merchants(message):
            raise Refusal(Reason.FIELD_FOREIGN, "the merchant that it names is not merchant_id")
        content = strict_json.content_digest(message)
        # Nothing says that the services count their ids together.
        service = self._services.get(delivery.remainder, "00")
        # Of most services it is quicker than to ask for what they have.
        tokens = TOKENS[service] if service in TOKENS else ()  # noqa: SIM401
        subject = linked_account(message) if tokens else subject_of(message)
        return Verification(
            key=ids.spell(service, external_id(headers), day),
            said=content,
            # An account is linked again in the words of the time before.
            replay_digest=replay_digest(service, None if tokens else subject, content, signed_at),
            signed=_SIGNED if secret is not None else (),
            secret=secret,
            subject=subject,
            is_initial=is_initial(message),
            # One id on one day means one message: the sender is told when it does not.
            on_conflict=OnConflict.REFUSE,
            tokens=tokens,
            named=(trimmed(message) if ACCOUNT_NUMBER in message else message, REFERENCES),
        )

    def references(self, delivery: Delivery) -> References:
        return references(trimmed(parsed_if_small(delivery)), REFERENCES)

    @staticmethod
    def _check_partner(partner_id: str, headers: Headers) -> None:
        found = headers.single(KEYS[PARTNER]) or missing(PARTNER, Reason.SIGNATURE_MISSING)
        if found != partner_id:
            raise Refusal(Reason.SIGNATURE_MISMATCH, f"{PARTNER} is not partner_id")

    def _verify_signature(
        self, delivery: Delivery, signed_at: str, on_signed: OnSigned
    ) -> tuple[int | None, str]:
        """Return the position of the key, None when unsigned, and the day of the signed time."""
        if self._verifier is None:
            return None, parse_time(signed_at)[1]
        headers = delivery.head.headers
        signature = headers.single(KEYS[SIGNATURE]) or missing(SIGNATURE, Reason.SIGNATURE_MISSING)
        token = _bearer(headers) if self._symmetric else ""
        # Reading the time costs nothing, a signature does.
        at, day = parse_time(signed_at)
        if token:
            self._check_token(token, delivery)
        refusal = None
        for path, digest in self._candidates(delivery):
            text = _string_to_sign(delivery.head.method, path, token, digest, signed_at)
            if on_signed is not ignore_signed:
                on_signed(SignedText(_without(token, text) if token else (text,), signature))
            try:
                position = self._verifier.verify(text, signature)
            except Refusal as error:
                refusal = error
            else:
                check_age(delivery.head.received_at - at, self._window)
                return position, day
        raise refusal or Refusal(Reason.SIGNATURE_MISMATCH)

    def _check_token(self, token: str, delivery: Delivery) -> None:
        if self._issued is None or not self._issued.knows(token, delivery.head.received_at):
            raise Refusal(Reason.SIGNATURE_MISMATCH, "its access token is unknown or over")

    def _candidates(self, delivery: Delivery) -> Iterator[tuple[str, str]]:
        """Yield the path and the digest of what may have been signed, the likeliest first.

        The standard's `EndpointUrl` is the appended path in Midtrans' own samples, and the whole
        path of the merchant in messages of other SNAP services. Its `minify` is not defined;
        gateways are seen to send what they signed, so the received bytes go first.
        """
        head = delivery.head
        appended = delivery.remainder + head.query
        public = appended if self._prefix is None else self._prefix + appended
        digest = delivery.body_sha256.hex()
        yield public, digest
        paths = tuple(dict.fromkeys((public, appended, head.target)))
        for path in paths[1:]:
            yield path, digest
        minified = minify(delivery.body)
        if minified != delivery.body:
            digest = hashlib.sha256(minified).hexdigest()
            for path in paths:
                yield path, digest


def string_to_sign(method: str, path: str, token: str, body: bytes, signed_at: str) -> bytes:
    """Return what a message of this body is signed over; token: empty where there is none."""
    return _string_to_sign(method, path, token, hashlib.sha256(body).hexdigest(), signed_at)


def _string_to_sign(method: str, path: str, token: str, digest: str, signed_at: str) -> bytes:
    between = f"{token}:" if token else ""
    try:
        return f"{method}:{path}:{between}{digest}:{signed_at}".encode("ascii")
    except UnicodeEncodeError:
        raise Refusal(Reason.SIGNATURE_MISMATCH, "something signed is not ASCII") from None


def _bearer(headers: Headers) -> str:
    """Return the access token, which the sender has been given before."""
    value = headers.single(KEYS[AUTHORIZATION]) or missing(AUTHORIZATION, Reason.SIGNATURE_MISSING)
    scheme, _, token = value.partition(" ")
    if scheme.lower() != _BEARER or not token:
        raise Refusal(Reason.SIGNATURE_MISSING, f"{AUTHORIZATION} is no Bearer token")
    return token


def _without(token: str, text: bytes) -> tuple[bytes | None, ...]:
    """Return a signed text in pieces, without its token: that may be shown nowhere."""
    # It is behind the path, which a sender chooses, and in front of what holds no such text.
    before, _, behind = text.rpartition(f":{token}:".encode("ascii"))
    return (before + b":", None, b":" + behind)
