"""A file in the right place is all that it takes."""

import pytest

from relay.plugins import UnknownPlugin, load, names


def test_every_provider_is_found_by_its_own_name() -> None:
    assert set(names("providers")) >= {"midtrans", "vipps"}
    for name in names("providers"):
        assert load("providers", name).PROVIDER.facts.name == name


def test_what_is_not_there_is_answered_with_what_is() -> None:
    with pytest.raises(UnknownPlugin) as error:
        load("providers", "os")
    assert str(error.value).startswith('no provider named "os"; there are: midtrans')
    assert error.value.known == names("providers")


@pytest.mark.parametrize("name", ["../secret", "__init__", "midtrans.PROVIDER", "", "Midtrans"])
def test_only_a_listed_name_is_imported(name: str) -> None:
    with pytest.raises(UnknownPlugin):
        load("providers", name)


def test_a_folder_behind_an_implementation_is_not_one() -> None:
    assert names("spool") == ("sqlite",)
