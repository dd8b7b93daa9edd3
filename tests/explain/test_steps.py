"""What a walk says, whatever is walked."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.config import Settings
from relay.config.loader import load
from relay.core.errors import Reason
from relay.core.secret import Secret
from relay.explain.steps import Step, Walk, walk_json
from relay.explain.walk import walk
from tests.explain.test_walk import CONFIGURATION, PEER, PUBLIC, captured, told
from tests.harness.deliveries import RECEIVED


def test_a_walk_in_json() -> None:
    steps = [Step("endpoint", "ok", "a"), Step("method", "no", "b")]
    found = Walk(steps, "a", Reason.METHOD_NOT_ALLOWED, nearest=["c"])
    assert walk_json(found) == {
        "verdict": "refuse",
        "reason": "method_not_allowed",
        "endpoint": "a",
        "address_judged": True,
        "steps": [
            {"step": "endpoint", "result": "ok", "detail": "a"},
            {"step": "method", "result": "no", "detail": "b"},
        ],
        "nearest": ["c"],
        "upstreams": None,
        "route": None,
    }
    taken = walk_json(Walk())
    assert (taken["verdict"], taken["reason"], taken["endpoint"]) == ("accept", None, None)


@pytest.mark.parametrize(("more", "said"), [((), "1 secret"), ((Secret("b-canary"),), "2 secrets")])
def test_secrets_are_counted_and_not_shown(
    more: tuple[Secret, ...], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    settings: Settings = load(path, {"PUBLIC": PUBLIC})
    first, *others = settings.endpoints
    given = first.model_copy(update={"secrets": (Secret("a-canary"), *more)})
    changed = settings.model_copy(update={"endpoints": (given, *others)})
    found = walk(changed, captured(settings, "midtrans"), ip_address(PEER), RECEIVED)
    assert told(found, "expected") == [f"something else; {said} tried, none shown"]
