"""A kept refusal is walked by the present configuration, and what cannot be judged is named."""

import json
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.config import Settings, provider_of
from relay.config.loader import load
from relay.core.errors import Reason
from relay.core.request import ClientAddress, Headers, RequestHead, Via
from relay.core.secret import Secret
from relay.explain.refusal import explain_refusal, walk_refusal
from relay.explain.steps import Walk
from relay.providers import SampleOrder
from relay.spool.refusals import Refused, StoredRefusal
from tests.explain.test_walk import CONFIGURATION, KEYS, PEER, PUBLIC, told
from tests.harness.deliveries import RECEIVED

CLIENT = ClientAddress(ip_address(PEER), Via.X_FORWARDED_FOR)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    return load(path, {"PUBLIC": PUBLIC})


def kept(settings: Settings, name: str, key: Secret | None = None) -> StoredRefusal:
    """Return a message of an endpoint, as it is kept when it was refused."""
    endpoint = next(each for each in settings.endpoints if each.name == name)
    url = f"https://pay.example{endpoint.path}"
    sample = provider_of(endpoint).sample(SampleOrder(url, key or KEYS[name], RECEIVED, {}))
    fields = (("Host", "pay.example"), *sample.headers)
    head = RequestHead(
        sample.method,
        endpoint.path + sample.suffix,
        Headers(tuple(item for item in fields if item[1] != KEYS[name].reveal().decode())),
        ip_address("10.0.0.1"),
        RECEIVED,
    )
    refused = Refused(
        "ref_1",
        name,
        "p",
        Reason.SIGNATURE_MISMATCH,
        "fits no secret",
        head,
        CLIENT,
        sample.body,
    )
    return StoredRefusal(refused, 3, None, None)


def against(found: Walk) -> list[str]:
    return [step.name for step in found.steps if step.result == "no"]


@pytest.mark.parametrize("name", ["midtrans", "snap", "vipps", "shop"])
def test_what_the_present_configuration_takes_is_told(name: str, settings: Settings) -> None:
    found = walk_refusal(settings, kept(settings, name))
    assert (found.reason, found.endpoint) == (None, name), found.steps
    assert found.nearest == ["it would be taken now: relay refusals release ref_1"]
    assert told(found, "refused") == [
        f"signature_mismatch: fits no secret; received {RECEIVED:%Y-%m-%d %H:%M:%S}Z, 3 times"
    ]


def test_a_refusal_tells_where_its_release_would_lead(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    routes = "routes: [{when: {header: X-Id, is: none}, upstreams: []}]"
    path.write_text(CONFIGURATION.replace("path: /shop\n", f"path: /shop\n    {routes}\n"))
    found = walk_refusal(load(path, {"PUBLIC": PUBLIC}), kept(settings, "shop"))
    not_held, taken = told(found, "route")
    assert not_held.startswith('routes.0 does not hold: the header X-Id is "')
    assert taken == "no route holds: goes to billing"


def test_what_is_not_kept_is_named(settings: Settings) -> None:
    found = walk_refusal(settings, kept(settings, "shop"))
    assert told(found, "kept") == ["header fields: Host, Content-Type, X-Id, X-Sig"]
    unjudged = " ".join(told(found, "not judged"))
    for each in ("every other header field", "X-Forwarded-For", "query"):
        assert each in unjudged
    # The client is the one that was found then: nothing of the forwarding is there.
    assert told(found, "client") == [f"{PEER}, by x-forwarded-for, then"]


def test_a_key_of_another_endpoint_is_named_and_shown_nowhere(settings: Settings) -> None:
    made = kept(settings, "midtrans", Secret("another-canary"))
    other = settings.endpoints[0].model_copy(
        update={"name": "old", "path": "/old", "secrets": (Secret("another-canary"),)}
    )
    both = settings.model_copy(update={"endpoints": (*settings.endpoints, other)})
    found = explain_refusal(both, made)
    assert (found["verdict"], found["reason"]) == ("refuse", "signature_mismatch")
    assert "the endpoint old (sandbox)" in str(found["nearest"])
    assert "canary" not in str(found)


def test_what_only_its_address_speaks_against_can_be_released(settings: Settings) -> None:
    made = kept(settings, "vipps")
    stranger = ClientAddress(ip_address("203.0.113.9"), Via.PEER)
    fits = replace(made.refused, client=stranger, signature_fits=True, secret=0)
    found = walk_refusal(settings, replace(made, refused=fits))
    assert (found.reason, against(found)) == (Reason.SOURCE_UNKNOWN, ["allowlist"])
    assert "a release takes it, whatever its address" in found.nearest[-1]
    never = replace(fits, signature_fits=False)
    unproven = walk_refusal(settings, replace(made, refused=never))
    assert not any("release" in each for each in unproven.nearest)


@pytest.mark.parametrize("fitted", [True, False])
def test_a_token_that_is_not_kept_is_judged_by_what_was_found(
    fitted: bool, settings: Settings
) -> None:
    made = kept(settings, "tokens")
    assert "X-Secret-Token" not in dict(made.refused.head.headers)
    refused = replace(made.refused, signature_fits=fitted, secret=0 if fitted else None)
    found = walk_refusal(settings, replace(made, refused=refused))
    if fitted:
        assert found.reason is None
        assert told(found, "received") == ["a token, which is not kept; it fitted secrets.0 then"]
        assert told(found, "signature")[0].startswith("fitted secrets.0 then")
    else:
        assert found.reason is Reason.SIGNATURE_MISSING
        assert "tokens are not kept" in told(found, "content")[0]


def test_a_path_that_is_configured_no_more_ends_the_walk(settings: Settings) -> None:
    made = kept(settings, "midtrans")
    head = replace(made.refused.head, target="/midtran")
    found = walk_refusal(settings, replace(made, refused=replace(made.refused, head=head)))
    assert found.reason is Reason.UNKNOWN_ENDPOINT
    assert found.nearest == ["an endpoint has the path /midtrans; paths are compared as they are"]


def test_a_body_that_is_too_long_now_is_told(settings: Settings) -> None:
    made = kept(settings, "midtrans")
    limits = settings.limits.model_copy(update={"body": 100})
    found = walk_refusal(settings.model_copy(update={"limits": limits}), made)
    assert found.reason is Reason.BODY_TOO_LARGE
    assert "limits.body is 100" in told(found, "body")[0]


def test_one_that_was_released_is_an_event(settings: Settings) -> None:
    made = replace(kept(settings, "midtrans"), released_as="evt_1")
    found = explain_refusal(settings, made)
    assert (found["verdict"], found["released_as"]) == ("accept", "evt_1")


def test_where_it_is_passed_on_now_it_cannot_be_released(settings: Settings) -> None:
    made = kept(settings, "midtrans")
    first, *others = settings.endpoints
    proxied = first.model_copy(update={"mode": "proxy"})
    found = walk_refusal(settings.model_copy(update={"endpoints": (proxied, *others)}), made)
    assert found.reason is None
    assert "cannot be released" in found.nearest[-1]


def test_what_is_redacted_is_shown_in_no_step(settings: Settings) -> None:
    made = kept(settings, "midtrans", Secret("another"))
    order = json.loads(made.refused.body)["order_id"]
    first, *others = settings.endpoints
    redacting = first.model_copy(update={"redact": ("/order_id",)})
    refused = replace(made.refused, detail=f"{order} is odd")
    after = settings.model_copy(update={"endpoints": (redacting, *others)})
    found = walk_refusal(after, replace(made, refused=refused))
    assert told(found, "refused")[0].startswith("signature_mismatch: *** is odd")
    assert order not in str(found)
