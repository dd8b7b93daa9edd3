"""How long the worst bodies that are taken hold the event loop, under each kind of signed text."""

import hashlib
import hmac
from time import process_time

import pytest

from relay.core.json_text import MAX_SORTED
from relay.core.strict_json import DEFAULT_LIMITS
from relay.providers.inline import HeaderField, JsonField
from relay.providers.inline.filled import with_secret
from relay.providers.inline.message import Message
from relay.providers.inline.signed_text import Template
from relay.providers.media_type import FORM
from tests.crash.lengths import tell
from tests.providers.inline.describe import bound, delivery, described

SIZE = 256 * 1024
KEYS = DEFAULT_LIMITS.keys
TWELVE = [f"f{each}" for each in range(12)]
JSON_FIELDS = "".join(f"{{json:/{name}}}" for name in TWELVE)
FORM_FIELDS = "".join(f"{{form:{name}}}" for name in TWELVE)


def keyed(member: str, most: int = SIZE, number: int = KEYS) -> bytes:
    """Return an object of as many members as are taken; `%x` is a number that none repeats."""
    members, size = [], 2
    for at in range(number):
        members.append(member % at)
        size += len(members[-1].encode()) + 1
        if size > most:
            members.pop()
            break
    return ("{" + ",".join(members) + "}").encode()


def listed(element: str, before: str, most: int) -> bytes:
    number = min(DEFAULT_LIMITS.elements - 10, (most - len(before) - 20) // (len(element) + 1))
    return (before + '"list":[' + ",".join([element] * number) + "]}").encode()


def form(pair: str, number: int = 1000) -> bytes:
    return "&".join(pair % at for at in range(number)).encode()


@pytest.mark.parametrize(
    ("signed", "body"),
    [
        ("{json_sorted}", keyed('"%x":1.0')),
        ("{json_sorted}", keyed('"%x":1e0')),
        ("{json_sorted}", keyed('"%x":"\\/"', MAX_SORTED)),
        ("{json_sorted}", keyed('"\\u00e9%x":1.00', number=1900)),
        ("{json_sorted}", keyed('"\\u00e9' + "\\/" * 28 + '%x":1.00', MAX_SORTED, 1900)),
        ("{json_sorted}", listed('{"a":1}', '{"s":"\\/",', MAX_SORTED)),
        ("{json_sorted}", listed("1.50", '{"s":"\\/",', MAX_SORTED)),
        ("{json_sorted}", listed('"\\n"', "{", MAX_SORTED)),
        ("{json_sorted}", b'{"a":"' + b"\\\\" * (MAX_SORTED // 2 - 5) + b'"}'),
        ("{body_without:/sign}", keyed('"%x":{"sign":0}', number=900)),
        ("{body_without:/sign}", keyed('"%x":"\\n"', number=KEYS - 1)),
        ("{body_without:/sign}", b'{"a":"' + b"\\\\" * (SIZE // 2 - 60) + b'"}'),
        (JSON_FIELDS, keyed('"f%x":1.0')),
        (JSON_FIELDS, keyed('"f%x":1e0')),
        (FORM_FIELDS, form("f%x=" + "%%41" * 80)),
        (FORM_FIELDS, b"f1=" + b"%C3%A9" * (SIZE // 6 - 2)),
        ("{form_sorted}", form("%x=" + "%%41" * 80)),
        ("{form_sorted}", form("a=%x" + "%%C3%%A9" * 40)),
        ("{form_sorted}", b"a=" + b"+" * (SIZE - 2)),
    ],
    ids=lambda each: str(each[:24]),
)
def test_no_signed_text_holds_the_loop(signed: str, body: bytes) -> None:
    assert len(body) <= SIZE
    inside = "body_without" in signed
    description = described(
        signed=signed, source=JsonField("/sign") if inside else HeaderField("X-Signature")
    )
    headers = {"Content-Type": FORM if "form" in signed else "application/json"}
    template = Template(signed, description.signature.source)
    text = with_secret(template.fill(Message(delivery(headers, body), None), ""), b"")
    mac = hmac.digest(b"key", text, hashlib.sha256).hex()
    if inside:
        body = body[:-1] + f',"sign":"{mac}"}}'.encode()
    else:
        headers["X-Signature"] = mac
    inspector = bound(description, "key")
    took = []
    for _ in range(5):
        message = delivery(headers, body)
        began = process_time()
        inspector.verify(message)
        took.append(process_time() - began)
    tell(signed=signed[:24], worst_body=body[:12], milliseconds=f"{min(took) * 1000:.1f}")
    # Below 10 ms alone on a machine; several times that is what code for each value would take.
    assert min(took) < 0.03
