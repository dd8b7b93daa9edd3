"""Which name was probably meant."""

from relay.config.yaml_document import suggestion


def test_the_nearest_name() -> None:
    assert suggestion("biling", ["billing", "ledger"]) == 'did you mean "billing"?'
    assert suggestion("BILLING", ["Billing"]) == 'did you mean "Billing"?'


def test_all_names_when_none_is_near() -> None:
    assert suggestion("x", ["ledger", "billing"]) == "there are: billing, ledger"
    assert suggestion("x", []) == "there are none"
    many = suggestion("x", [f"upstream{n:02}" for n in range(30)])
    assert many.endswith("upstream19, …")


def test_a_very_long_word_is_compared_in_part() -> None:
    assert suggestion("billing" * 100_000, ["billing"]) == "there are: billing"
