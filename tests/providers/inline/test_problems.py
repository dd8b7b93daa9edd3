"""The mistakes of a description."""

import hashlib
import hmac
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from relay.core.errors import Reason, Refusal
from relay.providers import RequiredField
from relay.providers.inline import (
    FormField,
    HeaderField,
    HeaderFields,
    JsonField,
    JwtRule,
    TimeRule,
)
from relay.providers.inline.problems import problems
from relay.providers.inline.provider import InlineProvider
from tests.providers.inline.describe import bound, delivery, described

BASE64 = "whsec_" + b64encode(bytes(range(24))).decode()
# What a description cannot mean.

TIME = TimeRule(HeaderField("X-Time"), "s")
NOWHERE = TimeRule(None, "s")
BOUND = JwtRule(("HS256",), body_sha256="hash")
HS256 = JwtRule(("HS256",))
UNSAID, SEVERAL = HeaderFields(()), HeaderFields(("X-One", "X-Two"))
KEYED = "t={timestamp},v1={signature}"


@pytest.mark.parametrize(
    ("rule", "key", "said"),
    [
        # the body is not covered
        ({"signed": "{timestamp}", "time": TIME}, "signed", "covers nothing"),
        ({"signed": "{method}{path_query}{host}{header:X}"}, "signed", "covers nothing"),
        ({"signed": ""}, "signed", "covers nothing"),
        ({"signed": "body"}, "signed", "covers nothing"),
        ({"scheme": "rsa", "signed": "{path}"}, "signed", "covers nothing"),
        # the signature and its time alone
        ({"source": JsonField("/s"), "signed": "{json:/s}"}, "signed", "only the signature"),
        ({"source": JsonField("/s"), "signed": "{json:/s}{json:/s}"}, "signed", "only the sig"),
        (
            {"time": TimeRule(JsonField("/t"), "iso8601"), "signed": "{json:/t}"},
            "signed",
            "or its time",
        ),
        (
            {
                "source": JsonField("/s"),
                "time": TimeRule(JsonField("/t"), "s"),
                "signed": "{json:/t}{json:/s}{header:X}",
            },
            "signed",
            "or its time",
        ),
        # placeholders
        ({"signed": "{body}{bdy}"}, "signed", "no such placeholder"),
        ({"format": "{sig}"}, "format", "write"),
        ({"signed": "{body}{secret}"}, "signed", "leave it out"),
        ({"scheme": "digest"}, "signed", "anybody could compute"),
        ({"source": JsonField("/s")}, "signed", "cannot cover all of it"),
        # the time
        ({"signed": "{timestamp}{body}"}, "signed", "needs the key timestamp"),
        ({"time": TIME}, "timestamp", "not signed"),
        ({"time": TimeRule(JsonField("/t"), "s"), "signed": "{json:/a}"}, "timestamp", "not sign"),
        ({"format": KEYED}, "signed", "not signed"),
        ({"time": NOWHERE, "signed": "{timestamp}{body}"}, "timestamp", "say where"),
        ({"time": TIME, "format": KEYED, "signed": "{timestamp}{body}"}, "timestamp", "already"),
        # schemes
        ({"scheme": "rsa", "algorithm": "sha1"}, "algorithm", "sha256, sha384 or sha512"),
        ({"scheme": "ecdsa", "algorithm": "md5"}, "algorithm", "sha256, sha384 or sha512"),
        ({"scheme": "rsa", "key_encoding": "hex"}, "secret_encoding", "PEM"),
        ({"scheme": "ed25519", "algorithm": "sha1"}, "algorithm", "no algorithm"),
        ({"scheme": "token", "source": HeaderField("User-Agent")}, "from", "is forwarded"),
        ({"scheme": "token", "source": HeaderField("X-Partner-ID")}, "from", "another meaning"),
        ({"scheme": "token", "source": HeaderField("X-Forwarded-Host")}, "from", "another meaning"),
        ({"scheme": "token", "signed": "{json:/a}"}, "signed", "signs nothing"),
        ({"scheme": "token", "time": TIME}, "timestamp", "signs no time"),
        ({"scheme": "token", "format": KEYED}, "format", "signs no time"),
        ({"source": UNSAID}, "from", "is needed"),
        ({"scheme": "token", "source": UNSAID}, "from", "is needed"),
        ({"source": SEVERAL, "format": KEYED, "signed": "{timestamp}{body}"}, "format", "several"),
        ({"scheme": "basic", "signed": "{body}{body}"}, "signed", "no meaning with scheme: basic"),
        ({"scheme": "basic", "key_encoding": "hex"}, "secret_encoding", "no meaning"),
        # tokens that hold claims
        ({"scheme": "jwt"}, "algorithms", "is needed"),
        ({"scheme": "jwt", "jwt": JwtRule(())}, "algorithms", "does not choose its own"),
        ({"scheme": "jwt", "jwt": HS256, "signed": "{path}"}, "signed", "with scheme: jwt"),
        ({"scheme": "jwt", "jwt": HS256, "algorithm": "sha512"}, "algorithm", "no meaning"),
        ({"scheme": "jwt", "jwt": HS256, "encoding": "base64"}, "encoding", "no meaning"),
        ({"scheme": "jwt", "jwt": HS256, "time": TIME}, "timestamp", "no meaning"),
        ({"scheme": "jwt", "jwt": HS256, "format": KEYED}, "format", "leave {timestamp} out"),
        ({"scheme": "jwt", "jwt": HS256, "source": UNSAID}, "from", "is needed"),
        ({"scheme": "jwt", "jwt": BOUND, "source": JsonField("/t")}, "from", "inside the body"),
        ({"scheme": "jwt", "jwt": BOUND, "source": FormField("t")}, "from", "inside the body"),
        ({"scheme": "jwt", "jwt": HS256, "source": HeaderField("Accept")}, "from", "is forwarded"),
        (
            {"scheme": "jwt", "jwt": JwtRule(("HS256",), audience="a", detached=True)},
            "audience",
            "a signature that holds no claims",
        ),
        (
            {"scheme": "jwt", "jwt": JwtRule(("HS256",), body_sha256="a", detached=True)},
            "claims",
            "a signature that holds no claims",
        ),
        ({"jwt": JwtRule(("HS256",))}, "algorithms", "no meaning with scheme: hmac"),
        ({"jwt": JwtRule((), issuer="a")}, "issuer", "no meaning with scheme: hmac"),
        ({"jwt": JwtRule((), expires=False)}, "exp", "no meaning with scheme: hmac"),
        ({"scheme": "none"}, "from", "no meaning with scheme: none"),
        ({"scheme": "none", "source": UNSAID, "encoding": "base64"}, "encoding", "no meaning"),
        ({"scheme": "none", "source": UNSAID, "time": TIME}, "timestamp", "no meaning"),
    ],
)
def test_a_mistake_is_found_where_it_stands(rule: dict[str, Any], key: str, said: str) -> None:
    found = [*problems(described(**rule))]
    assert [place for place, _ in found] == [("signature", key)]
    assert said in found[0][1]
    with pytest.raises(ValueError, match=f"^signature.{key}: "):
        InlineProvider(described(**rule))


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"signed": "{json:/a}"},
        {"signed": "{sha256_hex:minified_body}"},
        {"source": JsonField("/s"), "signed": "{json:/a}"},
        {"scheme": "digest", "signed": "{secret}{body}"},
        {"format": KEYED, "signed": "{timestamp}.{body}"},
        {"format": KEYED, "signed": "{timestamp}.{body}", "time": NOWHERE},
        {"time": TIME, "signed": "{timestamp}{body}"},
        {"time": TIME, "signed": "{header:x-time}{body}"},
        {"time": TimeRule(JsonField("/t"), "iso8601")},
        {"time": TimeRule(JsonField("/t"), "iso8601"), "signed": "{json:/t}{json:/a}"},
        {"source": JsonField("/s"), "signed": "{json:/s}{json:/a}"},
        {"scheme": "token", "format": "Bearer {signature}"},
        {"scheme": "ed25519", "key_encoding": "hex"},
    ],
)
def test_what_can_be_meant(rule: dict[str, Any]) -> None:
    assert [*problems(described(**rule))] == []


