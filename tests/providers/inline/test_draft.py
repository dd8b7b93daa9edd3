"""Samples before they are signed."""

import json

import pytest

from relay.providers.inline import FormField, HeaderField, JsonField, QueryField, SampleMessage
from relay.providers.inline.draft import draft
from tests.providers.inline.describe import AT


def test_without_a_message_there_is_a_body_with_an_id() -> None:
    made = draft(None, AT)
    assert set(json.loads(made.content())) == {"id", "type"}
    assert made.fields() == (("Content-Type", "application/json"),)
    assert draft(None, AT, form=True).content().startswith(b"id=")


def test_json_and_what_is_put_into_it() -> None:
    made = draft(SampleMessage({"X-A": "1"}, {"q": "ä &"}, {"sign": "", "list": [{"a": 1}]}), AT)
    made.put(JsonField("/sign"), "s")
    made.put(JsonField("/list/0/b~1c"), "2")
    made.put(HeaderField("x-a"), "3")
    made.put(QueryField("t"), "4")
    assert made.content() == b'{"sign":"s","list":[{"a":1,"b/c":"2"}]}'
    assert made.fields() == (("Content-Type", "application/json"), ("X-A", "3"))
    assert made.suffix == "?q=%C3%A4+%26&t=4"
    assert made.has(JsonField("/list/0/b~1c"))
    assert not made.has(JsonField("/list/1"))
    assert not made.has(FormField("sign"))
    with pytest.raises(ValueError, match=r"^sign: the sample's body is no form"):
        made.put(FormField("sign"), "s")


def test_a_root_array() -> None:
    made = draft(SampleMessage(json=[{"id": 1}]), AT)
    made.put(JsonField("/0/sign"), "s")
    assert made.content() == b'[{"id":1,"sign":"s"}]'


def test_a_form_keeps_its_order() -> None:
    made = draft(SampleMessage(form={"sign": "", "b": "x y"}), AT)
    made.put(FormField("sign"), "+/=")
    made.put_in_body("c", "1")
    assert made.content() == b"sign=%2B%2F%3D&b=x+y&c=1"
    assert made.fields() == (("Content-Type", "application/x-www-form-urlencoded"),)
    assert made.has(FormField("b"))


def test_a_text_and_a_type_of_its_own() -> None:
    made = draft(SampleMessage({"content-type": "text/csv"}, text="a,{time:s}"), AT)
    assert made.content() == b"a,1767614400"
    assert made.fields() == (("content-type", "text/csv"),)
    with pytest.raises(ValueError, match=r"^a: cannot be set"):
        made.put_in_body("a", "1")


def test_a_query_alone_has_no_body() -> None:
    made = draft(SampleMessage(query={"id": "{hex}"}), AT)
    assert made.content() == b""
    assert made.fields() == ()
