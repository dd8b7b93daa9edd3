"""Every built-in provider passes the contract, those that are added later among them."""

import pytest

from relay.providers import Provider
from relay.providers.builtin import names, provider_named
from tests.contracts.provider import ProviderContract


class TestEveryProvider(ProviderContract):
    @pytest.fixture(params=names())
    def provider(self, request: pytest.FixtureRequest) -> Provider:
        return provider_named(request.param)


@pytest.mark.parametrize("name", names())
def test_a_provider_is_called_by_the_name_in_the_table(name: str) -> None:
    assert provider_named(name).info.name == name
