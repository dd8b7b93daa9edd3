"""What a value is compared with, as it is written."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from relay.config.conditions import RequiredText, TextOrSecret
from relay.core.secret import Secret


def test_a_number_is_its_text() -> None:
    assert TypeAdapter(RequiredText).validate_python(7) == "7"
    assert TypeAdapter(TextOrSecret).validate_python(7) == "7"
    assert TypeAdapter(TextOrSecret).validate_python(Secret("a")) == Secret("a")


@pytest.mark.parametrize("value", ["", True, 1.5, None])
@pytest.mark.parametrize("kind", [RequiredText, TextOrSecret])
def test_what_is_no_text(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)
