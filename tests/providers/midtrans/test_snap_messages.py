import hashlib
import json
import re
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.errors import Reason
from relay.core.request import Ack, Headers, IngestResult, Verdict, Verification
from relay.core.secret import Secret
from relay.core.strict_json import minify
from relay.providers import EndpointOptions, Sample, SampleOrder, Window
from relay.providers.midtrans.snap import DIALECT, PROVIDER
from relay.providers.snap import ACCOUNT, DEBIT, QRIS, samples
from relay.providers.snap.answers import Answers
from tests.contracts.provider import RULINGS, delivery_of, outcome
from tests.harness import optional_tools
from tests.harness.deliveries import AnswerContext

SERVICES = DIALECT.services
answer, proxied_answer = Answers(DIALECT).answer, Answers(DIALECT).proxied_answer

NOW = datetime(2026, 1, 5, 17, 0, 9, 123456, tzinfo=UTC)
STAMP = ("X-TIMESTAMP", "2026-01-06T00:00:09+07:00")
VA = {
    "partnerServiceId": "  088899",
    "customerNo": "12345678901234567890",
    "virtualAccountNo": "  08889912345678901234567890",
    "virtualAccountName": "Jokul Doe",
    "trxId": "Pesanan é \u2028 <1>",
}

# What the documentation lists for QRIS and for VA, as far as it is ever answered here.
LISTED = {
    *("2005600", "2005200", "4005200", "4005201", "4005202", "4015200", "4035201", "4055200"),
    *("4095200", "5005200", "5045200"),
    *("2002500", "4002500", "4002501", "4002502", "4012500", "5002500", "5042500"),
    *("2008800", "5008800"),
}
# What it lists nowhere, and follows the rule of the listed ones.
BY_RULE = {
    *("4005600", "4005601", "4005602", "4015600", "4035601", "4055600", "4095600", "5005600"),
    *("5045600", "4032501", "4052500", "4092500"),
    *("4008800", "4008801", "4008802", "4018800", "4038801", "4058800", "4098800", "5048800"),
    *(
        f"{status}{service}00"
        for status in (404, 408, 413, 415, 431)
        for service in SERVICES.values()
    ),
}


def said(ack: Ack) -> dict[str, object]:
    found = json.loads(ack.body)
    assert isinstance(found, dict)
    return found


def refused(reason: Reason, path: str = QRIS) -> Ack:
    return answer(IngestResult(Verdict.REFUSED, reason), AnswerContext(path, b"", NOW))


# ---- every answer ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*SERVICES, "/unknown", ""])
def test_every_answer_is_in_snaps_shape(path: str) -> None:
    for result, body in product(RULINGS, (json.dumps(VA).encode(), b"", b"not json")):
        ack = answer(result, AnswerContext(path, body, NOW))
        found = said(ack)
        code = found["responseCode"]
        assert isinstance(code, str)
        assert len(code) == 7
        assert code.startswith(str(ack.status))
        assert code[3:5] == SERVICES.get(path, "00")
        assert 0 < len(str(found["responseMessage"])) <= 150
        assert ack.content_type == "application/json"
        assert STAMP in ack.headers


def test_every_code_is_listed_or_follows_the_rule() -> None:
    assert not LISTED & BY_RULE
    codes = {
        str(said(answer(result, AnswerContext(path, b"", NOW)))["responseCode"])
        for result, path in product(RULINGS, SERVICES)
    }
    assert codes == LISTED | BY_RULE


# ---- success --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"), [(DEBIT, "2005600"), (QRIS, "2005200"), (ACCOUNT, "2002500")]
)
@pytest.mark.parametrize("verdict", [Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.PASSED])
def test_success_is_200_and_nothing_else(path: str, code: str, verdict: Verdict) -> None:
    ack = answer(IngestResult(verdict), AnswerContext(path, b"{}", NOW))
    assert ack.status == 200
    assert said(ack)["responseCode"] == code
    assert said(ack)["responseMessage"] == "Successful"
    assert ack.headers == (STAMP,)


def test_equal_answers_of_one_second_are_one_object() -> None:
    def at(moment: datetime, path: str = QRIS, body: bytes = b"{}") -> Ack:
        return answer(IngestResult(Verdict.ACCEPTED), AnswerContext(path, body, moment))

    second = NOW.replace(microsecond=0)
    assert at(second) is at(second.replace(microsecond=999_999), body=b"[]")
    assert at(second) == at(NOW) != at(second + timedelta(seconds=1))
    assert at(second) != at(second, DEBIT)
    # What is repeated of a virtual account is each message's own.
    assert at(second, ACCOUNT, b'{"trxId":"1"}') != at(second, ACCOUNT, b'{"trxId":"2"}')


