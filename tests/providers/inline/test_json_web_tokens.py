"""What a token claims, and whether it is of this body."""

import hashlib
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.providers import Window
from relay.providers.inline import HeaderField, HeaderFields, JwtRule, SignatureRule
from relay.providers.inline.json_web_tokens import JwtCheck, signed_token
from relay.providers.inline.provider import InlineProvider
from relay.providers.inline.signature import WINDOW, Verified
from relay.signatures import SignedText
from relay.signatures.json_web_signature import sign_compact
from tests.providers.inline.describe import AT, bound, delivery, described, message

SECRET = Secret("0123456789abcdef")
NOW = int(AT.timestamp())
BODY = b'{"id":"1"}'
DIGEST = hashlib.sha256(BODY)
OWN = JwtRule(("HS256",))
BOUND = JwtRule(("HS256",), body_sha256="hash")
LIVE: dict[str, object] = {"exp": NOW + 60}


def rule(own: JwtRule, **others: Any) -> SignatureRule:
    usual: dict[str, Any] = {"scheme": "jwt", "source": HeaderField("Authorization"), "jwt": own}
    return described(**usual | others).signature


def token(claims: object) -> str:
    return sign_compact(SECRET, json.dumps(claims).encode(), ("HS256",))


def verified(
    own: JwtRule, value: str, body: bytes = BODY, window: Window = WINDOW, **others: Any
) -> Verified:
    check = JwtCheck(rule(own, **others), (Secret("another-secret-00"), SECRET), window)
    return check.verify(message({"Authorization": value}, body), AT)


def refused(own: JwtRule, value: str, body: bytes = BODY, **others: Any) -> Reason:
    with pytest.raises(Refusal) as caught:
        verified(own, value, body, **others)
    return caught.value.reason


# ---- where it stands ------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["", "Bearer ", "bearer ", "BEARER "])
def test_the_name_of_the_scheme_is_cut_off(before: str) -> None:
    assert verified(OWN, before + token(LIVE)) == Verified(1, (), ambiguous=False)


@pytest.mark.parametrize("before", ["Bearer", "Bearer  ", "Basic ", "Bearer Bearer ", " "])
def test_anything_else_before_it_refuses(before: str) -> None:
    assert refused(OWN, before + token(LIVE)) is Reason.SIGNATURE_MISMATCH


def test_a_format_of_its_own() -> None:
    form: dict[str, Any] = {"format": "JWT {signature}"}
    assert verified(OWN, "JWT " + token(LIVE), **form).secret == 1
    assert refused(OWN, token(LIVE), **form) is Reason.SIGNATURE_MISMATCH
    assert refused(OWN, "JWT ", **form) is Reason.SIGNATURE_MISSING


def test_any_of_several_fields() -> None:
    own = rule(OWN, source=HeaderFields(("X-One", "X-Two")))
    check = JwtCheck(own, (SECRET,), WINDOW)
    for headers in ({"X-Two": token(LIVE)}, {"X-One": "x", "X-Two": token(LIVE)}):
        assert check.verify(message(headers, BODY), AT).secret == 0
    for headers, reason in (
        ({"X-One": "x", "X-Two": token({})}, Reason.SIGNATURE_MISMATCH),
        ({"X-Two": token({})}, Reason.TIMESTAMP_INVALID),
        ({}, Reason.SIGNATURE_MISSING),
    ):
        with pytest.raises(Refusal) as caught:
            check.verify(message(headers, BODY), AT)
        assert caught.value.reason is reason


# ---- times ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW + 1},
        {"exp": NOW - 59},
        {"exp": NOW + 0.5},
        {"exp": 253402300799},
        {"exp": NOW + 1, "nbf": NOW, "iat": NOW},
        {"exp": NOW + 1, "nbf": NOW + 60, "iat": NOW + 60},
        # How old it is decides only where it has no end.
        {"exp": NOW + 1, "iat": 0},
    ],
)
def test_a_token_within_its_life(claims: Mapping[str, object]) -> None:
    assert verified(OWN, token(claims)).secret == 1


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({}, Reason.TIMESTAMP_INVALID),
        ({"iat": NOW}, Reason.TIMESTAMP_INVALID),
        ({"exp": None}, Reason.TIMESTAMP_INVALID),
        ({"exp": str(NOW + 60)}, Reason.TIMESTAMP_INVALID),
        ({"exp": True}, Reason.TIMESTAMP_INVALID),
        ({"exp": [NOW + 60]}, Reason.TIMESTAMP_INVALID),
        ({"exp": -1}, Reason.TIMESTAMP_INVALID),
        ({"exp": 10**18}, Reason.TIMESTAMP_INVALID),
        ({"exp": NOW - 60}, Reason.TIMESTAMP_OUTSIDE_WINDOW),
        ({"exp": 0}, Reason.TIMESTAMP_OUTSIDE_WINDOW),
        (LIVE | {"nbf": NOW + 61}, Reason.TIMESTAMP_OUTSIDE_WINDOW),
        (LIVE | {"nbf": "now"}, Reason.TIMESTAMP_INVALID),
        (LIVE | {"iat": NOW + 61}, Reason.TIMESTAMP_OUTSIDE_WINDOW),
        (LIVE | {"iat": {}}, Reason.TIMESTAMP_INVALID),
    ],
)
def test_a_token_outside_of_its_life(claims: Mapping[str, object], reason: Reason) -> None:
    assert refused(OWN, token(claims)) is reason


