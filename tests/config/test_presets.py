"""A ready sender is a provider by its name."""

from pathlib import Path

import pytest

from relay.config import load_text, presets, provider_of
from relay.providers import builtin
from tests.config.files import INLINE, changed, good, mistakes
from tests.senders.files import loaded
from tests.senders.keys import NAMES, SENDERS, environ


def named(name: str) -> str:
    return changed(("provider: midtrans\n    environment: production\n", f"provider: {name}\n")) + (
        "    allowlist: {mode: off}\n"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_block_of_its_file(name: str, tmp_path: Path) -> None:
    whole = loaded(name, tmp_path).endpoints[0]
    text = (SENDERS / f"{name}.yaml").read_text()
    before, after = text.index("    provider:"), text.find("\n  - ", text.index("    provider:"))
    by_name = text[:before] + f"    provider: {name}\n" + (text[after:] if after > 0 else "")
    found = load_text(by_name, "relay.yaml", environ(), tmp_path).endpoints[0]
    assert found == whole
    assert provider_of(found).info == provider_of(whole).info


def test_no_ready_sender_takes_the_name_of_a_built_in_one() -> None:
    assert not set(presets.files()) & set(builtin.names())
    assert presets.names() == tuple(sorted({*presets.files(), *builtin.names()}))


def test_one_without_published_addresses_asks_who_may_send() -> None:
    (line,) = mistakes(named("stripe").replace("    allowlist: {mode: off}\n", ""))
    assert line.startswith("9:15: endpoints.0.provider.networks: nobody could send;")


def test_of_a_name_that_is_none_the_nearest_is_told() -> None:
    assert mistakes(named("strpie")) == [
        '9:15: endpoints.0.provider: no provider named "strpie"; did you mean "stripe"?'
    ]


def test_a_described_one_stays_as_it_is() -> None:
    text = changed(("    provider: midtrans\n    environment: production\n", INLINE))
    assert presets.with_presets({"endpoints": ({"provider": {"name": "stripe"}}, 5)}) == {
        "endpoints": ({"provider": {"name": "stripe"}}, 5)
    }
    assert good(text).endpoints[0].provider != good(named("github")).endpoints[0].provider


@pytest.mark.parametrize("data", [None, 5, {}, {"endpoints": 5}, {"endpoints": {}}, ()])
def test_nonsense_stays_for_those_who_report_it(data: object) -> None:
    assert presets.with_presets(data) == data
