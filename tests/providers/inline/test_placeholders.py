"""The values that a signed text is made of, and what they cover."""

import pytest

from relay.core.errors import Reason, Refusal
from relay.providers.inline.placeholders import (
    AS_IT_CAME,
    BUT_THE_SIGNATURE,
    NAMED,
    OF_FORM,
    OF_JSON,
    PLAIN,
    WHOLE_BODY,
    filler,
)
from tests.providers.inline.describe import message


def test_every_placeholder_has_a_value() -> None:
    bodies = {True: b"a=1", False: b'{"a":"1"}'}
    for kind in (*PLAIN, *NAMED):
        found = message({"a": "1"}, bodies[kind in OF_FORM], target="/hook?a=1")
        value = filler(kind, "a" if kind in NAMED else "", None)(found, "5")
        assert (value is None) is (kind == "secret")


def test_what_covers_all_of_a_body_is_known() -> None:
    assert WHOLE_BODY == AS_IT_CAME | BUT_THE_SIGNATURE
    assert {*PLAIN, *NAMED} >= WHOLE_BODY | OF_FORM | OF_JSON


@pytest.mark.parametrize("timestamp", ["é", "٣"])
def test_a_time_is_ascii(timestamp: str) -> None:
    with pytest.raises(Refusal) as caught:
        filler("timestamp", "", None)(message(), timestamp)
    assert caught.value.reason is Reason.TIMESTAMP_INVALID
