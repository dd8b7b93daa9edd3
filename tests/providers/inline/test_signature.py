"""A rule with its secrets."""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.core.urls import signed_url
from relay.providers import Window
from relay.providers.inline import HeaderField, JsonField, TimeRule, Unit, signature
from relay.providers.inline.signature import (
    MAX_SIGNATURES,
    WINDOW,
    Format,
    ParsedSignature,
    SignatureCheck,
    Verified,
    key,
    text_verifier,
    time_of,
)
from relay.signatures.public_key import sign_rsa
from tests.contracts.provider import new_rsa_keys
from tests.providers.inline.describe import AT, described, message

KEYED = described(format="t={timestamp},v1={signature}", signed="{timestamp}.{body}").signature
SECRETS = (Secret("old"), Secret("new"))


def mac(key: bytes, text: bytes) -> str:
    return hmac.digest(key, text, "sha256").hex()


def keyed(seconds: int, *keys: bytes) -> dict[str, str]:
    at = signature.write_time(AT + timedelta(seconds=seconds), "s")
    entries = ",".join(f"v1={mac(key, at.encode() + b'.{}')}" for key in keys)
    return {"X-Signature": f"t={at},{entries}"}


def test_any_of_several_signatures_may_fit_any_of_several_secrets() -> None:
    check = SignatureCheck(KEYED, SECRETS, WINDOW)
    for keys, position in (((b"old",), 0), ((b"x", b"new"), 1), ((b"new", b"old", b"x"), 1)):
        found = check.verify(message(keyed(0, *keys)), AT)
        assert found == Verified(position, ("body",), ambiguous=False)
    with pytest.raises(Refusal) as caught:
        check.verify(message(keyed(0, b"x", b"y")), AT)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH


def test_the_window_is_the_endpoints() -> None:
    narrow = SignatureCheck(KEYED, SECRETS, Window(timedelta(seconds=1), None))
    narrow.verify(message(keyed(999999, b"old")), AT)
    narrow.verify(message(keyed(-1, b"old")), AT)
    with pytest.raises(Refusal) as caught:
        narrow.verify(message(keyed(-2, b"old")), AT)
    assert caught.value.reason is Reason.TIMESTAMP_OUTSIDE_WINDOW


def test_the_signature_is_looked_at_before_the_time() -> None:
    check = SignatureCheck(KEYED, SECRETS, WINDOW)
    with pytest.raises(Refusal) as caught:
        check.verify(message(keyed(-999999, b"x")), AT)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    signed = {"X-Signature": f"t=soon,v1={mac(b'old', b'soon.{}')}"}
    with pytest.raises(Refusal) as caught:
        check.verify(message(signed), AT)
    assert caught.value.reason is Reason.TIMESTAMP_INVALID


def test_a_time_inside_the_body() -> None:
    rule = described(time=TimeRule(JsonField("/at"), "iso8601")).signature
    check = SignatureCheck(rule, SECRETS, WINDOW)
    body = b'{"at": "2026-01-05T12:00:00Z"}'
    check.verify(message({"X-Signature": mac(b"old", body)}, body), AT)
    with pytest.raises(Refusal) as caught:
        check.verify(message({"X-Signature": mac(b"old", b"{}")}), AT)
    assert caught.value.reason is Reason.SIGNATURE_MISSING


def test_what_is_covered_is_told() -> None:
    rule = described(source=JsonField("/sig"), signed="{json:/a/b}{json:/c}").signature
    body = b'{"a": {"b": "x"}, "c": "y", "sig": "%s"}' % mac(b"new", b"xy").encode()
    found = SignatureCheck(rule, SECRETS, WINDOW).verify(message(body=body), AT)
    assert found == Verified(1, ("a/b", "c"), ambiguous=True)


def test_when_the_time_is_read_as_seconds() -> None:
    assert time_of(KEYED) == TimeRule(None, "s")
    given = TimeRule(HeaderField("X-Time"), "ms")
    assert time_of(described(time=given).signature) == given
    assert time_of(described().signature) is None


def test_an_id_that_holds_its_own_end_is_refused_although_it_is_signed() -> None:
    rule = described(signed="{header:X-Id}.{body}").signature
    check = SignatureCheck(rule, SECRETS, WINDOW)
    good = message({"X-Id": "a", "X-Signature": mac(b"old", b"a.b.{}")}, b"b.{}")
    assert check.verify(good, AT).signed == ("body",)
    with pytest.raises(Refusal) as caught:
        check.verify(message({"X-Id": "a.b", "X-Signature": mac(b"old", b"a.b.{}")}), AT)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH


