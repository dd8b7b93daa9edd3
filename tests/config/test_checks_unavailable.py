"""What this version cannot do is refused, never ignored."""

import pytest

from tests.config.files import GOOD, mistakes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD + "spool: {kind: postgres, dsn: '${env:KEY}'}\n",
            "13:15: spool.kind: PostgreSQL is not available in this version; write kind: sqlite",
        ),
    ],
)
def test_it_is_said_what_is_not_available(text: str, said: str) -> None:
    assert mistakes(text) == [said]
