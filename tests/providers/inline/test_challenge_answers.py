"""What challenges are answered with."""

import hashlib
import hmac
import json
from base64 import b64encode, urlsafe_b64encode

import pytest

from relay.core.conditions import Message
from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.providers.inline.challenge_answers import MAX_ANSWER, Answer, AnswerTemplate, templates
from relay.providers.inline.challenge_rules import AnswerRule
from tests.providers.inline.describe import delivery

KEY = Secret("the key of the tests")


def asked(
    headers: dict[str, str] | None = None, body: bytes = b"{}", target: str = "/hook"
) -> Message:
    return Message(delivery(headers, body, target), b"")


def refused(rule: AnswerRule, message: Message, key: Secret | None = KEY) -> Refusal:
    with pytest.raises(Refusal) as caught:
        Answer(rule).render(message, key)
    return caught.value


def test_a_text_is_text_and_never_anything_that_a_browser_runs() -> None:
    ack = Answer(AnswerRule("{query:c}")).render(asked(target="/hook?c=%3Cscript%3E+%C3%A9"), KEY)
    assert (ack.status, ack.body) == (200, "<script> é".encode())
    assert ack.content_type == "text/plain; charset=utf-8"
    assert ack.headers == (("X-Content-Type-Options", "nosniff"),)


def test_json_is_written_anew() -> None:
    rule = AnswerRule(None, {"a": "{json:/a}", "of": ("x{json:/n}", 5, True, None)})
    body = json.dumps({"a": 'q"</script>\n', "n": 1.50}).encode()
    ack = Answer(rule).render(asked(body=body), KEY)
    assert json.loads(ack.body) == {"a": 'q"</script>\n', "of": ["x1.5", 5, True, None]}
    assert ack.content_type == "application/json"
    assert ack.headers == (("X-Content-Type-Options", "nosniff"),)


def test_header_fields_stand_beside_it() -> None:
    rule = AnswerRule("", None, (("X-Hook-Secret", "{header:x-hook-secret}"),))
    ack = Answer(rule).render(asked({"X-Hook-Secret": "a b"}), KEY)
    assert ack.headers == (("X-Hook-Secret", "a b"), ("X-Content-Type-Options", "nosniff"))
    assert ack.body == b""


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha384", "sha512"])
def test_what_it_holds_can_be_signed(algorithm: str) -> None:
    texts = {
        each: f"{{hmac_{algorithm}_{each}:{{form:token}}.v0}}"
        for each in ("hex", "base64", "base64url")
    }
    message = asked(body=b"token=a+b")
    ack = Answer(AnswerRule(None, texts)).render(message, KEY)
    digest = hmac.digest(KEY.reveal(), b"a b.v0", algorithm)
    assert json.loads(ack.body) == {
        "hex": digest.hex(),
        "base64": b64encode(digest).decode(),
        "base64url": urlsafe_b64encode(digest).decode().rstrip("="),
    }


def test_a_check_of_twitters_kind() -> None:
    rule = AnswerRule(None, {"response_token": "sha256={hmac_sha256_base64:{query:crc_token}}"})
    ack = Answer(rule).render(asked(target="/hook?crc_token=abc"), KEY)
    expected = b64encode(hmac.digest(KEY.reveal(), b"abc", hashlib.sha256)).decode()
    assert json.loads(ack.body) == {"response_token": f"sha256={expected}"}


@pytest.mark.parametrize(
    ("text", "headers", "body", "target"),
    [
        ("{query:c}", {}, b"", "/hook"),
        ("{query:c}", {}, b"", "/hook?c="),
        ("{query:c}", {}, b"", "/hook?c=1&c=2"),
        ("{query:c}", {}, b"", "/hook?c=%ff"),
        ("{query:c}", {}, b"", "/hook?c=%00"),
        ("{query:c}", {}, b"", "/hook?c=%1b[31m"),
        ("{query:c}", {}, b"", "/hook?c=%c2%85"),
        ("{header:X-A}", {"X-A": "\xff"}, b"", "/hook"),
        ("{json:/a}", {}, b"[]", "/hook"),
        ("{json:/a}", {}, b"no json", "/hook"),
        ("{json:/a}", {}, b'{"a":{"b":1}}', "/hook"),
        ("{json:/a}", {}, b'{"a":null}', "/hook"),
        ("{json:/a}", {}, b'{"a":"\\ud800"}', "/hook"),
        ("{form:a}", {}, b"a=%zz", "/hook"),
        ("{hmac_sha256_hex:{json:/a}}", {}, b'{"a":"\\ud800"}', "/hook"),
    ],
)
def test_what_is_no_text_is_refused(
    text: str, headers: dict[str, str], body: bytes, target: str
) -> None:
    refusal = refused(AnswerRule(text), asked(headers, body, target))
    assert refusal.reason in {Reason.FIELD_INVALID, Reason.BODY_MALFORMED}


@pytest.mark.parametrize("value", ["a%0d%0aSet-Cookie:+b", "a%0a", "%c3%a9", "+a", "a%7f", "a%00"])
def test_no_header_field_holds_what_ends_it(value: str) -> None:
    rule = AnswerRule("", None, (("X-A", "{query:c}"),))
    refusal = refused(rule, asked(target=f"/hook?c={value}"))
    assert refusal.reason is Reason.FIELD_INVALID


def test_it_is_bounded() -> None:
    rule = AnswerRule("{query:c}")
    longest = "c" * MAX_ANSWER
    assert len(Answer(rule).render(asked(target=f"/?c={longest}"), None).body) == MAX_ANSWER
    assert refused(rule, asked(target=f"/?c={longest}c")).reason is Reason.FIELD_INVALID
    both = AnswerRule("{query:c}", None, (("X-A", "{query:c}"),))
    half = "c" * (MAX_ANSWER // 2 + 1)
    assert refused(both, asked(target=f"/?c={half}")).reason is Reason.FIELD_INVALID


def test_without_a_secret_nothing_is_signed() -> None:
    rule = AnswerRule("{hmac_sha256_hex:{query:c}}")
    assert refused(rule, asked(target="/?c=1"), None).reason is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "a brace stands alone"),
        ('{"challenge": "{json:/c}"}', "a brace stands alone"),
        ("{body}", "there is no such placeholder"),
        ("{secret}", "there is no such placeholder"),
        ("{json:c}", "write a JSON pointer"),
        ("{query:}", "there is no such placeholder"),
        ("{hmac_sha256_hex:}", "signs nothing of the request"),
        ("{hmac_sha256_hex:abc}", "signs nothing of the request"),
        ("{hmac_sha256_hex:{hmac_sha256_hex:{json:/a}}}", "a brace stands alone"),
        ("{hmac_sha3_hex:{json:/a}}", "a brace stands alone"),
    ],
)
def test_mistakes_in_a_template(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AnswerTemplate(text)


def test_every_template_is_found() -> None:
    rule = AnswerRule(None, {"a": "1", "b": ("2", {"c": "3"})}, (("X-A", "4"),))
    assert [*templates(rule)] == [
        (("json", "a"), "1"),
        (("json", "b", 0), "2"),
        (("json", "b", 1, "c"), "3"),
        (("headers", "X-A"), "4"),
    ]
