import pytest

from relay.core import strict_json
from relay.core.json_pointer import Pointer, json_text, masked

MESSAGE = strict_json.parse_object(
    b'{"a": {"b": [10, {"c": "x"}], "0": "zero"}, "": "empty", "m~n": 1, "s/t": 2, "n": null}'
)


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/a/b/0", "10"),
        ("/a/b/1/c", "x"),
        ("/a/0", "zero"),
        ("/", "empty"),
        ("/m~0n", "1"),
        ("/s~1t", "2"),
        ("/n", ""),
        ("/a/b/2", ""),
        ("/a/b/01", ""),
        ("/a/b/-1", ""),
        ("/a/b/x", ""),
        ("/a/b/0/c", ""),
        ("/x", ""),
    ],
)
def test_what_it_finds(pointer: str, found: str) -> None:
    assert json_text(Pointer(pointer).find(MESSAGE)) == found


@pytest.mark.parametrize("text", ["", "a", "a/b", "/a~", "/a~2"])
def test_what_is_no_pointer(text: str) -> None:
    with pytest.raises(ValueError, match="JSON pointer"):
        Pointer(text)


@pytest.mark.parametrize(
    ("body", "text"),
    [(b'"x"', "x"), (b"1.0", "1.0"), (b"1e2", "1e2"), (b"true", "true"), (b"false", "false")],
)
def test_values_are_spelled_as_they_were_written(body: bytes, text: str) -> None:
    assert json_text(strict_json.parse(body)) == text


def test_objects_and_lists_have_no_spelling() -> None:
    assert json_text({}) is None
    assert json_text([]) is None


@pytest.mark.parametrize(
    ("body", "other"),
    [
        (b'{"order": {"Id": 1, "id": 2, "ID": 3}}', "Id"),
        (b'{"Order": {"id": 1}, "order": {"id": 2}}', "Order"),
        (b'{"order": [{"\xc4\xb1d": 1}]}', None),
        (b'{"order": {"id": 1, "data": {"ID": 1}}, "other": {"ID": 2}}', None),
        (b"{}", None),
    ],
)
def test_a_name_in_other_letters_is_found(body: bytes, other: str | None) -> None:
    assert Pointer("/order/id").other_spelling(strict_json.parse_object(body)) == other


# ---- masked values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "pointers", "shown"),
    [
        (b'{"a": {"b": "x"}, "c": 1.50}', ("/a/b",), b'{"a":{"b":"***"},"c":1.50}'),
        (b'{"a": [{"b": {"c": 1}}]}', ("/a/0/b",), b'{"a":[{"b":"***"}]}'),
        (b'{"a": 1, "b": null}', ("/b", "/c", "/a/x", "/a"), b'{"a":"***","b":"***"}'),
        (b'{"a": ["x"]}', ("/a/0",), b'{"a":["***"]}'),
        (b'{"a": ["x"]}', ("/a/1", "/a/x"), b'{"a":["x"]}'),
        (
            b'{"a": [{"b": 1, "c": 2}, {"b": 3}, 4]}',
            ("/a/*/b",),
            b'{"a":[{"b":"***","c":2},{"b":"***"},4]}',
        ),
        (b'{"a": [[1], [2, 3]]}', ("/a/*/*",), b'{"a":[["***"],["***","***"]]}'),
        (b'{"a": {"*": 1, "b": 2}}', ("/a/*",), b'{"a":{"*":"***","b":2}}'),
        (b'{"a": "x"}', (), b'{"a": "x"}'),
        (b"no JSON", (), b"no JSON"),
        (b"no JSON", ("/a",), b"***"),
        (b'["x"]', ("/0",), b"***"),
    ],
)
def test_a_body_with_values_masked(body: bytes, pointers: tuple[str, ...], shown: bytes) -> None:
    assert masked(body, pointers) == shown