def test_a_path_that_holds_its_own_end_is_refused_unless_the_url_is_configured() -> None:
    rule = described(signed="{path_query}:{body}").signature
    signed = {"X-Signature": mac(b"old", b"/hook?a=1:b:{}")}
    for target, body in (("/hook?a=1:b", b"{}"), ("/hook?a=1", b"b:{}")):
        check = SignatureCheck(rule, SECRETS, WINDOW)
        if ":" not in target:
            assert check.verify(message(signed, body, target=target), AT).signed == ("body",)
            continue
        with pytest.raises(Refusal) as caught:
            check.verify(message(signed, body, target=target), AT)
        assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    known = SignatureCheck(rule, SECRETS, WINDOW, url_known=True)
    public = signed_url("https://pay.example.com/hook?a=1:b")
    assert known.verify(message(signed, public=public), AT).signed == ("body",)


@pytest.mark.parametrize(
    ("time", "form", "body"),
    [
        (TimeRule(JsonField("/t"), "s"), "{signature}", {"t": "\u2603", "sig": "00"}),
        (None, "t={timestamp},v1={signature}", {"t": "1", "sig": "t=\u2603,v1=00"}),
    ],
)
def test_a_time_that_no_time_is_written_in_is_refused(
    time: TimeRule | None, form: str, body: dict[str, str]
) -> None:
    rule = described(
        signed="{timestamp}.{json:/id}", time=time, source=JsonField("/sig"), format=form
    ).signature
    with pytest.raises(Refusal) as caught:
        SignatureCheck(rule, SECRETS, WINDOW).verify(message(body=json.dumps(body).encode()), AT)
    assert caught.value.reason is Reason.TIMESTAMP_INVALID


def test_a_time_inside_the_body_says_nothing_about_the_event() -> None:
    time = TimeRule(JsonField("/t"), "iso8601")
    rule = described(signed="{json:/t}:{json:/a}", time=time).signature
    check = SignatureCheck(rule, SECRETS, WINDOW)
    at = "2026-01-05T12:00:00Z"
    signed = {"X-Signature": mac(b"old", f"{at}:".encode())}
    with pytest.raises(Refusal) as caught:
        check.verify(message(signed, f'{{"t": "{at}", "b": 1}}'.encode()), AT)
    assert caught.value.reason is Reason.FIELD_INVALID


@pytest.mark.parametrize("body", [b"{}", b'{"a": null}', b'{"a": ""}', b'{"b": 1}'])
def test_a_signature_over_none_of_this_body_is_refused(body: bytes) -> None:
    rule = described(format="{signature}", signed="{header:X-Id}:{json:/a}").signature
    check = SignatureCheck(rule, SECRETS, WINDOW)
    headers = {"X-Id": "7", "X-Signature": mac(b"old", b"7:")}
    with pytest.raises(Refusal) as caught:
        check.verify(message(headers, body), AT)
    assert caught.value.reason is Reason.FIELD_INVALID


# ---- formats --------------------------------------------------------------------------------
# What stands around a signature.


@pytest.mark.parametrize(
    ("form", "value", "found"),
    [
        ("{signature}", "abc", ParsedSignature(("abc",))),
        ("{signature}", "a,b=c d", ParsedSignature(("a,b=c d",))),
        ("sha256={signature}", "sha256=abc", ParsedSignature(("abc",))),
        ("Bearer {signature}", "Bearer abc", ParsedSignature(("abc",))),
        ("t={timestamp},v1={signature}", "t=1,v1=a", ParsedSignature(("a",), "1")),
        ("t={timestamp},v1={signature}", "v1=a,v1=b, v0=c,t=1", ParsedSignature(("a", "b"), "1")),
        ("t={timestamp},v1={signature}", "t=1,v1=a=", ParsedSignature(("a=",), "1")),
        ("h1={signature};ts={timestamp}", "ts=1;h1=a", ParsedSignature(("a",), "1")),
        ("t={timestamp}, v1={signature}", "t=1, v1=a", ParsedSignature(("a",), "1")),
        ("v1,{signature}", "v1,a", ParsedSignature(("a",))),
        ("v1,{signature}", "v2,x v1,a v1a,y v1,b", ParsedSignature(("a", "b"))),
        ("v1,{signature}", "x  v1,a ", ParsedSignature(("a",))),
    ],
)
def test_what_is_read_of_a_format(form: str, value: str, found: ParsedSignature) -> None:
    assert Format(form).read(value) == found


