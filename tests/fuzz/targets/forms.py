"""Forms: what is read is what another reader finds, and what is joined says which fields are there.

An input is a form in a body or a query.
"""

from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from relay.core.errors import Reason, Refusal
from relay.core.form import MAX_FIELDS, Form, joined, parse

SEEDS = (
    b"a=b&c=%C3%A9&d=x+y%20z",
    b"amount=1&Amount=2&amount%5B%5D=3&amount.x=4",
    b"=&&a&=b&a==&a=b=c",
    b"a=1;b=2",
    b"a=%&b=%4",
    b"a=%ff&b=%c3%28",
    b"%00=%00&a%00b=1&+a=2",
    b"\\x41=\\u0041&a=%5C%5Cx41",
    b"MessagingBinding.Address=%2B1&MessagingBinding.Address=%2B2&Body=hi",
    b"a=1&" * 40,
)
WORDS = (
    *(b"&", b"=", b"+", b";", b"%", b"%2", b"%41", b"%26", b"%3D", b"%00", b"%C3%A9", b"%ff"),
    *(b"amount", b"Amount", b"[]", b"[0]", b"%5B", b".", b"_", b"\\x41", b"\\", b"\x80"),
)
#: What a careless reader takes for one name.
_WANTED = ("amount", "a", "a_b", "data[id]")


def check(data: bytes) -> None:
    """Read a form here and by the standard library."""
    try:
        found = parse(data)
    except Refusal as refusal:
        assert refusal.reason is Reason.BODY_MALFORMED
        assert not _is_plain(data), f"refused for no reason: {refusal.detail}"
        return
    assert _is_plain(data)
    text = data.decode("ascii")
    theirs = parse_qsl(text, keep_blank_values=True, errors="strict", separator="&")
    assert list(found.fields) == theirs
    assert parse(urlencode(found.fields).encode()).fields == found.fields
    for name in _WANTED:
        _check_spellings(found, name)
    _check_joined(found)


def _is_plain(data: bytes) -> bool:
    try:
        unquote_to_bytes(data.replace(b"+", b" ")).decode()
        for pair in data.split(b"&"):
            for each in pair.split(b"=", 1):
                unquote_to_bytes(each).decode()
    except UnicodeDecodeError:
        return False
    escapes = data.split(b"%")[1:]
    return (
        data.isascii()
        and b";" not in data
        and data.count(b"&") < MAX_FIELDS
        and all(
            len(each) > 1 and all(digit in b"0123456789abcdefABCDEF" for digit in each[:2])
            for each in escapes
        )
    )


def _check_spellings(found: Form, name: str) -> None:
    other = found.other_spelling(name)
    names = [each for each, _ in found.fields]
    if other is not None:
        assert other != name
        assert other in names
        return
    assert not any(each != name and each.casefold() == name.casefold() for each in names)
    if "[" not in name:
        assert not any(each.startswith(f"{name}[") for each in names)


def _check_joined(found: Form) -> None:
    try:
        text = joined(found.fields)
    except Refusal as refusal:
        assert refusal.reason is Reason.FIELD_INVALID
        assert any(
            not each or not each.isascii() or len(each) > 64 or _odd(each)
            for each, _ in found.fields
        )
        return
    assert text == joined(found.fields[::-1])
    assert len(text) == sum(len(name) + len(value) for name, value in {*found.fields})


def _odd(name: str) -> bool:
    return any(not letter.isalnum() and letter not in "_.:~[]-" for letter in name)
