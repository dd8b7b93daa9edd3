"""What this version cannot do is refused, never ignored."""

import pytest

from tests.config.files import GOOD, changed, mistakes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            changed(('8080"\n', '8080"\n    proxy_protocol: true\n')),
            (
                "3:21: listen.0.proxy_protocol: the PROXY protocol is not available in this"
                " version; leave the key out"
            ),
        ),
        (
            GOOD + "    confirm: {with: status, on_error: hold}\n",
            (
                "13:14: endpoints.0.confirm: confirmation is not available in this version;"
                " leave the key out"
            ),
        ),
        (
            GOOD + "    confirm: {}\n",
            (
                "13:14: endpoints.0.confirm: confirmation is not available in this version;"
                " leave the key out"
            ),
        ),
        (
            GOOD + "spool: {kind: postgres, dsn: '${env:KEY}'}\n",
            "13:15: spool.kind: PostgreSQL is not available in this version; write kind: sqlite",
        ),
    ],
)
def test_it_is_said_what_is_not_available(text: str, said: str) -> None:
    assert mistakes(text) == [said]
