"""JSON as it is written: without a member, and with sorted keys."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.errors import Reason, Refusal
from relay.core.json_text import sorted_keys, without
from relay.core.strict_json import parse


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"sign":"s"}', b"{}"),
        (b'{"a":1,"sign":"s"}', b'{"a":1}'),
        (b'{"sign":"s","a":1}', b'{"a":1}'),
        (b'{"sign": "s", "a": 1.50}', b'{"a": 1.50}'),
        (b'{"a": 1, "sign": "s", "b": 2}', b'{"a": 1, "b": 2}'),
        (b'{\n  "a": 1,\n  "sign": "s"\n}', b'{\n  "a": 1\n}'),
        (b'{\n  "sign" : "s",\n  "a": 1\n}', b'{\n  "a": 1\n}'),
        (b' {"sign":{"sign":[1,{}]},"a":"\\/\\u00e9"} ', b' {"a":"\\/\\u00e9"} '),
        # Not that one.
        (b'{"a":{"sign":1}}', b'{"a":{"sign":1}}'),
        (b'{"a":[{"sign":1}],"sign":2}', b'{"a":[{"sign":1}]}'),
        (b'{"a":"\\"sign\\":1","sign":2}', b'{"a":"\\"sign\\":1"}'),
        (b'{"a\\"sign":1,"sign":2}', b'{"a\\"sign":1}'),
        (b'{"a":"\\\\","sign":2}', b'{"a":"\\\\"}'),
        (b'["sign"]', b'["sign"]'),
        (b'{"SIGN":1}', b'{"SIGN":1}'),
    ],
)
def test_without_a_member(body: bytes, left: bytes) -> None:
    assert without(body, ["sign"]) == left


def test_without_a_member_of_an_inner_object() -> None:
    body = b'{"other":{"sign":1},"meta":{"a":"x","sign":"s"},"sign":2}'
    assert without(body, ["meta", "sign"]) == body.replace(b',"sign":"s"', b"")
    for steps in (["meta", "absent"], ["absent", "sign"], ["sign", "a"], ["meta", "a", "b"]):
        assert without(body, steps) == body


@pytest.mark.parametrize("name", [",", '],"', ":", "\\", '"', "é", "\u2028", "a b"])
def test_a_name_may_be_any(name: str) -> None:
    rest = {"x": [",", ":", name, {name: name}]}
    body = json.dumps({"y": name, name: 1} | rest, ensure_ascii=False)
    assert json.loads(without(body.encode(), [name])) == {"y": name} | rest


def test_too_many_of_one_name_refuse() -> None:
    inner = ",".join(['{"sign":1}'] * 1000)
    assert without(f'{{"sign":2,"a":[{inner}]}}'.encode(), ["sign"])
    with pytest.raises(Refusal) as caught:
        without(f'{{"a":[{inner}],"sign":2}}'.encode(), ["sign"])
    assert caught.value.reason is Reason.FIELD_INVALID


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"b":1,"a":2}', '{"a":2,"b":1}'),
        ('[ {"b":1.0,"B":1e5} , "z a" ]', '[{"B":1e5,"b":1.0},"z a"]'),
        ('{"b":"\\/\\u00e9","a":"\\\\\\"\\n"}', '{"a":"\\\\\\"\\n","b":"\\/\\u00e9"}'),
        # By code points: a surrogate pair comes behind what is below U+10000.
        ('{"😀":1,"\uffee":2,"é":3}', '{"é":3,"\uffee":2,"😀":1}'),
        # By what a key says, and not by how it is written.
        ('{"b":1,"\\u0061":{"d":1,"\\u0063":"\\/"}}', '{"\\u0061":{"\\u0063":"\\/","d":1},"b":1}'),
        ('{"a\\/b":1,"a.b":2}', '{"a.b":2,"a\\/b":1}'),
    ],
)
def test_sorted_keys(body: str, said: str) -> None:
    written = body.encode()
    assert sorted_keys(written, parse(written)).decode() == said


@pytest.mark.parametrize("rest", ["1", '"\\/"'])
def test_a_member_is_left_out_of_sorted_keys(rest: str) -> None:
    body = f'{{"s":"x","b":{rest},"a":{{"s":1,"c":2}}}}'.encode()
    value = parse(body)
    assert sorted_keys(body, value, ["s"]).decode() == f'{{"a":{{"c":2,"s":1}},"b":{rest}}}'
    assert sorted_keys(body, value, ["a", "s"]).decode() == f'{{"a":{{"c":2}},"b":{rest},"s":"x"}}'
    assert sorted_keys(body, value, ["no", "s"]) == sorted_keys(body, value)
    assert value == parse(body)


def test_keys_with_escapes_are_few() -> None:
    members = ",".join(f'"\\u00e9{each}":1' for each in range(2001))
    body = f"{{{members}}}".encode()
    with pytest.raises(Refusal) as caught:
        sorted_keys(body, parse(body))
    assert caught.value.reason is Reason.FIELD_INVALID


texts = st.text(alphabet='ab"\\/é\u2028😀\n', max_size=4)
values = st.recursive(
    st.integers() | st.booleans() | st.none() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4),
)


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(texts, values, max_size=5), st.booleans())
def test_it_agrees_with_the_standard_library(value: dict[str, object], ascii_: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_).encode()
    expected = json.dumps(value, ensure_ascii=ascii_, sort_keys=True, separators=(",", ":"))
    assert sorted_keys(body, parse(body)) == expected.encode()
    name = next(iter(value), "a")
    kept = {key: each for key, each in value.items() if key != name}
    if ascii_ and not name.isascii():
        return
    assert without(body, [name]) == json.dumps(kept, ensure_ascii=ascii_).encode()
