"""One delivery can be followed: it enters few files, and comes back to few."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.repository.one_delivery import Walk, walk

_CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"

_MAX_FILES, _MAX_PACKAGES = 40, 9


@pytest.fixture(scope="module")
def walked() -> Walk:
    return asyncio.run(walk(sys.executable))


@pytest.mark.timeout(120)
def test_one_delivery_enters_few_files_and_packages(walked: Walk) -> None:
    assert len(walked.files) <= _MAX_FILES, "\n".join(walked.files)
    assert len(walked.packages) <= _MAX_PACKAGES, walked.packages


def test_it_goes_in_by_the_edge_and_ends_in_the_spool(walked: Walk) -> None:
    order = ["edge", "ingest", "providers", "signatures", "spool", "delivery"]
    assert [each for each in walked.packages if each in order] == order
    assert walked.files[0] == "edge/listener.py"


def test_it_walks_as_contributors_are_told(walked: Walk) -> None:
    text = _CONTRIBUTING.read_text(encoding="utf-8")
    section = re.search(r"^## One delivery.*?(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    told = re.findall(r"`relay/([\w/]+(?:/|\.py))`", section[0])
    assert told
    for place in told:
        assert [file for file in walked.files if file.startswith(place)], place


#: What a route that looks into the body is beside a default.
_ROUTE = {"ingest/upstream_routes.py", "core/conditions.py", "core/json_pointer.py"}


@pytest.mark.proof
@pytest.mark.timeout(120)
async def test_a_delivery_to_several_upstreams_takes_the_same_way(walked: Walk) -> None:
    several = await walk(sys.executable, several=True)
    assert set(several.files) - set(walked.files) == _ROUTE
    assert several.packages == walked.packages
