"""Commands, metrics, log fields, configuration keys, header fields and answers stay as they are.

What is meant to be stands in `published/names.json`. Who changes it on purpose writes it anew,
reads the difference, and tells of it in the changelog:

    python -m tests.repository.published
"""

import json
import sys

import pytest

from tests.repository.published import NAMES, differences, record


@pytest.mark.timeout(180)
async def test_what_is_published_is_as_before() -> None:
    before = json.loads(NAMES.read_text(encoding="utf-8"))
    found = differences(before, await record(sys.executable))
    assert not found, "\n".join(["", *found, "", __doc__ or ""])


def test_a_name_that_goes_or_comes_is_told() -> None:
    before = {"metrics": {"relay_a_total": {"type": "counter"}}, "log": {"sent": "id"}, "n": ["a"]}
    now = {"metrics": {"relay_b_total": {"type": "counter"}}, "log": {"sent": "key"}, "n": ["b"]}
    assert differences(before, now) == [
        "gone: metrics > relay_a_total > type (counter)",
        "gone: n > a ()",
        "new: metrics > relay_b_total > type (counter)",
        "new: n > b ()",
        "changed: log > sent: id -> key",
    ]
    assert differences(before, before) == []