def test_a_duplicate_is_answered_like_the_first() -> None:
    context = AnswerContext(ACCOUNT, json.dumps(VA).encode(), NOW)
    assert answer(IngestResult(Verdict.DUPLICATE), context) == answer(
        IngestResult(Verdict.ACCEPTED), context
    )


def test_a_virtual_account_is_repeated_with_its_leading_blanks() -> None:
    ack = answer(
        IngestResult(Verdict.ACCEPTED),
        AnswerContext(ACCOUNT, json.dumps(VA, indent=2).encode(), NOW),
    )
    assert said(ack)["virtualAccountData"] == {
        "partnerServiceId": "  088899",
        "customerNo": "12345678901234567890",
        "virtualAccountNo": "  08889912345678901234567890",
        "trxId": "Pesanan é \u2028 <1>",
    }
    assert b'"  088899"' in ack.body


@pytest.mark.parametrize(
    ("body", "repeated"),
    [
        ({}, {}),
        ({"virtualAccountNo": " 7"}, {"virtualAccountNo": " 7"}),
        ({"virtualAccountNo": 7, "trxId": None, "customerNo": ["1"]}, {}),
        ({"trxId": ""}, {"trxId": ""}),
    ],
)
def test_only_what_is_there_is_repeated(
    body: dict[str, object], repeated: dict[str, object]
) -> None:
    ack = answer(
        IngestResult(Verdict.ACCEPTED), AnswerContext(ACCOUNT, json.dumps(body).encode(), NOW)
    )
    assert said(ack)["virtualAccountData"] == repeated


def test_nothing_is_repeated_elsewhere() -> None:
    context = AnswerContext(QRIS, json.dumps(VA).encode(), NOW)
    assert set(said(answer(IngestResult(Verdict.ACCEPTED), context))) == {
        "responseCode",
        "responseMessage",
    }
    context = AnswerContext(ACCOUNT, json.dumps(VA).encode(), NOW)
    conflict = IngestResult(Verdict.CONFLICT, Reason.EVENT_CONFLICT)
    assert set(said(answer(conflict, context))) == {"responseCode", "responseMessage"}


# ---- everything else ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.BODY_MALFORMED, "4005200"),
        (Reason.TIMESTAMP_INVALID, "4005201"),
        (Reason.FIELD_INVALID, "4005202"),
        (Reason.SIGNATURE_MISSING, "4015200"),
        (Reason.SIGNATURE_MISMATCH, "4015200"),
        (Reason.TIMESTAMP_OUTSIDE_WINDOW, "4015200"),
        (Reason.SOURCE_NOT_ALLOWED, "4035201"),
        (Reason.SOURCE_UNKNOWN, "4035201"),
        (Reason.FORWARDING_UNTRUSTED, "4035201"),
        (Reason.METHOD_NOT_ALLOWED, "4055200"),
        (Reason.HEADER_TIMEOUT, "4085200"),
        (Reason.BODY_TIMEOUT, "4085200"),
        (Reason.EVENT_CONFLICT, "4095200"),
        (Reason.BODY_TOO_LARGE, "4135200"),
        (Reason.BODY_ENCODED, "4155200"),
        (Reason.HEADERS_TOO_LARGE, "4315200"),
        (Reason.OVERLOAD, "5005200"),
        (Reason.TOO_MANY_CONNECTIONS, "5005200"),
    ],
)
def test_a_refusal_has_its_code(reason: Reason, code: str) -> None:
    assert said(refused(reason))["responseCode"] == code


def test_another_message_under_a_known_id_is_a_conflict() -> None:
    ack = answer(
        IngestResult(Verdict.CONFLICT, Reason.EVENT_CONFLICT), AnswerContext(DEBIT, b"{}", NOW)
    )
    assert (ack.status, said(ack)["responseCode"]) == (409, "4095600")


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (IngestResult(Verdict.UNAVAILABLE), "5002500"),
        (IngestResult(Verdict.UNAVAILABLE, late=True), "5042500"),
        (IngestResult(Verdict.REFUSED), "5002500"),
    ],
)
def test_a_failure_of_ours_says_whether_it_was_time(result: IngestResult, code: str) -> None:
    assert said(answer(result, AnswerContext(ACCOUNT, b"{}", NOW)))["responseCode"] == code


