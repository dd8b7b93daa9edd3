"""Names of header fields that are not free."""

import pytest

from relay.core.header_fields import Owner, owner_of, plain


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("Host", Owner.CONNECTION),
        ("content_length", Owner.CONNECTION),
        ("Transfer-Encoding", Owner.CONNECTION),
        ("Accept-Encoding", Owner.CONNECTION),
        ("Via", Owner.PROXY),
        ("X-Forwarded-For", Owner.PROXY),
        ("x_forwarded_proto", Owner.PROXY),
        ("Proxy-Authorization", Owner.PROXY),
        ("Relay-Anything", Owner.RELAY),
        ("WEBHOOK_ID", Owner.RELAY),
        ("X-Api-Key", None),
        ("Authorization", None),
        ("X-Relay-Key", None),
        ("Accept", None),
    ],
)
def test_it_is_told_whose_a_field_is(name: str, owner: Owner | None) -> None:
    assert owner_of(name) is owner


def test_a_name_is_compared_without_case_and_with_hyphens_for_underscores() -> None:
    assert plain("X_Api-KEY") == "x-api-key"