@pytest.mark.parametrize("text", ["1e400", "-0.5", "1E999999999", "NaN", "Infinity"])
def test_a_number_that_is_no_time(text: str) -> None:
    written = sign_compact(SECRET, b'{"exp":%s}' % text.encode(), ("HS256",))
    assert refused(OWN, written) in {Reason.TIMESTAMP_INVALID, Reason.SIGNATURE_MISMATCH}


def test_where_no_end_is_needed_its_age_decides() -> None:
    endless = replace(OWN, expires=False)
    for claims in ({}, {"iat": NOW - 300}, {"exp": NOW + 9, "iat": 0}):
        assert verified(endless, token(claims)).secret == 1
    for claims in ({"iat": NOW - 301}, {"exp": NOW - 60}, {"exp": NOW - 60, "iat": NOW}):
        assert refused(endless, token(claims)) is Reason.TIMESTAMP_OUTSIDE_WINDOW
    forever = Window(past=None, future=None)
    assert verified(endless, token({"iat": 0}), window=forever).secret == 1
    day = Window(past=timedelta(days=1), future=None)
    assert verified(endless, token({"iat": NOW - 86400}), window=day).secret == 1
    assert refused(endless, token({"exp": None})) is Reason.TIMESTAMP_INVALID


# ---- whose it is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "claims", "taken"),
    [
        (JwtRule(("HS256",), audience="us"), {"aud": "us"}, True),
        (JwtRule(("HS256",), audience="us"), {"aud": ["them", "us"]}, True),
        (JwtRule(("HS256",), audience="us"), {"aud": "them"}, False),
        (JwtRule(("HS256",), audience="us"), {"aud": "us "}, False),
        (JwtRule(("HS256",), audience="us"), {"aud": "US"}, False),
        (JwtRule(("HS256",), audience="us"), {"aud": ["them"]}, False),
        (JwtRule(("HS256",), audience="us"), {"aud": [["us"]]}, False),
        (JwtRule(("HS256",), audience="us"), {"aud": {"us": 1}}, False),
        (JwtRule(("HS256",), audience="us"), {"aud": None}, False),
        (JwtRule(("HS256",), audience="us"), {"aud": []}, False),
        (JwtRule(("HS256",), audience="us"), {}, False),
        (JwtRule(("HS256",), issuer="them"), {"iss": "them"}, True),
        (JwtRule(("HS256",), issuer="them"), {"iss": ["them"]}, False),
        (JwtRule(("HS256",), issuer="them"), {"iss": "others"}, False),
        (JwtRule(("HS256",), issuer="them"), {}, False),
        (JwtRule(("HS256",)), {"iss": "anyone", "aud": "anyone"}, True),
    ],
)
def test_the_audience_and_the_issuer(
    own: JwtRule, claims: dict[str, object], *, taken: bool
) -> None:
    if taken:
        assert verified(own, token(LIVE | claims)).secret == 1
    else:
        assert refused(own, token(LIVE | claims)) is Reason.FIELD_FOREIGN


@pytest.mark.parametrize(
    "payload", [b"[]", b'"a"', b"", b"null", b"{", b'{"exp":1,"exp":9999999999}', b"\xff", b"{}{}"]
)
def test_claims_are_one_strict_object(payload: bytes) -> None:
    assert refused(OWN, sign_compact(SECRET, payload, ("HS256",))) is Reason.SIGNATURE_MISMATCH


# ---- the body -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        DIGEST.hexdigest(),
        DIGEST.hexdigest().upper(),
        urlsafe_b64encode(DIGEST.digest()).decode(),
        urlsafe_b64encode(DIGEST.digest()).decode().rstrip("="),
    ],
)
def test_a_claim_ties_the_body(written: str) -> None:
    made = token(LIVE | {"hash": written})
    assert verified(BOUND, made) == Verified(1, ("body",), ambiguous=False)
    for body in (BODY + b" ", BODY[:-1], b"", b"{}"):
        assert refused(BOUND, made, body) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    "claim",
    [
        None,
        "",
        5,
        [DIGEST.hexdigest()],
        DIGEST.hexdigest()[:-2],
        DIGEST.hexdigest() + "00",
        hashlib.sha256(b"").hexdigest(),
        hashlib.sha1(BODY).hexdigest(),
        "é" * 64,
        " " + DIGEST.hexdigest(),
    ],
)
def test_a_claim_that_is_not_the_digest_of_the_body(claim: object) -> None:
    assert refused(BOUND, token(LIVE | {"hash": claim})) is Reason.SIGNATURE_MISMATCH
    assert refused(BOUND, token(LIVE)) is Reason.SIGNATURE_MISMATCH
    assert refused(BOUND, token(LIVE | {"HASH": DIGEST.hexdigest()})) is Reason.SIGNATURE_MISMATCH


