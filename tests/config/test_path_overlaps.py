"""Endpoints that would take the same request."""

import pytest

from relay.config.path_overlaps import ClaimedPaths, overlap_issues
from relay.providers import RequestShape
from tests.config.files import GOOD, good, mistakes

SNAP = (RequestShape("POST", "/v1.0/debit/notify"), RequestShape("POST", "/v1.0/qr/qr-mpm-notify"))
CALLBACK = (
    RequestShape("POST", "/v2/payments/{orderId}"),
    RequestShape("DELETE", "/v2/consents/{userId}"),
)
EXACT = (RequestShape("POST", ""),)


def said(*endpoints: tuple[str, tuple[RequestShape, ...]]) -> list[tuple[str, str]]:
    found = [
        ClaimedPaths(f"e{at}", path, shapes, ("endpoints", at))
        for at, (path, shapes) in enumerate(endpoints)
    ]
    issues = overlap_issues(found, lambda location: f"line {location[1]}")
    return [(".".join(map(str, issue.location)), issue.message) for issue in issues]


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        (("/", SNAP), ("/v1.0/debit/notify", ()), "/v1.0/debit/notify"),
        (("/a", SNAP), ("/a/v1.0/debit/notify", EXACT), "/a/v1.0/debit/notify"),
        (("/a/v1.0/qr/qr-mpm-notify", ()), ("/a", SNAP), "/a/v1.0/qr/qr-mpm-notify"),
        (("/a", CALLBACK), ("/a/v2/payments/x", ()), "/a/v2/payments/x"),
        (("/", CALLBACK), ("/v2", (RequestShape("POST", "/{any}/x"),)), "/v2/{any}/x"),
    ],
)
def test_one_request_belongs_to_one_endpoint(
    one: tuple[str, tuple[RequestShape, ...]],
    other: tuple[str, tuple[RequestShape, ...]],
    path: str,
) -> None:
    message = f"{path} belongs to the endpoint e0, at line 0; choose another path"
    assert said(one, other) == [("endpoints.1.path", message)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("/a", SNAP), ("/b", SNAP)),
        (("/a", SNAP), ("/a/b", SNAP)),
        (("/", SNAP), ("/a", SNAP)),
        (("/", SNAP), ("/x", CALLBACK)),
        (("/a", CALLBACK), ("/a/v2/payments", ())),
        (("/a", CALLBACK), ("/a/v2/payments/%41", ())),
        (("/a", CALLBACK), ("/a/v2/payments/x/", ())),
        (("/a", ()), ("/a/b", ())),
        # Said elsewhere.
        (("/a", SNAP), ("/a", CALLBACK)),
    ],
)
def test_others_stand_side_by_side(
    one: tuple[str, tuple[RequestShape, ...]], other: tuple[str, tuple[RequestShape, ...]]
) -> None:
    assert said(one, other) == []


def test_a_prefix_ends_without_a_slash_unless_it_is_the_root() -> None:
    (found,) = said(("/a/", SNAP))
    assert found[0] == "endpoints.0.path"
    assert "leave the last one out" in found[1]
    assert said(("/", SNAP)) == []
    assert said(("/a/", ()), ("/b/", EXACT)) == []


CALLBACKS = """\
  - name: callbacks
    path: {path}
    provider: vipps-callback
    environment: production
    secrets: ["${{env:OTHER}}"]
    upstream: billing
"""


def test_in_a_file() -> None:
    inside = GOOD.replace("/midtrans/notification", "/v2/payments/midtrans")
    assert mistakes(inside + CALLBACKS.format(path="/")) == [
        (
            "14:11: endpoints.1.path: /v2/payments/{orderId} belongs to the endpoint midtrans,"
            " at 8:11; choose another path"
        )
    ]
    assert mistakes(GOOD + CALLBACKS.format(path="/c/")) == [
        (
            "14:11: endpoints.1.path: is a prefix, and what is appended begins with a slash; leave"
            " the last one out"
        )
    ]
    good(GOOD + CALLBACKS.format(path="/"))
    exact = CALLBACKS.format(path="/c/") + "    callback: checkout\n"
    good(GOOD + exact)
