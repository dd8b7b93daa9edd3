"""A path is known exactly as configured, and in no other spelling."""

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from relay.errors import Reason, Refusal
from relay.model import Headers, RequestHead
from relay.routing import Routes


@dataclass(frozen=True)
class Path:
    path: str
    methods: tuple[str, ...] = ("POST",)


ROUTES = Routes([Path("/midtrans/notification"), Path("/vipps")])


def find(target: str) -> Path:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    return ROUTES.find(RequestHead("POST", target, Headers(), ip_address("192.0.2.1"), at))


@pytest.mark.parametrize("target", ["/midtrans/notification", "/midtrans/notification?a=/b"])
def test_a_configured_path_is_found_whatever_its_query(target: str) -> None:
    assert find(target).path == "/midtrans/notification"


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "",
        "*",
        "/midtrans/notification/",
        "//midtrans/notification",
        "/midtrans//notification",
        "/midtrans/./notification",
        "/midtrans/x/../notification",
        "/midtrans/%6eotification",
        "/midtrans%2fnotification",
        "/midtrans/notification;a=b",
        "/midtrans/notification%00",
        "/midtrans/notification#",
        "/MIDTRANS/notification",
        "http://other.example/midtrans/notification",
        "/vipps/..%2f",
        "vipps",
    ],
)
def test_every_other_spelling_is_unknown(target: str) -> None:
    with pytest.raises(Refusal) as refusal:
        find(target)
    assert refusal.value.reason is Reason.UNKNOWN_ENDPOINT
