"""A token in the URL goes no further."""

import pytest

from tests.config.files import BUILT_IN, changed, good, mistakes

BLOCK = """\
    provider:
      name: sender
      networks: {live: {cidrs: ["192.0.2.0/24"]}}
      signature: {scheme: token, from: {query: t}}
"""


@pytest.mark.parametrize("query", ["", "    query: forward\n"])
def test_a_query_that_holds_a_token_has_to_be_dropped(query: str) -> None:
    place = "13:12" if query else "7:5"
    assert mistakes(changed((BUILT_IN, BLOCK + query))) == [
        (
            f"{place}: endpoints.0.query: the token of sender stands in the URL, in t; write query:"
            " drop, so that no upstream gets it"
        )
    ]


@pytest.mark.parametrize(
    ("block", "query"),
    [
        (BLOCK, "    query: drop\n"),
        (BLOCK.replace("query: t", "json: /t"), "    query: forward\n"),
        (BLOCK.replace("query: t", "form: t"), ""),
        (BLOCK.replace("token", "hmac"), ""),
    ],
)
def test_it_is_dropped_or_holds_none(block: str, query: str) -> None:
    good(changed((BUILT_IN, block + query)))