def test_another_method_is_told_the_right_one() -> None:
    assert ("Allow", "POST") in refused(Reason.METHOD_NOT_ALLOWED).headers


# ---- what an upstream answered --------------------------------------------------------------


NO_OBJECTS = [
    *(b"", b" \r\n", b"OK", b"no such order", b"<html></html>", b'"OK"', b"null", b"[]", b"200"),
    *(b"{", b"{}{}", b"{'a': 1}", b"\xff", b'{"a": 1, "a": 2}', b"\xef\xbb\xbf{}", b"[" * 5000),
]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize("body", NO_OBJECTS)
def test_a_success_without_an_object_becomes_the_relays_own(status: int, body: bytes) -> None:
    context = AnswerContext(ACCOUNT, json.dumps(VA).encode(), NOW)
    assert proxied_answer(Ack(status, body), context) == answer(
        IngestResult(Verdict.ACCEPTED), context
    )


@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 409, 499, 500])
def test_json_passes_with_the_time_beside_it(status: int) -> None:
    body = b'{ "responseCode" : "2002500", "virtualAccountData": {} }'
    answered = Ack(status, body, "application/json;charset=utf-8")
    found = proxied_answer(answered, AnswerContext(ACCOUNT, b"{}", NOW))
    assert found == Ack(status, body, "application/json;charset=utf-8", (STAMP,))


@pytest.mark.parametrize("body", NO_OBJECTS)
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (302, "Found"),
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (404, "Not Found"),
        (409, "Conflict"),
        (499, "Refused"),
        (500, "Internal Server Error"),
    ],
)
def test_a_refusal_without_an_object_keeps_its_status(
    status: int, message: str, body: bytes
) -> None:
    found = proxied_answer(Ack(status, body, "text/html"), AnswerContext(ACCOUNT, b"{}", NOW))
    assert (found.status, found.content_type) == (status, "application/json")
    assert said(found) == {"responseCode": f"{status}2500", "responseMessage": message}
    assert found.headers == (STAMP,)


def test_a_refused_method_is_told_the_right_one() -> None:
    found = proxied_answer(Ack(405), AnswerContext(DEBIT, b"{}", NOW))
    assert (found.status, said(found)["responseCode"]) == (405, "4055600")
    assert found.headers == (STAMP, ("Allow", "POST"))


# ---- agreement with another implementation --------------------------------------------------
# The relay and Midtrans' own library for Node judge messages alike, wherever they may.
#
# The library parses a body and writes it anew before it hashes it, so it knows only bodies that
# JavaScript would have written. Every kind of message on which the two differ is listed here.

LIBRARY = "midtrans-client@1.4.3"
PATH = "/v1.0/debit/notify"
AGREED_STAMP = "2026-01-05T19:00:30+07:00"
AGREED_NOW = datetime(2026, 1, 5, 12, 0, 30, tzinfo=UTC)
ACCEPTED, REFUSED = "accepted", "refused"

_JUDGE = """
const {SnapBi, SnapBiConfig} = require("midtrans-client");
const lines = require("readline").createInterface({input: process.stdin});
lines.on("line", (line) => {
  const {key, body, path, stamp, signature} = JSON.parse(line);
  SnapBiConfig.snapBiPublicKey = key;
  let said = "refused";
  try {
    const found = SnapBi.notification()
      .withNotificationPayload(JSON.parse(Buffer.from(body, "base64").toString("utf8")))
      .withNotificationUrlPath(path)
      .withTimeStamp(stamp)
      .withSignature(signature)
      .isWebhookNotificationVerified();
    if (found) said = "accepted";
  } catch (error) {}
  console.log(said);
});
"""


@dataclass(frozen=True)
class Message:
    body: bytes
    signature: str
    path: str = PATH
    stamp: str = AGREED_STAMP


