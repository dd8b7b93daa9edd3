"""Templates: what is read is what was written, and a second reading of the signed text is found.

An input is a template, a line break, and the body of a message. The first byte of the body tells
whether the configuration names the URL.
"""

import json

from relay.core.errors import Reason, Refusal
from relay.core.urls import signed_url
from relay.providers.inline.ambiguity import Ambiguity
from relay.providers.inline.filled import Filled, HashOfSecret, with_secret
from relay.providers.inline.message import Message
from relay.providers.inline.placeholders import NAMED
from relay.providers.inline.signed_text import Hashed, Literal, Part, Placeholder, Template
from tests.providers.inline.describe import message

_URL = signed_url("https://pay.example.com/in?b=2")
_HEADERS = {"X-A": "1.2", "X-B": "", "X-C": "h\xe9"}
_REASONS = {
    Reason.BODY_MALFORMED,
    Reason.FIELD_INVALID,
    Reason.SIGNATURE_MISSING,
    Reason.SIGNATURE_MISMATCH,
    Reason.TIMESTAMP_INVALID,
}
#: Counting readings is quadratic.
_LONGEST = 200

SEEDS = (
    b'{body}\n{"a":"1"}',
    b'v0:{timestamp}:{body}\n{"a":"1"}',
    b'{header:X-A}.{timestamp}.{body}\n{"a":"1"}',
    b'{json:/a}{json:/b}{secret}\n{"a":"1","b":"2"}',
    b'{json:/a}:{json:/b/0}:{json:/c}\n{"a":"1:","b":[10.00],"c":true}',
    b"{method}\\n{path_query}\\n{host};{sha256_base64:body}\n{}",
    b'{path}{json:/a~1b}{secret}{json:/a}\n {"a/b":"x","a":""}',
    b"{public_url}{sha256_hex:minified_body}{minified_body}\n{ }",
    b"{{body}\n{}",
    b"{nothing}\n{}",
    b'{json_sorted}{body_without:/a}\n{"b":"\\\\/","a":1.0}',
    b"{form:a}:{form:b}\na=1%3A&b=2",
    b"{form_sorted}{query:b}{date}\nb=2&a=1",
    b'{md5_hex:{secret}{json:/a}:{json:/b}}{sha512_base64:json:/a}\n{"a":"1:","b":"2"}',
    b"{sha1_hex:{sha256_hex:{form_sorted}}}\na=1",
)
WORDS = (
    *(b"{body}", b"{minified_body}", b"{sha256_hex:body}", b"{sha256_base64:body}", b"{path}"),
    *(b"{json:/a}", b"{json:/b}", b"{json:/a/0}", b"{header:X-A}", b"{header:X-B}", b"{secret}"),
    *(b"{json_sorted}", b"{form_sorted}", b"{body_without:/a}", b"{form:a}", b"{query:b}"),
    *(b"{date}", b"{md5_hex:", b"{sha256_base64:", b"a=1&", b"%3A"),
    *(b"{timestamp}", b"{host}", b"{method}", b"{path_query}", b"{public_url}", b"{", b"}", b"~1"),
    *(b'{"a":"', b'","b":"', b'"}', b":", b".", b"\n"),
)


def check(data: bytes) -> None:
    """Parse a template, fill it, and count the readings of what came of it."""
    text, _, body = data.decode("latin-1").partition("\n")
    try:
        template = Template(text)
    except ValueError as error:
        assert str(error)
        return
    again = Template("".join(map(_written, template.parts)))
    assert [*map(_written, again.parts)] == [*map(_written, template.parts)]
    url_known = body[:1] == "{"
    found = message(_HEADERS, body.encode("latin-1"), _URL if url_known else None)
    try:
        filled = template.fill(found, "1767614400")
    except Refusal as refusal:
        assert refusal.reason in _REASONS
        return
    _check_parts(template, found, filled)
    if not template.covers_body:
        _check_readings(template, filled, url_known=url_known)


def _written(part: Part) -> str:
    if isinstance(part, Literal):
        return part.text.decode()
    if isinstance(part, Hashed):
        inner = "".join(map(_written, part.template.parts))
        return f"{{{part.algorithm}_{part.encoding}:{inner}}}"
    slash = "/" if part.kind in {"json", "body_without"} else ""
    return f"{{{part.kind}:{slash}{part.name}}}" if part.kind in NAMED else f"{{{part.kind}}}"


def _check_parts(template: Template, found: Message, filled: tuple[Filled, ...]) -> None:
    for part, value in zip(template.parts, filled, strict=True):
        if isinstance(part, Literal):
            assert value == part.text
        elif isinstance(part, Hashed):
            assert isinstance(value, HashOfSecret) is part.template.holds("secret")
        elif part.kind == "secret":
            assert value is None
        elif part.kind == "body":
            assert value == found.body
        elif part.kind == "json":
            assert part.name in template.fields
            _check_field(found.body, part.name, value)


def _check_field(body: bytes, name: str, value: Filled) -> None:
    """Look a plain field up by another way."""
    if "/" in name or "~" in name:
        return
    held = json.loads(body, parse_int=str, parse_float=str).get(name)
    spelled = {True: "true", False: "false", None: ""}
    expected = held if isinstance(held, str) else spelled[held]
    assert value == expected.encode()


def _check_readings(template: Template, filled: tuple[Filled, ...], *, url_known: bool) -> None:
    if len(with_secret(filled, b"")) > _LONGEST:
        return
    free = {
        "header",
        "json",
        "form",
        "query",
        "timestamp",
        *(() if url_known else ("path", "path_query")),
    }
    segments: list[list[tuple[bool, bytes]]] = [[]]
    for part, value in zip(template.parts, filled, strict=True):
        if not isinstance(value, bytes):
            segments.append([])
        else:
            chosen = isinstance(part, Placeholder) and part.kind in free
            segments[-1].append((chosen, value))
    several = any(_readings(segment) > 1 for segment in segments)
    assert Ambiguity(template.parts, url_known=url_known).of_fields(filled) is several


def _readings(segment: list[tuple[bool, bytes]]) -> int:
    """Count the ways to read the same bytes as the same parts, whatever the free ones hold."""
    text = b"".join(value for _, value in segment)
    ways = [1] + [0] * len(text)
    for free, value in segment:
        after = [0] * len(ways)
        for at, count in enumerate(ways):
            if count and free:
                for end in range(at, len(ways)):
                    after[end] += count
            elif count and text.startswith(value, at):
                after[at + len(value)] += count
        ways = after
    return ways[-1]
