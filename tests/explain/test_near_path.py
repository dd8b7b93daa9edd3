"""What something on the way did to a path is named."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.app import builder
from relay.config.loader import load
from relay.core.clock import SystemClock
from relay.core.request import Headers, RequestHead
from relay.explain.near_path import near_path
from relay.ingest.admission import Endpoint
from tests.explain.test_walk import CONFIGURATION, PUBLIC
from tests.harness.deliveries import RECEIVED

HEAD = RequestHead("POST", "/", Headers(), ip_address("192.0.2.7"), RECEIVED)


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Endpoint]:
    path: Path = tmp_path_factory.mktemp("paths") / "relay.yaml"
    path.write_text(CONFIGURATION.replace("path: /shop", "path: /hooks/deep/shop"))
    settings = load(path, {"PUBLIC": PUBLIC})
    registry = builder.known_registry(settings, SystemClock())
    limits = settings.limits.json_limits
    return [builder.bind_endpoint(each, registry, limits) for each in settings.endpoints]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("//midtrans", "/midtrans; paths are compared as they are (a slash is doubled on the way)"),
        ("/midtrans/", "one slash too many at its end"),
        ("/Midtrans", "its letters are another case"),
        ("/mid%74rans", "it is percent-encoded on the way"),
        ("/relay/in/midtrans", "midtrans takes it without /relay/in, which is added on the way"),
        ("/x/snap/v1.0/debit/notify", "snap takes it without /x"),
        ("/v1.0/debit/notify", "snap takes it behind /snap, which something on the way strips"),
        ("/shop", "shop takes it behind /hooks/deep"),
        ("/deep/shop", "shop takes it behind /hooks,"),
        ("/midtranz", "an endpoint has the path /midtrans; paths are compared as they are"),
    ],
)
def test_what_was_done_to_it_is_named(path: str, said: str, endpoints: list[Endpoint]) -> None:
    found = near_path(endpoints, replace(HEAD, target=f"{path}?token=canary"))
    assert found is not None
    assert said in found
    assert "canary" not in found


@pytest.mark.parametrize("path", ["/", "", "*", "/wp-login.php", "/" * 8000, "/%ff%00"])
def test_what_is_near_to_nothing_is_left_alone(path: str, endpoints: list[Endpoint]) -> None:
    assert near_path(endpoints, replace(HEAD, target=path)) is None
