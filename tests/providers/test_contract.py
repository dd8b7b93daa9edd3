"""Every provider there is passes the contract, those that are added later among them."""

import pytest

from relay.plugins import load, names
from relay.providers import Provider
from tests.contracts.provider import ProviderContract


class TestEveryProvider(ProviderContract):
    @pytest.fixture(params=names("providers"))
    def provider(self, request: pytest.FixtureRequest) -> Provider:
        found: Provider = load("providers", request.param).PROVIDER
        return found


@pytest.mark.parametrize("name", names("providers"))
def test_a_provider_is_called_by_the_name_of_its_module(name: str) -> None:
    assert load("providers", name).PROVIDER.facts.name == name