class Referees:
    """The relay, and Midtrans' library in a process of its own, with one key."""

    def __init__(self, process: subprocess.Popen[str], bits: int = 2048) -> None:
        self._process = process
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        public = self._private.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public = pem.decode()

    def signed(self, body: bytes, over: bytes | None = None, stamp: str = AGREED_STAMP) -> Message:
        """Return a message signed over its minified body, or over another one."""
        digest = hashlib.sha256(minify(body) if over is None else over).hexdigest()
        text = f"POST:{PATH}:{digest}:{stamp}".encode()
        signature = self._private.sign(text, padding.PKCS1v15(), hashes.SHA256())
        return Message(body, b64encode(signature).decode(), stamp=stamp)

    def judge(self, message: Message) -> tuple[str, str]:
        """Return what the relay says, and what the library says."""
        return self.ours(message), self.theirs(message)

    def ours(self, message: Message) -> str:
        fields = (
            ("X-TIMESTAMP", message.stamp),
            ("X-SIGNATURE", message.signature),
            ("X-EXTERNAL-ID", "1"),
        )
        sample = Sample("POST", message.path, Headers(fields), message.body)
        options = EndpointOptions(secrets=(Secret(self.public),), window=Window(None, None))
        delivery = delivery_of(sample, "https://pay.example.com/snap", AGREED_NOW)
        found = outcome(PROVIDER.bind(options), delivery)
        return ACCEPTED if isinstance(found, Verification) else REFUSED

    def theirs(self, message: Message) -> str:
        context = {
            "key": self.public,
            "body": b64encode(message.body).decode(),
            "path": message.path,
            "stamp": message.stamp,
            "signature": message.signature,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(context) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    directory = optional_tools.npm_install(tmp_path_factory.mktemp("npm"), LIBRARY)
    with subprocess.Popen(
        ["node", "-e", _JUDGE],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


@pytest.fixture(scope="module")
def referees(process: subprocess.Popen[str]) -> Referees:
    return Referees(process)


# ---- where they agree -----------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# JavaScript moves a key that is an array index to the front.
names = text.filter(lambda name: not (name.isascii() and name.isdigit()))
exact = st.integers(-(2**53) + 1, 2**53 - 1)
values = st.recursive(
    st.none() | st.booleans() | exact | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(names, values, max_size=5)
layouts = st.sampled_from([None, 0, 1, 3, "\t", " \r\n"])


@pytest.mark.npm
@settings(derandomize=True, deadline=None, max_examples=200)
@given(said=bodies, layout=layouts, changed=st.sampled_from(["", "body", "path", "stamp", "bits"]))
def test_they_agree_on_what_javascript_would_have_written(
    referees: Referees, said: dict[str, object], layout: str | int | None, changed: str
) -> None:
    body = json.dumps(said, indent=layout, ensure_ascii=False).encode()
    message = referees.signed(body)
    bits = bytearray(b64decode(message.signature))
    bits[-1] ^= 1
    longer = json.dumps([said]).encode()
    message = {
        "": message,
        "body": replace(message, body=b'{"longer":' + longer + b"}"),
        "path": replace(message, path="/v1.0/debit/notifx"),
        "stamp": replace(message, stamp="2026-01-05T19:00:31+07:00"),
        "bits": replace(message, signature=b64encode(bits).decode()),
    }[changed]
    expected = REFUSED if changed else ACCEPTED
    assert referees.judge(message) == (expected, expected)


# ---- where they differ ----------------------------------------------------------------------


@pytest.mark.npm
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"n":1.0}', "it writes 1"),
        (b'{"n":1e2}', "it writes 100"),
        (b'{"n":-0}', "it writes 0"),
        (b'{"n":12345678901234567890}', "it rounds to 12345678901234567000"),
        (b'{"n":1e300}', "it writes 1e+300"),
        (b'{"customField":{"2":"b","1":"a"}}', "it sorts keys that are array indexes"),
        (b'{"u":"https:\\/\\/a.example"}', "it writes slashes without a backslash, unlike PHP"),
        (b'{"u":"\\u00e9"}', "it writes letters as they are"),
        (b'{"u":"\\u000A"}', "it writes short escapes, and hexadecimal digits in lower case"),
        (b'{"u":"\\u001F"}', "it writes short escapes, and hexadecimal digits in lower case"),
    ],
)
def test_a_body_that_javascript_would_have_written_otherwise(
    referees: Referees, body: bytes, reason: str
) -> None:
    """The documentation has the minified body hashed, not one that was written anew."""
    assert referees.judge(referees.signed(body)) == (ACCEPTED, REFUSED), reason


