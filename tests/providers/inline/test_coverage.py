"""The mistakes of what is signed."""

from typing import Any

import pytest

from relay.providers.inline import FormField, JsonField, QueryField, TimeRule
from relay.providers.inline.provider import InlineProvider
from tests.providers.inline.describe import described

FORM, JSON = FormField("sign"), JsonField("/sign")


@pytest.mark.parametrize(
    ("rule", "place", "message"),
    [
        ({"signed": "{query:a}{method}"}, "signed", "covers nothing of the body"),
        ({"signed": "{md5_hex:{query:a}}"}, "signed", "covers nothing of the body"),
        ({"signed": "{form:sign}", "source": FORM}, "signed", "covers only the signature"),
        ({"signed": "{body}", "source": FORM}, "signed", "write {form_sorted}"),
        ({"signed": "{minified_body}", "source": JSON}, "signed", "{body_without:/sign}"),
        ({"signed": "{sha256_hex:body}", "source": JSON}, "signed", "write {json_sorted}"),
        ({"signed": "{body_without:/sign}"}, "signed", "nothing would cover /sign"),
        ({"signed": "{body_without:/a}", "source": JSON}, "signed", "nothing would cover /a"),
        ({"signed": "{form:a}{json:/a}"}, "signed", "a body is JSON or a form"),
        ({"signed": "{form_sorted}", "source": JSON}, "signed", "a body is JSON or a form"),
        ({"signed": "{json:/a}", "source": FORM}, "from", "a body is JSON or a form"),
        (
            {"signed": "{form:a}", "time": TimeRule(FormField("at"), "s")},
            "timestamp",
            "the time is not signed",
        ),
        (
            {"signed": "{body}", "time": TimeRule(QueryField("at"), "s")},
            "timestamp",
            "the time is not signed",
        ),
    ],
)
def test_mistakes(rule: dict[str, Any], place: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^signature\.{place}: ") as caught:
        InlineProvider(described(**rule))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "rule",
    [
        {"signed": "{json_sorted}", "source": JSON},
        {"signed": "{sha512_hex:{body_without:/sign}}", "source": JSON},
        {"signed": "{form_sorted}", "source": FORM},
        {"signed": "{form:a}{form:at}", "time": TimeRule(FormField("at"), "s")},
        {"signed": "{form_sorted}", "time": TimeRule(FormField("at"), "s")},
        {"signed": "{query:at}{body}", "time": TimeRule(QueryField("at"), "s")},
    ],
)
def test_none(rule: dict[str, Any]) -> None:
    InlineProvider(described(**rule))
