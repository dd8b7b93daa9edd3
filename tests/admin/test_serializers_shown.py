from dataclasses import replace

import pytest

from relay.admin.serializers import (
    parse_refusal_query,
    refusal_detail,
    refusal_summary,
    refusals_json,
    result_json,
)
from relay.core.errors import Reason
from relay.core.request import Headers
from relay.core.secret import Secret
from relay.spool.refusals import (
    AlreadyReleased,
    RefusalPage,
    RefusalQuery,
    Released,
    StillRefused,
    StoredRefusal,
)
from tests.contracts.refusals import refused
from tests.harness.deliveries import RECEIVED

KEPT = StoredRefusal(refused(1, body=b"\xff{}"), times=3, tried_at=RECEIVED, released_as=None)


def test_a_page_is_one_object() -> None:
    assert refusals_json(RefusalPage((KEPT,), "7")) == {
        "refusals": [
            {
                "id": "ref_001",
                "endpoint": "midtrans",
                "provider": "midtrans",
                "reason": "signature_mismatch",
                "detail": "fits no secret",
                "client": "34.101.68.130",
                "received_at": "2026-01-05T12:00:00.000Z",
                "times": 3,
                "tried_at": "2026-01-05T12:00:00.000Z",
                "released_as": None,
            }
        ],
        "next": "7",
    }


def test_one_is_shown_with_its_content_until_it_is_released() -> None:
    shown = refusal_detail(KEPT, [])
    assert shown["content"] == {
        "method": "POST",
        "target": "/hook?…",
        "headers": [["Host", "pay.example"], ["X-Odd", "caf\xe9"]],
        "body": "\\xff{}",
    }
    assert refusal_summary(KEPT).items() <= shown.items()
    assert refusal_detail(replace(KEPT, released_as="evt_1"), [])["content"] is None


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        (b"canary-1", b"canary-1"),
        (b'can"ary/1', b'can\\"ary\\/1'),
        (b"can ary/1", b"can%20ary%2F1"),
        ("canary-\xe9".encode(), "canary-\xe9".encode()),
        (b"canary-\xff", b"canary-\xff"),
    ],
)
def test_a_configured_secret_is_hidden_and_all_else_is_shown(secret: bytes, written: bytes) -> None:
    one = refused(1, body=b"<" + written + b">" + b"x" * 2000)
    fields = Headers((("X-Odd", f"<{written.decode('latin-1')}>"),))
    one = replace(one, head=replace(one.head, target="/hook/canary-1", headers=fields))
    content = refusal_detail(replace(KEPT, refused=one), [Secret(secret), Secret(b"canary-1")])[
        "content"
    ]
    assert content == {
        "method": "POST",
        "target": "/hook/***",
        "headers": [["X-Odd", "<***>"]],
        "body": "<***>" + "x" * 2000,
    }


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, {"result": "unknown"}),
        (Released("evt_1", duplicate=False), {"result": "released", "event": "evt_1"}),
        (Released("evt_1", duplicate=True), {"result": "duplicate", "event": "evt_1"}),
        (AlreadyReleased("evt_1"), {"result": "released_before", "event": "evt_1"}),
        (
            StillRefused(Reason.FIELD_INVALID, "why"),
            {"result": "refused", "reason": "field_invalid", "detail": "why"},
        ),
    ],
)
def test_every_result_has_a_word(result: Released | None, told: dict[str, str]) -> None:
    assert result_json("ref_1", result) == {"id": "ref_1", **told}


def test_filters_are_read() -> None:
    given = {"endpoint": "e", "reason": "body_malformed", "limit": "5", "after": "9"}
    assert parse_refusal_query(given) == RefusalQuery("e", Reason.BODY_MALFORMED, 5, "9")
    assert parse_refusal_query({}) == RefusalQuery()


@pytest.mark.parametrize(
    "given", [{"status": "x"}, {"reason": "bad"}, {"limit": "0"}, {"limit": "1001"}]
)
def test_filters_that_mean_nothing_say_what_to_write(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"there are|usually has|from 1 to"):
        parse_refusal_query(given)