@pytest.mark.npm
@pytest.mark.parametrize(
    ("body", "rewritten", "reason"),
    [
        (b'{"n":1.0}', b'{"n":1}', "another number to most parsers behind this relay"),
        (b'{"u":"a\\/b"}', b'{"u":"a/b"}', "not what arrived, white space aside"),
        (b'{"u":"\\u00e9"}', '{"u":"é"}'.encode(), "not what arrived, white space aside"),
        (b'{"a":1,"a":2}', b'{"a":2}', "parsers disagree on which of two keys counts"),
        (b"[1]", b"[1]", "no JSON object"),
        (b'"{}"', b'"{}"', "no JSON object"),
        (b'{"u":"\\ud800"}', b'{"u":"\\ud800"}', "half a surrogate pair"),
        (
            b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
            b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
            "deeper than anything Midtrans sends",
        ),
        (b'{"n":' + b"1" * 15 + b"e0" + b"}", b'{"n":111111111111111}', "not what arrived"),
    ],
)
def test_a_body_that_only_the_library_takes(
    referees: Referees, body: bytes, rewritten: bytes, reason: str
) -> None:
    assert referees.judge(referees.signed(body, rewritten)) == (REFUSED, ACCEPTED), reason


@pytest.mark.npm
@pytest.mark.parametrize("stamp", ["2026-01-05T19:00:30", "2026-01-05", "now", "1767614430"])
def test_the_library_does_not_read_the_time(referees: Referees, stamp: str) -> None:
    """Without an offset, a time has no age and no day."""
    assert referees.judge(referees.signed(b"{}", stamp=stamp)) == (REFUSED, ACCEPTED)


@pytest.mark.npm
def test_the_library_takes_sloppy_base64(referees: Referees) -> None:
    """Here a signature has one spelling."""
    good = referees.signed(b"{}")
    for sloppy in (
        good.signature.rstrip("="),
        good.signature + "=",
        good.signature + "!",
        "\n" + good.signature,
        good.signature[:76] + "\n" + good.signature[76:],
        good.signature.replace("+", "-").replace("/", "_").rstrip("="),
    ):
        assert referees.judge(replace(good, signature=sloppy)) == (REFUSED, ACCEPTED), sloppy


@pytest.mark.npm
def test_the_library_takes_short_keys(process: subprocess.Popen[str]) -> None:
    weak = Referees(process, 1024)
    assert weak.theirs(weak.signed(b"{}")) == ACCEPTED
    with pytest.raises(ValueError, match="1024 bits"):
        weak.ours(weak.signed(b"{}"))


# ---- samples --------------------------------------------------------------------------------

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def message(path: str, at: datetime, changes: dict[str, str]) -> samples.Message:
    return samples.message(SERVICES[path], at, changes)


@pytest.mark.parametrize("path", SERVICES)
def test_a_reference_is_new_each_time(path: str) -> None:
    assert message(path, NOON, {}) != message(path, NOON, {})


def test_each_path_has_its_own_fields() -> None:
    assert "qris" in message(QRIS, NOON, {})["additionalInfo"]  # type: ignore[operator] # an object
    assert message(DEBIT, NOON, {})["finishedTime"] == "2026-01-05T19:00:00+07:00"
    assert message(ACCOUNT, NOON, {})["partnerServiceId"] == "  088899"


def test_fields_are_set_at_any_depth() -> None:
    changes = {
        "latestTransactionStatus": "03",
        "amount.value": "1.00",
        "additionalInfo.qris.issuerName": "é",
        "more.of.it": "x",
        "new": "y",
    }
    made = message(QRIS, NOON, changes)
    assert made["latestTransactionStatus"] == "03"
    assert made["amount"] == {"value": "1.00", "currency": "IDR"}
    assert made["additionalInfo"] == {
        "qris": {"issuerName": "é", "acquirerName": "gopay", "transactionType": "ON-US"}
    }
    assert made["more"] == {"of": {"it": "x"}}
    assert made["new"] == "y"


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "amount.", ".amount", "amount", "additionalInfo.qris"),
        *("latestTransactionStatus.x", "amount.value.x", "X-TIMESTAMP", "X-SIGNATURE"),
    ],
)
def test_what_cannot_be_set(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be set"):
        message(QRIS, NOON, {name: "x"})


def test_an_unknown_path_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match=re.escape(ACCOUNT)):
        PROVIDER.sample(SampleOrder("", Secret(""), NOON, {"path": "/v1.0/debit/notify/"}))
