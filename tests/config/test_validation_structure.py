"""pydantic's locations in terms of the file."""

import pytest

from relay.config import Endpoint, PostgresSpool, Settings, SqliteSpool, TimeWindow
from relay.config.settings import Listener, Upstream
from relay.config.types import Section
from relay.config.validation import fields, trace
from relay.config.yaml_document import Location


@pytest.mark.parametrize(
    ("loc", "location", "section"),
    [
        ((), (), Settings),
        (("listen",), ("listen",), Settings),
        (("listen", 0), ("listen", 0), Listener),
        (("listen", 0, "x"), ("listen", 0, "x"), Listener),
        (("upstreams", "a", "url"), ("upstreams", "a", "url"), Upstream),
        (("spool", "sqlite", "x"), ("spool", "x"), SqliteSpool),
        (("spool", "postgres", "dsn"), ("spool", "dsn"), PostgresSpool),
        (("endpoints", 3, "name"), ("endpoints", 3, "name"), Endpoint),
        (
            ("endpoints", 0, "timestamp", "window", "past"),
            ("endpoints", 0, "timestamp", "past"),
            TimeWindow,
        ),
        (("endpoints", 0, "timestamp", "off"), ("endpoints", 0, "timestamp"), Endpoint),
    ],
)
def test_members_of_unions_are_left_out(
    loc: Location, location: Location, section: type[Section]
) -> None:
    found = trace(loc)
    assert found.location == location
    assert found.section is section


def test_slots_lead_to_what_can_be_mended() -> None:
    slots = trace(("endpoints", 0, "allowlist", "add", 2)).slots
    assert [slot.location for slot in slots] == [
        ("endpoints",),
        ("endpoints", 0),
        ("endpoints", 0, "allowlist"),
        ("endpoints", 0, "allowlist", "add"),
    ]
    assert [slot.optional for slot in slots] == [False, False, True, True]


def test_stand_ins_hold_what_is_needed() -> None:
    slots = trace(("endpoints", 0)).slots
    assert slots[-1].stand_in() == {
        "name": "midtrans",
        "path": "/midtrans/notification",
        "provider": "midtrans",
        "upstream": "billing",
    }
    assert trace(("listen",)).slots[-1].stand_in() == ({"bind": "0.0.0.0:8443"},)


def test_fields_go_by_their_keys() -> None:
    assert "with" in fields(trace(("endpoints", 0, "confirm", "x")).section)