def test_a_token_is_shown_only_where_it_fits_no_other_body() -> None:
    texts: list[SignedText] = []
    headers = {"Authorization": token(LIVE | {"hash": DIGEST.hexdigest()})}
    JwtCheck(rule(OWN), (SECRET,), WINDOW).verify(message(headers, BODY), AT, texts.append)
    assert texts == []
    JwtCheck(rule(BOUND), (SECRET,), WINDOW).verify(message(headers, BODY), AT, texts.append)
    assert len(texts) == 1


def test_a_token_and_a_detached_signature_do_not_pass_for_each_other() -> None:
    detached = replace(OWN, detached=True)
    claims = json.dumps(LIVE).encode()
    whole = sign_compact(SECRET, claims, ("HS256",))
    head, payload, signature = whole.split(".")
    without = f"{head}..{signature}"
    assert verified(OWN, whole).signed == ()
    assert refused(OWN, without, claims) is Reason.SIGNATURE_MISMATCH
    assert verified(detached, without, claims).signed == ("body",)
    assert refused(detached, whole, claims) is Reason.SIGNATURE_MISMATCH
    assert refused(detached, whole) is Reason.SIGNATURE_MISMATCH
    assert refused(detached, f"{head}.{payload}.", claims) is Reason.SIGNATURE_MISMATCH


# ---- a provider of such a rule --------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "is_token", "forwarded"),
    [
        (OWN, True, ()),
        (BOUND, False, ("Authorization",)),
        (replace(OWN, detached=True), False, ("Authorization",)),
    ],
)
def test_what_could_be_used_again_is_a_token(
    own: JwtRule, forwarded: tuple[str, ...], *, is_token: bool
) -> None:
    source = HeaderField("Authorization")
    info = InlineProvider(described(scheme="jwt", source=source, jwt=own)).info
    assert info.token is is_token
    assert info.headers == forwarded


def test_a_window_only_where_a_token_may_have_no_end() -> None:
    for own, window in (
        (OWN, None),
        (replace(OWN, expires=False), WINDOW),
        (replace(OWN, detached=True), None),
    ):
        assert InlineProvider(described(scheme="jwt", jwt=own)).info.window == window


def test_the_same_body_under_another_event_key_is_a_replay() -> None:
    description = described(
        scheme="jwt",
        source=HeaderField("Authorization"),
        jwt=BOUND,
        event_key=(HeaderField("X-Id"),),
    )
    made = token(LIVE | {"hash": DIGEST.hexdigest()})
    digests = {
        bound(description, "0123456789abcdef")
        .verify(delivery({"Authorization": made, "X-Id": each}, BODY))
        .replay_digest
        for each in ("1", "2")
    }
    assert len(digests) == 1
    assert None not in digests


# ---- signing and secrets --------------------------------------------------------------------


@pytest.mark.parametrize(
    "own",
    [
        OWN,
        BOUND,
        JwtRule(("RS256", "HS512"), "us", "them", body_sha256="hash"),
        JwtRule(("HS256",), detached=True),
    ],
)
def test_what_is_signed_here_verifies(own: JwtRule) -> None:
    made = signed_token(rule(own), SECRET, AT, BODY, DIGEST.digest())
    assert verified(own, f"Bearer {made}").secret == 1
    assert made != signed_token(rule(own), SECRET, AT, BODY, DIGEST.digest()) or own.detached


def test_a_secret_in_another_encoding() -> None:
    key = b64encode(b"some bytes of a key")
    made = sign_compact(Secret(b"some bytes of a key"), b"{}", ("HS256",))
    endless = replace(OWN, expires=False)
    check = JwtCheck(rule(endless, key_encoding="base64"), (Secret(key),), WINDOW)
    assert check.verify(message({"Authorization": made}, BODY), AT).secret == 0


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", r"^secrets\.1: is empty"),
        ("-----BEGIN PUBLIC KEY-----", r"^secrets\.1: line 1: this PUBLIC KEY has no -----END"),
        ("{}", r"^secrets\.1: is no JSON Web Key"),
    ],
)
def test_a_secret_that_is_none_is_named_by_its_position(secret: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        JwtCheck(rule(OWN), (SECRET, Secret(secret)), WINDOW)