@pytest.mark.parametrize(
    ("form", "value", "reason"),
    [
        ("sha256={signature}", "sha1=abc", Reason.SIGNATURE_MISMATCH),
        ("sha256={signature}", "SHA256=abc", Reason.SIGNATURE_MISMATCH),
        ("sha256={signature}", "sha256=", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "t=1", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "t=1,v0=a", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "v1=a", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "t=,v1=a", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "t=1,t=1,v1=a", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "t=1;v1=a", Reason.SIGNATURE_MISSING),
        ("v1,{signature}", "v2,a", Reason.SIGNATURE_MISSING),
        ("v1,{signature}", "v1,", Reason.SIGNATURE_MISSING),
        ("v1,{signature}", "v1", Reason.SIGNATURE_MISSING),
        ("v1,{signature}", "V1,a", Reason.SIGNATURE_MISSING),
        ("v1,{signature}", "v1,a " * (MAX_SIGNATURES + 1), Reason.SIGNATURE_MISMATCH),
    ],
)
def test_what_is_refused(form: str, value: str, reason: Reason) -> None:
    with pytest.raises(Refusal) as caught:
        Format(form).read(value)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "form",
    [
        "",
        "sha256=",
        "{sig}",
        "{signature}{signature}",
        "{signature};",
        "{timestamp}",
        "{timestamp}{signature}",
        "t={timestamp},t={signature}",
        "t={timestamp},v1={timestamp}",
        "t={signature},v1={signature}",
        "k=x,t={timestamp},v1={signature}",
    ],
)
def test_what_is_no_format(form: str) -> None:
    with pytest.raises(ValueError, match=r"v1,\{signature\}"):
        Format(form)


@pytest.mark.parametrize(
    "form",
    ["{signature}", "sha256={signature}", "t={timestamp},v1={signature}", "v1,{signature}"],
)
def test_a_format_reads_what_it_writes(form: str) -> None:
    found = Format(form).read(Format(form).write("abc", "123"))
    assert found.signatures == ("abc",)
    assert found.timestamp == ("123" if Format(form).holds_time else None)


# ---- keys -----------------------------------------------------------------------------------
# Secrets as they are written.


def verified(rule: dict[str, Any], signature: str, *secrets: str, text: bytes = b"text") -> int:
    made = text_verifier(described(**rule).signature, [Secret(secret) for secret in secrets])
    filled = (text, None) if rule.get("scheme") == "digest" else (text,)
    return made.verify(filled, signature)


@pytest.mark.parametrize(
    ("encoding", "prefix", "text", "found"),
    [
        ("text", "", " key\t", b" key\t"),
        ("text", "whsec_", "whsec_key", b"key"),
        ("text", "", "whsec_key", b"whsec_key"),
        ("text", "whsec_", "key", b"key"),
        ("hex", "", "00fF", b"\x00\xff"),
        ("base64", "", "AP8=", b"\x00\xff"),
        ("base64", "", "AP8", b"\x00\xff"),
        ("base64", "whsec_", "whsec_AP8=", b"\x00\xff"),
    ],
)
def test_what_a_secret_stands_for(encoding: str, prefix: str, text: str, found: bytes) -> None:
    rule = described(key_encoding=encoding, strip_prefix=prefix).signature
    assert key(rule, Secret(text)).reveal() == found


@pytest.mark.parametrize(
    ("encoding", "text", "said"),
    [
        ("text", " \n", "is empty"),
        ("base64", "===", "stands for no bytes"),
        ("text", "whsec_", "is empty"),
        ("hex", "0", "is not hexadecimal"),
        ("hex", "xy", "is not hexadecimal"),
        ("base64", "a", "is not Base64"),
        ("base64", "AP8-", "is not Base64"),
    ],
)
def test_a_secret_that_is_written_otherwise(encoding: str, text: str, said: str) -> None:
    rule = described(key_encoding=encoding, strip_prefix="whsec_").signature
    with pytest.raises(ValueError, match=rf"^secrets\.1: {said}"):
        text_verifier(rule, (Secret("00ff"), Secret(text)))


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_digest_holds_the_secret_where_the_template_says(encoding: str) -> None:
    digest = hashlib.sha512(b"textkey").digest()
    rule = {"scheme": "digest", "algorithm": "sha512", "encoding": encoding}
    right = digest.hex() if encoding == "hex" else b64encode(digest).decode()
    assert verified(rule, right, "other", "key") == 1
    for wrong in (right.swapcase(), right[:-1], right + "\n", "", "é"):
        with pytest.raises(Refusal) as caught:
            verified(rule, wrong, "other", "key")
        assert caught.value.reason is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_hmac(algorithm: str) -> None:
    mac = hmac.digest(b"key", b"text", algorithm)
    assert verified({"algorithm": algorithm}, mac.hex(), "other", "key") == 1
    base64 = {"algorithm": algorithm, "encoding": "base64"}
    assert verified(base64, b64encode(mac).decode(), "key") == 0


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_rsa(encoding: str) -> None:
    pair, other = new_rsa_keys(), new_rsa_keys()
    keys = other.verifying.reveal().decode(), pair.verifying.reveal().decode()
    signature = sign_rsa(pair.signing, b"text")
    if encoding == "hex":
        signature = b64decode(signature).hex()
    rule = {"scheme": "rsa", "encoding": encoding}
    assert verified(rule, signature, *keys) == 1
    with pytest.raises(Refusal):
        verified(rule, signature.upper(), *keys)


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("key_encoding", ["hex", "base64", "text"])
def test_ed25519(encoding: str, key_encoding: str) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = private.public_key().public_bytes_raw()
    given = public.hex() if key_encoding == "hex" else "whpk_" + b64encode(public).decode()
    signature = private.sign(b"text")
    shown = signature.hex() if encoding == "hex" else b64encode(signature).decode()
    rule = {
        "scheme": "ed25519",
        "encoding": encoding,
        "key_encoding": key_encoding,
        "strip_prefix": "whpk_",
    }
    assert verified(rule, shown, given) == 0
    with pytest.raises(Refusal):
        verified(rule, shown, given, text=b"texts")


