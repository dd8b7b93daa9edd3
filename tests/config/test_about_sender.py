"""What a description says of its sender, and the message of its sample, as they stand in a file."""

from datetime import date

import pytest

from relay.config.inline_provider import InlineProvider
from relay.providers import inline
from tests.config.files import BUILT_IN, INLINE, changed, good, mistakes
from tests.config.lints import findings

ABOUT = """\
      about:
        title: Orders of the shop
        documents: ["https://docs.example.com/a", "https://docs.example.com/b"]
        reviewed: "2026-11-30"
        traps: [The topic is not signed.]
        vector: None is published.
"""
SAMPLE = """\
      sample:
        headers: {X-Event: order, X-Version: 2}
        query: {kind: order}
        json: {id: "{id}", list: [1, 2.5, true, null], at: "{time:s}"}
"""


def described(added: str) -> inline.Description:
    (endpoint,) = good(changed((BUILT_IN, INLINE + added))).endpoints
    assert isinstance(endpoint.provider, InlineProvider)
    return endpoint.provider.description()


def test_what_is_said_of_a_sender() -> None:
    assert described("").about is None
    assert described(ABOUT).about == inline.About(
        "Orders of the shop",
        ("https://docs.example.com/a", "https://docs.example.com/b"),
        date(2026, 11, 30),
        ("The topic is not signed.",),
        "None is published.",
    )


def test_the_message_of_a_sample_is_in_the_types_of_json() -> None:
    assert described("").sample is None
    assert described(SAMPLE).sample == inline.SampleMessage(
        {"X-Event": "order", "X-Version": "2"},
        {"kind": "order"},
        {"id": "{id}", "list": [1, 2.5, True, None], "at": "{time:s}"},
    )
    assert described("      sample: {form: {id: 5}}\n").sample == inline.SampleMessage(
        form={"id": "5"}
    )
    assert described("      sample: {text: a=b}\n").sample == inline.SampleMessage(text="a=b")


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("about: {}", "title: this key is needed"),
        ('about: {title: ""}', "title: write a sentence"),
        ("about: {title: x, reviewed: 2026-13-01}", "reviewed: write a date, as 2026-11-30"),
        ("about: {title: x, reviewed: yesterday}", "reviewed: write a date, as 2026-11-30"),
        ("about: {title: x, documents: [page]}", "documents.0: write the URL of a page"),
        ("about: {title: x, traps: [y, 5]}", "traps.1: "),
        ("sample: {json: {}, text: x}", "sample: holds several bodies; write json, form or text"),
        ('sample: {headers: {X-A: "a\\nb"}}', "headers: a header field's value is visible ASCII"),
        ("sample: {headers: {X A: b}}", "headers: write the name of a header field"),
        ('sample: {json: {a: [b, "{tim:s}"]}}', "sample.json.a.1: there is no such placeholder"),
        ('sample: {text: "{time:m}"}', "sample.text: there is no such placeholder; there are: {id"),
    ],
)
def test_mistakes_are_told_where_they_stand(added: str, said: str) -> None:
    (line,) = mistakes(changed((BUILT_IN, f"{INLINE}      {added}\n")))
    assert said in line
    assert line.startswith("23:")


def test_what_was_reviewed_a_year_ago_is_warned_of() -> None:
    found = good(changed((BUILT_IN, INLINE + ABOUT)))
    assert not [each for each in findings(found) if "old-review" in each]
    (line,) = [each for each in findings(found, date(2027, 12, 1)) if "old-review" in each]
    assert "compared with https://docs.example.com/a on 2026-11-30, more than a year ago" in line
    unsaid = good(changed((BUILT_IN, INLINE)))
    assert not [each for each in findings(unsaid, date(2036, 1, 1)) if "old-review" in each]