def test_a_token_is_no_event_key() -> None:
    token = described(scheme="token", event_key=(HeaderField("x-signature"),))
    assert [place for place, _ in problems(token)] == [("event_key",)]
    assert [*problems(described(event_key=(HeaderField("x-signature"),)))] == []


@pytest.mark.parametrize(
    ("signed", "said", "taken"),
    [
        ("{json:/id}", "application/json", True),
        ("{json:/id}", "application/x-www-form-urlencoded", False),
        ("{json:/id}", "application/json; charset=utf-7", False),
        ("{body}", "application/x-www-form-urlencoded", True),
    ],
)
def test_where_fields_are_signed_nobody_may_take_the_body_for_something_else(
    signed: str, said: str, taken: bool
) -> None:
    body = b'{"id": "1", "more": "&id=2&"}'
    mac = hmac.digest(b"k", body if signed == "{body}" else b"1", hashlib.sha256).hex()
    came = delivery({"X-Signature": mac, "Content-Type": said}, body)
    inspector = bound(described(signed=signed, event_key=(JsonField("/id"),)), "k")
    if taken:
        assert inspector.verify(came).key == "1"
        return
    with pytest.raises(Refusal) as caught:
        inspector.verify(came)
    assert caught.value.reason is Reason.FIELD_INVALID


