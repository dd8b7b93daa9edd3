import pytest

from relay.core.redaction import HIDDEN, NOTHING, UNKNOWN, Redaction

BODY = b'{"card": {"number": "4111 1111", "cvv": 123, "brand": "visa"}, "amount": 10.50}'


def test_values_are_masked_in_their_places_and_where_they_are_repeated() -> None:
    seen = Redaction(["/card/number", "/card/cvv"]).of(BODY)
    assert seen.body == (b'{"card":{"number":"***","cvv":"***","brand":"visa"},"amount":10.50}')
    assert seen.text("thanks for 4111 1111 and visa") == "thanks for *** and visa"
    assert seen.text('{"echo": "4111 1111"}') == '{"echo": "***"}'
    assert seen.answer("thanks for 4111 11") == "thanks for ***"


@pytest.mark.parametrize(
    ("pointer", "body", "masked"),
    [
        ("/a/*/b", b'{"a": [{"b": "x"}, {"c": 1}, 2]}', b'{"a":[{"b":"***"},{"c":1},2]}'),
        ("/a/*", b'{"a": {"x": 1, "y": [2]}}', b'{"a":{"x":"***","y":"***"}}'),
        ("/a/*", b'{"a": {"*": 1, "y": 2}}', b'{"a":{"*":"***","y":2}}'),
        ("/a/1", b'{"a": [1, 2, 3]}', b'{"a":[1,"***",3]}'),
        ("/0/id", b'[{"id": "x"}]', b'[{"id":"***"}]'),
        ("/a~1b", b'{"a/b": null}', b'{"a/b":"***"}'),
        ("/a", b'{"a": {"deep": ["er"]}}', b'{"a":"***"}'),
        ("/a", b'{"b": 1e5}', b'{"b": 1e5}'),
    ],
)
def test_pointers(pointer: str, body: bytes, masked: bytes) -> None:
    assert Redaction([pointer]).of(body).body == masked


def test_all_texts_within_a_masked_value_are_masked_elsewhere() -> None:
    seen = Redaction(["/person"]).of(b'{"person": {"name": "Kari Nordmann", "ids": [12345]}}')
    assert seen.text("Kari Nordmann has 12345") == "*** has ***"
    assert seen.text("name") == "name"


@pytest.mark.parametrize(
    "answer", ['a \\"quoted\\" name', "a &quot;quoted&quot; name", "a%20%22quoted%22%20name"]
)
def test_a_value_is_known_as_others_write_it(answer: str) -> None:
    seen = Redaction(["/name"]).of(b'{"name": "a \\"quoted\\" name"}')
    assert seen.answer(f"no {answer}!") == "no ***!"


@pytest.mark.parametrize("body", [b"", b"a=b", b'{"a": 1', b'{"card": 1, "card": 2}', b"\xff"])
def test_of_what_is_no_json_nothing_is_shown(body: bytes) -> None:
    seen = Redaction(["/card"]).of(body)
    assert seen.body == HIDDEN.encode()
    assert seen.answer("it may say anything") == UNKNOWN
    assert NOTHING.of(body).body == body


def test_what_answered_a_body_that_is_gone_is_not_shown() -> None:
    assert Redaction(["/card"]).of(None).answer("anything") == UNKNOWN
    assert NOTHING.of(None).answer("anything") == "anything"


def test_a_signed_text_shows_the_body_as_it_is_shown_elsewhere() -> None:
    redaction = Redaction(["/card/cvv"])
    assert b"123" not in redaction.part(b"v0:" + BODY, BODY)
    assert b"123" not in redaction.part(BODY.replace(b" ", b""), BODY)
    assert redaction.part(b"visa10.50", BODY) == b"visa10.50"
    assert redaction.part(b"v0:a=b", b"a=b") == b"v0:" + HIDDEN.encode()
    assert NOTHING.part(BODY, BODY) == BODY
