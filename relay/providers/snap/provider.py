"""Build a provider of one dialect of BI-SNAP."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import date, timedelta
from hmac import digest
from secrets import randbelow
from typing import Final

from relay.core import strict_json
from relay.core.errors import Refusal
from relay.core.request import Headers
from relay.core.secret import Secret
from relay.providers import (
    EndpointOptions,
    Environment,
    Inspector,
    ProviderInfo,
    RequestShape,
    Sample,
    SampleOrder,
    Window,
)
from relay.providers.required_fields import requiring
from relay.providers.snap import (
    AUTHORIZATION,
    CHANNEL,
    CLIENT,
    EXTERNAL,
    PARTNER,
    QRIS,
    QUESTIONS,
    SIGNATURE,
    TIMESTAMP,
    TOKENS,
    Dialect,
    samples,
    stamp,
)
from relay.providers.snap.access_tokens import AccessTokens
from relay.providers.snap.inspector import Checks, SnapInspector, string_to_sign
from relay.providers.snap.token_requests import (
    GRANT,
    TokenChallenges,
    TokenRequests,
    token_text,
)
from relay.signatures import Verifier
from relay.signatures.private_key import sign_rsa
from relay.signatures.public_key import Rsa, UnusableKey
from relay.signatures.shared_secret import Hmac

#: Retries come for hours, and nobody says whether one is stamped anew.
WINDOW: Final = Window(past=timedelta(hours=24), future=timedelta(minutes=5))

#: The sender's own header fields that reach an upstream. An access token is none of them.
HEADERS: Final = (TIMESTAMP, SIGNATURE, PARTNER, EXTERNAL, CHANNEL)

#: What an endpoint cannot have, since its provider knows nothing of it.
_ELSEWHERE: Final[Mapping[str, str]] = {
    "order_id_pattern": "only midtrans has one; leave it out",
    "callback": "only vipps-callback has one; leave it out",
}
_URL = re.compile(r"https?://[^/?#\s]+(?P<path>(?:/[!-\"$->@-~]*)?)", re.ASCII)
_WRITE_URL = "write the public form of the prefix, such as https://pay.example.com/snap"


def shapes(dialect: Dialect) -> tuple[RequestShape, ...]:
    """Return what a sender of this dialect appends to its prefix."""
    found = [
        RequestShape("POST", path, proxied=code in QUESTIONS, tokens=TOKENS.get(code, ()))
        for path, code in dialect.services.items()
    ]
    if dialect.token_path is not None:
        found.append(RequestShape("POST", dialect.token_path))
    return tuple(found)


_EVENT_KEY: Final = (
    "the service, X-EXTERNAL-ID and the calendar day of X-TIMESTAMP in Jakarta; the same content"
    " under another id is the same event"
)
_ASYMMETRIC: Final = (
    "RSA (PKCS#1 v1.5) with SHA-256 in Base64, in X-SIGNATURE, of {method}:{path_query}:"
    "{sha256_hex:minified_body}:{header:X-TIMESTAMP}"
)
_SYMMETRIC: Final = (
    "HMAC-SHA512 in Base64, in X-SIGNATURE, with the bearer in Authorization that was issued here,"
    " of {method}:{path_query}:{bearer}:{sha256_hex:minified_body}:{header:X-TIMESTAMP}"
)


def described(
    name: str, environments: Mapping[str, Environment], dialect: Dialect
) -> "SnapProvider":
    """Return the provider of a dialect that a configuration describes."""
    codes = ", ".join(dict.fromkeys(dialect.services.values()))
    secrets = (
        "the secret that both sides share, as text; in tokens.keys the sender's public keys"
        if dialect.symmetric
        else "the sender's public keys, in PEM or the Base64 of it"
    )
    info = ProviderInfo(
        name=name,
        title=f"{name}, BI-SNAP as described in the configuration",
        environments=environments,
        methods=("POST",),
        secrets=secrets,
        signature=_SYMMETRIC if dialect.symmetric else _ASYMMETRIC,
        event_key=_EVENT_KEY,
        answers=f"200 and responseCode 200xx00 in JSON; xx is the code of the service: {codes}",
        document="https://apidevportal.aspi-indonesia.or.id",
        # Nothing is built in that could become outdated.
        reviewed=date.max,
        shapes=shapes(dialect),
        headers=HEADERS,
        window=WINDOW,
        # It is signed, and what is signed is not kept.
        token=dialect.symmetric,
    )
    return SnapProvider(info, dialect, "the sender")


class SnapProvider:
    """The provider of one dialect. sender: what it is called in messages."""

    def __init__(self, info: ProviderInfo, dialect: Dialect, sender: str) -> None:
        self.info: Final = info
        self._dialect = dialect
        self._sender = sender

    def bind(self, options: EndpointOptions) -> Inspector:
        for key, message in _ELSEWHERE.items():
            if getattr(options, key) is not None:
                raise ValueError(f"{key}: {message}")
        prefix = None if options.public_url is None else self._prefix(options.public_url)
        self._requests(options)
        checks = Checks(
            verifier=self._verifier(options.secrets),
            window=options.window or WINDOW,
            prefix=prefix,
            partner_id=options.partner_id,
            merchant_id=options.merchant_id,
            issued=options.issued,
        )
        return requiring(SnapInspector(self._dialect, checks), options.must)

    def challenges(self, options: EndpointOptions) -> TokenChallenges | None:
        """Return what answers questions for an access token; None where none is issued."""
        requests = self._requests(options)
        if requests is None or self._dialect.token_path is None or not options.secrets:
            return None
        return TokenChallenges(self._dialect.token_path, requests)

    def _requests(self, options: EndpointOptions) -> TokenRequests | None:
        rules = options.tokens
        if not self._dialect.symmetric or rules is None:
            return None
        # Where none are kept, as in a command, none is good.
        issued = options.issued or AccessTokens().of("", rules.client_id, rules.life)
        try:
            return TokenRequests(rules.client_id, rules.keys, issued)
        except UnusableKey as error:
            raise ValueError(f"tokens.keys.{error.position}: {error}") from None

    def _verifier(self, secrets: tuple[Secret, ...]) -> Verifier | None:
        if not secrets:
            return None
        if self._dialect.symmetric:
            if not all(secrets):
                raise ValueError(f"secrets.{secrets.index(Secret(''))}: is empty")
            return Hmac("sha512", secrets, "base64")
        try:
            return Rsa(secrets)
        except UnusableKey as error:
            raise ValueError(f"secrets.{error.position}: {error}") from None

    def sample(self, order: SampleOrder) -> Sample:
        changes = dict(order.changes)
        changes.pop(CLIENT, None)
        path = changes.pop("path", self._usual_path)
        services = self._dialect.services
        if path not in services:
            raise ValueError(f"path: there are: {', '.join(services)}")
        fresh = {PARTNER: "G12345678", EXTERNAL: f"{randbelow(10**20):020}", CHANNEL: "12345"}
        chosen = {name: changes.pop(name, value) for name, value in fresh.items()}
        message = samples.message(services[path], order.at, changes)
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        signed_at = stamp(order.at)
        token = ""
        if self._dialect.symmetric:
            if order.token is None:
                raise ValueError(f"{self.info.name} signs with an access token; ask for one first")
            token = order.token.reveal().decode("ascii")
            chosen[AUTHORIZATION] = f"Bearer {token}"
        signed = string_to_sign("POST", path, token, body, signed_at)
        headers = (
            ("Content-Type", "application/json"),
            (TIMESTAMP, signed_at),
            (SIGNATURE, self._sign(order.secret, signed)),
            *chosen.items(),
        )
        return Sample("POST", path, Headers(headers), body)

    @property
    def _usual_path(self) -> str:
        """The path of a sample of which no more is said."""
        paths = self._dialect.services
        return QRIS if QRIS in paths else next(iter(paths))

    def _sign(self, secret: Secret, text: bytes) -> str:
        if not self._dialect.symmetric:
            return sign_rsa(secret, text)
        return b64encode(digest(secret.reveal(), text, "sha512")).decode("ascii")

    # ---- access tokens ------------------------------------------------------------------------

    @property
    def asks_for_token(self) -> bool:
        """Whether the sender asks the endpoint for an access token, and signs with that."""
        return self._dialect.symmetric

    def token_request(self, order: SampleOrder) -> Sample:
        """Return a signed question for an access token.

        Raises:
            ValueError: there is no private key to sign it with, or it is none.
        """
        path = self._dialect.token_path
        if path is None or order.key is None:
            raise ValueError(
                f"{self.info.name} asks for an access token first; give the private key that this"
                " is signed with, whose public half is in tokens.keys"
            )
        client, signed_at = order.changes.get(CLIENT, "relay-sample"), stamp(order.at)
        headers = (
            ("Content-Type", "application/json"),
            (TIMESTAMP, signed_at),
            (CLIENT, client),
            (SIGNATURE, sign_rsa(order.key, token_text(client, signed_at))),
        )
        body = json.dumps({"grantType": GRANT, "additionalInfo": {}}, separators=(",", ":"))
        return Sample("POST", path, Headers(headers), body.encode())

    @staticmethod
    def token_in(answer: bytes) -> Secret | None:
        """Return the access token in an answer; None where there is none."""
        try:
            found = strict_json.parse_object(answer).get("accessToken")
        except Refusal:
            return None
        return Secret(found) if isinstance(found, str) and found.isascii() else None

    # ---- options ------------------------------------------------------------------------------

    def _prefix(self, url: str) -> str:
        """Return the path of a public prefix, without a trailing slash."""
        found = _URL.fullmatch(url)
        if found is None:
            raise ValueError(f"public_url: {_WRITE_URL}")
        prefix = found["path"].rstrip("/")
        if prefix.endswith(tuple(self._dialect.services)):
            raise ValueError(f"public_url: {self._sender} appends /v1.0/… itself; {_WRITE_URL}")
        return prefix