def test_a_sender_of_head_alone_sends_nothing() -> None:
    found = [*problems(replace(described(), methods=("HEAD",)))]
    assert [place for place, _ in found] == [("methods",)]
    assert not [*problems(replace(described(), methods=("HEAD", "POST")))]


def test_a_star_stands_for_the_elements_that_hold_the_signatures() -> None:
    source = JsonField("/a/*/s")
    assert not [*problems(described(source=source, signed="{json:/a/*/id}{json:/shop}"))]
    for at, signed in ((source, "{json:/b/*/id}"), (HeaderField("X-S"), "{json:/a/*/id}")):
        [(place, said)] = problems(described(source=at, signed=signed))
        assert place == ("signature", "signed")
        assert "needs a signature in each element" in said


@pytest.mark.parametrize("pointer", ["/auth/t", "/auth"])
def test_a_token_is_no_field_that_must_have_a_value(pointer: str) -> None:
    token = described(scheme="token", source=JsonField("/auth/t"))
    required = (RequiredField(pointer, ("x",)),)
    assert [place for place, _ in problems(replace(token, must=required))] == [("must", 0)]
    with pytest.raises(ValueError, match=r"^must\.0: "):
        bound(token, "key", must=required)
    bound(token, "key", must=(RequiredField("/auths", ("x",)),))


@pytest.mark.parametrize(
    ("source", "named", "is_token"),
    [
        ("/a/*/t", "/a/0/t", True),
        ("/a/*/t", "/a/1", True),
        ("/a/*/t", "/a", True),
        ("/a/0/t", "/a/*/t", True),
        ("/a/*/t", "/a/0/id", False),
        ("/a/*/t", "/a/b/t", False),
        ("/a/*/t", "/a/0/t/u", False),
        ("/a/t", "/a/0", False),
    ],
)
def test_a_token_in_elements_names_no_event(source: str, named: str, *, is_token: bool) -> None:
    token = replace(
        described(scheme="token", source=JsonField(source)),
        must=(RequiredField(named, ("x",)),),
        event_key=() if "*" in named else (JsonField(named),),
    )
    found = [place for place, _ in problems(token)]
    assert (("must", 0) in found) is is_token
    if "*" not in named:
        assert (("event_key",) in found) is is_token
