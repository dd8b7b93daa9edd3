"""Whether what is written of a sender of BI-SNAP fits together."""

import pytest

from tests.config.files import GOOD, good, mistakes
from tests.config.test_snap_sender import PUBLIC, SNAP, SYMMETRIC


def said(text: str) -> list[str]:
    return mistakes(GOOD + text, PUBLIC)


def test_symmetric_signatures_need_tokens() -> None:
    without = SYMMETRIC.replace('    tokens: {client_id: B1, keys: ["${env:PUBLIC}"]}\n', "")
    (found,) = said(without)
    assert found.startswith("13:5: endpoints.1.tokens: this key is needed: the sender signs with")
    assert "client_id" in found


@pytest.mark.parametrize("provider", ["{name: bank, snap: {}}", "midtrans-snap"])
def test_nobody_else_asks_for_them(provider: str) -> None:
    text = SNAP.replace("{name: bank, snap: {}}", provider)
    if provider == "midtrans-snap":
        text += "    environment: sandbox\n"
    (found,) = said(text + '    tokens: {client_id: B1, keys: ["${env:PUBLIC}"]}\n')
    assert "endpoints.1.tokens: only a sender of BI-SNAP with symmetric signatures asks" in found


@pytest.mark.parametrize("life", ["59s", "25h"])
def test_a_token_is_good_for_a_while(life: str) -> None:
    (found,) = said(SYMMETRIC.replace("]}\n", f"], life: {life}}}\n"))
    assert "endpoints.1.tokens.life: write 1m to 24h" in found


def test_a_key_that_is_none() -> None:
    (found,) = said(SYMMETRIC.replace('["${env:PUBLIC}"]', '["${env:PUBLIC}", "${env:OTHER}"]'))
    assert "19:53: endpoints.1.tokens.keys.1: " in found


def test_a_path_for_tokens() -> None:
    (found,) = said(SNAP.replace("snap: {}", "snap: {token_path: /x}"))
    assert "endpoints.1.provider.snap.token_path: has no meaning with asymmetric" in found
    twice = "snap: {signature: symmetric, token_path: /v1.0/debit/notify}"
    (found,) = said(SYMMETRIC.replace("snap: {signature: symmetric}", twice))
    assert "endpoints.1.provider.snap.token_path: is one of services, too" in found
    good(GOOD + SYMMETRIC.replace("symmetric}", "symmetric, token_path: /token}"), PUBLIC)


def test_its_name_is_its_own() -> None:
    (found,) = said(SNAP.replace("name: bank, snap", "name: midtrans-snap, snap"))
    assert "endpoints.1.provider.name: is built in; choose another name" in found


def test_it_takes_what_it_appends_and_no_other_endpoint_does() -> None:
    other = SNAP.replace("name: bank\n", "name: other\n").replace("path: /bank", "path: /")
    inside = GOOD.replace("/midtrans/notification", "/v1.0/debit/notify")
    (found,) = mistakes(inside + other, PUBLIC)
    assert "/v1.0/debit/notify belongs to the endpoint midtrans" in found


def test_secrets_that_are_none() -> None:
    (found,) = said(SNAP.replace("${env:PUBLIC}", "${env:OTHER}"))
    assert "endpoints.1.secrets.0: " in found
    (found,) = said(SNAP + "    order_id_pattern: x\n")
    assert "endpoints.1.order_id_pattern: only midtrans has one" in found


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ("{x: 25}", "write the path that the sender appends, such as /v1.0/debit/notify"),
        ("{/x/: 25}", "write the path"),
        ("{/a/../b: 25}", "write the path"),
        ("{'/a/{b}': 25}", "write the path"),
        ("{/x: 256}", 'write the two digits of the service, such as "56"'),
        ("{/x: ab}", "write the two digits"),
        ("{/x: true}", ""),
        ("{}", ""),
    ],
)
def test_services_that_are_none(services: str, message: str) -> None:
    text = SNAP.replace("snap: {}", f"snap: {{services: {services}}}")
    (found,) = said(text)
    assert found.startswith("18:")
    assert "provider.snap.services" in found
    assert message in found
