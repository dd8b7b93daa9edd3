"""A body is shown with indentation, and with nothing else changed."""

import re

import pytest

from relay.admin.readable_body import MAX_SHOWN, indented, readable_body


def test_json_gets_a_line_for_each_member() -> None:
    text = '{"a":1.00,"b":[],"c":{ },"d":[1,{"e":"x,:{\\"y"},null],"a":2}'
    assert indented(text) == (
        '{\n  "a": 1.00,\n  "b": [],\n  "c": {},\n  "d": [\n    1,\n    {\n'
        '      "e": "x,:{\\"y"\n    },\n    null\n  ],\n  "a": 2\n}'
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"amount": 1e400, "big": 123456789012345678901234567890, "dash": "\\u2013 é \\/"}',
        '[[], {}, [[]], "", " { : , ] ", -0.0]',
        "null",
    ],
)
def test_only_white_space_is_changed(text: str) -> None:
    shown = indented(text)
    assert shown is not None
    strings = re.compile(r'"(?:[^"\\]|\\.)*"')
    assert strings.findall(shown) == strings.findall(text)
    assert re.sub(r"\s", "", strings.sub("s", shown)) == re.sub(r"\s", "", strings.sub("s", text))


@pytest.mark.parametrize("text", ["", "{", "a=b", "<xml/>", '{"a": 1} x', "[" * 60 + "]" * 60])
def test_what_is_no_json_has_no_lines(text: str) -> None:
    assert indented(text) is None


def test_endless_nesting_is_shown_as_it_came() -> None:
    body = b"[" * (MAX_SHOWN // 2)
    assert readable_body(body, "application/json").pretty is None


def test_a_form_is_shown_by_its_fields() -> None:
    body = b"order_id=A%201&amount=10.00&empty="
    shown = readable_body(body, "application/x-www-form-urlencoded; charset=utf-8")
    assert shown.fields == (("order_id", "A 1"), ("amount", "10.00"), ("empty", ""))
    assert readable_body(body, "text/plain").fields == ()
    many = readable_body(b"&".join([b"a=b"] * 501), "application/x-www-form-urlencoded")
    assert many.fields == ()


def test_of_a_large_body_the_beginning_is_shown() -> None:
    shown = readable_body(b"[" + b"1," * MAX_SHOWN + b"1]", "application/json")
    assert (shown.cut, shown.pretty) == (True, None)
    assert shown.size == 2 * MAX_SHOWN + 3
    assert len(shown.raw) == MAX_SHOWN


def test_bytes_that_are_no_text_are_escaped() -> None:
    assert readable_body(b"\xff\x00a", "").raw == "\\xff\x00a"
