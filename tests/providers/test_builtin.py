"""Every built-in provider is found by its own name, and no other name is taken."""

import pytest

from relay.providers.builtin import UnknownProvider, names, provider_named


def test_the_table_has_a_provider_of_each_sender() -> None:
    assert set(names()) >= {"midtrans", "vipps"}


def test_what_is_not_there_is_answered_with_what_is() -> None:
    with pytest.raises(UnknownProvider) as error:
        provider_named("os")
    assert str(error.value).startswith('no provider named "os"; there are: midtrans')
    assert error.value.known == names()


@pytest.mark.parametrize("name", ["../secret", "__init__", "midtrans.PROVIDER", "", "Midtrans"])
def test_only_a_listed_name_is_found(name: str) -> None:
    with pytest.raises(UnknownProvider):
        provider_named(name)
