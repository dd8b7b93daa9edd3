"""A path is known exactly as configured, and in no other spelling."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import Headers, RequestHead
from relay.ingest.endpoint_paths import EndpointMatch, EndpointPaths
from relay.providers import RequestShape


@dataclass(frozen=True)
class Path:
    path: str
    methods: tuple[str, ...] = ("POST",)
    shapes: tuple[RequestShape, ...] = ()
    proxied: bool = False


SHAPES = (
    RequestShape("POST", "/v2/payments/{orderId}"),
    RequestShape("POST", "/v2/payments/{orderId}/shippingDetails", proxied=True),
    RequestShape("DELETE", "/v2/consents/{userId}"),
)
PATHS = EndpointPaths(
    [Path("/midtrans/notification"), Path("/vipps"), Path("/callback", shapes=SHAPES)]
)


def match(
    target: str, method: str = "POST", paths: EndpointPaths[Path] = PATHS
) -> EndpointMatch[Path]:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    return paths.find(RequestHead(method, target, Headers(), ip_address("192.0.2.1"), at))


def find(target: str) -> Path:
    return match(target).endpoint


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
        "/midtrans/notification?a=#b",
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


@pytest.mark.parametrize(
    ("target", "below"),
    [
        ("/callback", True),
        ("/callback/", True),
        ("/callback/v9/other?a=b", True),
        ("/callbacks", False),
        ("/midtrans/notification", False),
        ("/", False),
    ],
)
def test_a_path_below_a_prefix_belongs_to_its_sender(target: str, below: bool) -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    head = RequestHead("POST", target, Headers(), ip_address("192.0.2.1"), at)
    found = PATHS.prefix_endpoint(head)
    assert (found is not None) is below


@pytest.mark.parametrize(
    ("target", "remainder", "methods"),
    [
        ("/callback/v2/payments/o-1", "/v2/payments/o-1", ("POST",)),
        ("/callback/v2/payments/a.b_c-9?x=/y", "/v2/payments/a.b_c-9", ("POST",)),
        (
            "/callback/v2/payments/o/shippingDetails",
            "/v2/payments/o/shippingDetails",
            ("POST",),
        ),
        ("/callback/v2/consents/u", "/v2/consents/u", ("DELETE",)),
        ("/callback/v2/payments/...", "/v2/payments/...", ("POST",)),
        ("/callback/v2/payments/" + "x" * 64, "/v2/payments/" + "x" * 64, ("POST",)),
    ],
)
def test_below_a_prefix_the_listed_shapes_are_found(
    target: str, remainder: str, methods: tuple[str, ...]
) -> None:
    found = match(target)
    assert (found.remainder, found.methods) == (remainder, methods)


@pytest.mark.parametrize(
    "remainder",
    [
        "",
        "/",
        "/v2/payments",
        "/v2/payments/",
        "/v2/payments/o/",
        "/v2/payments/.",
        "/v2/payments/..",
        "/v2/payments/../shippingDetails",
        "/v2/payments/./shippingDetails",
        "/v2/payments/..%2f",
        "/v2/payments/%2e%2e",
        "/v2/payments/a;b",
        "/v2/payments/a%00",
        "/v2/payments/a\n",
        "/v2/payments/a b",
        "/v2/payments//",
        "//v2/payments/o",
        "/v3/payments/o",
        "/V2/payments/o",
        "/v2/payments/o/shippingdetails",
        "/v2/payments/o/p/shippingDetails",
        "/v2/payments/" + "x" * 65,
        "x/v2/payments/o",
        "/v2/payments/\u00e9",
        "/v2/payments/\u0661",
    ],
)
def test_below_a_prefix_everything_else_is_unknown(remainder: str) -> None:
    with pytest.raises(Refusal):
        match("/callback" + remainder)


@pytest.mark.parametrize("path", ["/checkout", "/checkout/"])
def test_a_shape_that_appends_nothing_is_the_exact_path(path: str) -> None:
    placed = Path(path, methods=("POST", "DELETE"), shapes=(RequestShape("POST", ""),))
    paths = EndpointPaths([placed])
    at = datetime(2026, 1, 5, tzinfo=UTC)
    head = RequestHead("POST", path, Headers(), ip_address("192.0.2.1"), at)
    assert paths.find(head) == EndpointMatch(placed, "", ("POST",), proxied=False)
    for other in ("/checkout//", "/checkout/v2", "/Checkout", path[:-1], path + "/"):
        with pytest.raises(Refusal):
            paths.find(replace(head, target=other))


def test_the_root_can_be_a_prefix() -> None:
    paths = EndpointPaths([Path("/", shapes=SHAPES)])
    at = datetime(2026, 1, 5, tzinfo=UTC)
    head = RequestHead("POST", "/v2/payments/o", Headers(), ip_address("192.0.2.1"), at)
    assert paths.find(head).remainder == "/v2/payments/o"


@pytest.mark.parametrize(
    ("target", "method", "proxied"),
    [
        ("/callback/v2/payments/o/shippingDetails", "POST", True),
        ("/callback/v2/payments/o/shippingDetails", "DELETE", False),
        ("/callback/v2/payments/o", "POST", False),
        ("/midtrans/notification", "POST", False),
    ],
)
def test_a_proxied_shape_is_proxied_whatever_its_endpoint(
    target: str, method: str, proxied: bool
) -> None:
    assert match(target, method).proxied is proxied


def test_an_exact_path_can_be_a_proxied_shape() -> None:
    shapes = (RequestShape("POST", "", proxied=True), RequestShape("DELETE", ""))
    paths = EndpointPaths([Path("/express", shapes=shapes)])
    assert match("/express", "POST", paths).proxied
    assert not match("/express", "DELETE", paths).proxied


@pytest.mark.parametrize("target", ["/callback/v2/payments/o", "/exact"])
def test_a_proxied_endpoint_proxies_everything(target: str) -> None:
    paths = [Path("/callback", shapes=SHAPES, proxied=True), Path("/exact", proxied=True)]
    assert match(target, paths=EndpointPaths(paths)).proxied
