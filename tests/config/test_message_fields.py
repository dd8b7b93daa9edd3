"""References to a value of a message."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from relay.config.message_fields import MessageField, MessageFields, SignatureField
from relay.providers import inline

ONE: TypeAdapter[Any] = TypeAdapter(MessageField)
SEVERAL: TypeAdapter[Any] = TypeAdapter(MessageFields)
SIGNATURE: TypeAdapter[Any] = TypeAdapter(SignatureField)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ({"header": "X-Id"}, inline.HeaderField("X-Id")),
        ({"json": "/id"}, inline.JsonField("/id")),
        ({"query": "token"}, inline.QueryField("token")),
        ({"form": "sign"}, inline.FormField("sign")),
    ],
)
def test_one_value(written: dict[str, str], found: inline.Field) -> None:
    section = ONE.validate_python(written)
    assert section.fields() == (found,)
    assert ONE.validate_python(section) is section
    assert SIGNATURE.validate_python(written).source() == found


def test_values_together() -> None:
    assert SEVERAL.validate_python({"json": ("/a", "/b")}).fields() == (
        inline.JsonField("/a"),
        inline.JsonField("/b"),
    )
    assert SEVERAL.validate_python({"form": "id"}).fields() == (inline.FormField("id"),)
    section = SEVERAL.validate_python({"form": ("id", "status")})
    assert section.fields() == (inline.FormField("id"), inline.FormField("status"))
    assert SEVERAL.validate_python(section) is section


def test_a_signature_in_any_of_several_header_fields() -> None:
    section = SIGNATURE.validate_python({"headers": ("X-Sig-1", "X-Sig-2")})
    assert section.source() == inline.HeaderFields(("X-Sig-1", "X-Sig-2"))