@pytest.mark.parametrize("scheme", ["rsa", "ed25519"])
def test_a_key_that_is_none_is_named_by_its_position(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"^secrets\.0: line 1: "):
        text_verifier(described(scheme=scheme).signature, (Secret("!"),))


def test_a_token() -> None:
    assert verified({"scheme": "token"}, "two", "one", "two") == 1
    with pytest.raises(Refusal):
        verified({"scheme": "token"}, "three", "one", "two")


# ---- times ----------------------------------------------------------------------------------
# Signed times.


@pytest.mark.parametrize(
    ("text", "unit", "found"),
    [
        ("1531420618", "s", datetime(2018, 7, 12, 18, 36, 58, tzinfo=UTC)),
        ("1531420618123", "ms", datetime(2018, 7, 12, 18, 36, 58, 123000, tzinfo=UTC)),
        ("Thu, 30 Mar 2023 08:38:32 GMT", "rfc1123", datetime(2023, 3, 30, 8, 38, 32, tzinfo=UTC)),
        ("2024-03-05T10:37:16Z", "iso8601", datetime(2024, 3, 5, 10, 37, 16, tzinfo=UTC)),
        ("2024-03-05T10:37:16+07:00", "iso8601", datetime(2024, 3, 5, 3, 37, 16, tzinfo=UTC)),
        (
            "2024-03-05T10:37:16.123456789Z",
            "iso8601",
            datetime(2024, 3, 5, 10, 37, 16, 123456, tzinfo=UTC),
        ),
    ],
)
def test_what_is_read_of_a_time(text: str, unit: Unit, found: datetime) -> None:
    assert signature.read_time(text, unit) == found


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("", "s"),
        ("-1", "s"),
        ("1.5", "s"),
        (" 1", "s"),
        ("1e9", "s"),
        ("٣", "s"),
        ("9" * 15, "s"),
        ("9" * 400, "ms"),
        ("30 Mar 2023 08:38:32 GMT", "rfc1123"),
        ("Fri, 30 Mar 2023 08:38:32 GMT", "rfc1123"),
        ("Thu, 30 Mar 2023 08:38:32 +0000", "rfc1123"),
        ("Thu, 31 Feb 2023 08:38:32 GMT", "rfc1123"),
        ("2024-03-05T10:37:16", "iso8601"),
        ("2024-03-05 10:37:16Z", "iso8601"),
        ("2024-02-30T10:37:16Z", "iso8601"),
        ("2024-03-05T10:37:16+99:00", "iso8601"),
        ("2024-03-05T10:37:16+06:60", "iso8601"),
    ],
)
def test_what_is_no_time(text: str, unit: Unit) -> None:
    with pytest.raises(Refusal) as caught:
        signature.read_time(text, unit)
    assert caught.value.reason is Reason.TIMESTAMP_INVALID


@pytest.mark.parametrize("unit", get_args(Unit))
def test_a_time_is_read_as_it_is_written(unit: Unit) -> None:
    assert signature.read_time(signature.write_time(AT, unit), unit) == AT


def test_how_far_it_may_lie() -> None:
    second, minute = timedelta(seconds=1), timedelta(minutes=1)
    window = Window(past=minute, future=second)
    signature.check_window(AT - minute, AT, window)
    signature.check_window(AT + second, AT, window)
    for signed_at in (AT - minute - second, AT + second * 2):
        with pytest.raises(Refusal) as caught:
            signature.check_window(signed_at, AT, window)
        assert caught.value.reason is Reason.TIMESTAMP_OUTSIDE_WINDOW
    signature.check_window(AT - timedelta(days=9999), AT, Window(past=None, future=None))
    signature.check_window(AT + timedelta(days=9999), AT, Window(past=None, future=None))
