"""The keys of an upstream."""

import pytest

from relay.config.upstream_settings import BasicAuth, BearerAuth, OAuth2Auth, Upstream
from relay.core.rate_limit import Rate
from relay.core.secret import Secret

URL = "https://billing.internal/"


def upstream(**keys: object) -> Upstream:
    return Upstream.model_validate({"url": URL, **keys})


def test_each_kind_of_credentials_is_told_by_its_key() -> None:
    secret = Secret("s")
    basic = {"basic": {"user": "u", "password": secret}}
    oauth2 = {"oauth2": {"token_url": URL, "client_id": "c", "client_secret": secret}}
    assert isinstance(upstream(auth={"bearer": secret}).auth, BearerAuth)
    assert isinstance(upstream(auth=basic).auth, BasicAuth)
    assert isinstance(upstream(auth=oauth2).auth, OAuth2Auth)
    assert upstream().auth is None


def test_urls_do_not_print() -> None:
    keyed = URL + "?key=canary"
    basic = {"token_url": keyed, "client_id": "c", "client_secret": Secret("s")}
    assert "canary" not in repr(upstream(url=keyed, auth={"oauth2": basic}))


def test_every_secret_of_it_is_told() -> None:
    signing, header, token = Secret("signs"), Secret("header"), Secret("token")
    made = upstream(
        signing_secrets=(signing,), headers={"X-Api-Key": header}, auth={"bearer": token}
    )
    assert made.secrets() == (signing, header, token)


@pytest.mark.parametrize(
    ("text", "rate"), [("50/s", Rate(50, 1)), ("10/m", Rate(10, 60)), ("5/h", Rate(5, 3600))]
)
def test_a_rate_is_a_number_and_a_unit(text: str, rate: Rate) -> None:
    assert upstream(rate=text).rate == rate
    assert str(rate) == text
