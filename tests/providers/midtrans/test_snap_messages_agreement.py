"""The relay and Midtrans' own library for Node judge messages alike, wherever they may.

The library parses a body and writes it anew before it hashes it, so it knows only bodies that
JavaScript would have written. Every kind of message on which the two differ is listed here.
"""

import hashlib
import json
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.request import Headers, Verification
from relay.core.secret import Secret
from relay.core.strict_json import minify
from relay.providers import EndpointOptions, Sample, Window
from relay.providers.midtrans.snap import PROVIDER
from tests.contracts.provider import delivery_of, outcome
from tests.harness import npm

pytestmark = pytest.mark.npm

LIBRARY = "midtrans-client@1.4.3"
PATH = "/v1.0/debit/notify"
STAMP = "2026-01-05T19:00:30+07:00"
NOW = datetime(2026, 1, 5, 12, 0, 30, tzinfo=UTC)
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
    stamp: str = STAMP


class Referees:
    """The relay, and Midtrans' library in a process of its own, with one key."""

    def __init__(self, process: subprocess.Popen[str], bits: int = 2048) -> None:
        self._process = process
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        public = self._private.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public = pem.decode()

    def signed(self, body: bytes, over: bytes | None = None, stamp: str = STAMP) -> Message:
        """Return a message signed over its minified body, or over another one."""
        digest = hashlib.sha256(minify(body) if over is None else over).hexdigest()
        text = f"POST:{PATH}:{digest}:{stamp}".encode()
        signature = self._private.sign(text, padding.PKCS1v15(), hashes.SHA256())
        return Message(body, b64encode(signature).decode(), stamp=stamp)

    def judge(self, message: Message) -> tuple[str, str]:
        """Return what the relay says, and what the library says."""
        return self.relay(message), self.library(message)

    def relay(self, message: Message) -> str:
        fields = (
            ("X-TIMESTAMP", message.stamp),
            ("X-SIGNATURE", message.signature),
            ("X-EXTERNAL-ID", "1"),
        )
        sample = Sample("POST", message.path, Headers(fields), message.body)
        options = EndpointOptions(secrets=(Secret(self.public),), window=Window(None, None))
        delivery = delivery_of(sample, "https://pay.example.com/snap", NOW)
        found = outcome(PROVIDER.bind(options), delivery)
        return ACCEPTED if isinstance(found, Verification) else REFUSED

    def library(self, message: Message) -> str:
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
    directory = npm.install(tmp_path_factory.mktemp("npm"), LIBRARY)
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


@pytest.mark.parametrize("stamp", ["2026-01-05T19:00:30", "2026-01-05", "now", "1767614430"])
def test_the_library_does_not_read_the_time(referees: Referees, stamp: str) -> None:
    """Without an offset, a time has no age and no day."""
    assert referees.judge(referees.signed(b"{}", stamp=stamp)) == (REFUSED, ACCEPTED)


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


def test_the_library_takes_short_keys(process: subprocess.Popen[str]) -> None:
    weak = Referees(process, 1024)
    assert weak.library(weak.signed(b"{}")) == ACCEPTED
    with pytest.raises(ValueError, match="1024 bits"):
        weak.relay(weak.signed(b"{}"))
