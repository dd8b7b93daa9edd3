from relay.core.request import Headers

FIELDS = Headers((("X-Date", "a"), ("Host", "h"), ("x-date", "b")))


def test_every_value_of_a_name_is_found_in_whatever_case_and_in_order() -> None:
    assert FIELDS.values("X-DATE") == ("a", "b")
    assert FIELDS.values("Date") == ()


def test_only_some_fields_stay_in_the_order_received() -> None:
    assert list(FIELDS.only("x-DATE")) == [("X-Date", "a"), ("x-date", "b")]


def test_values_are_not_shown() -> None:
    assert repr(Headers((("Authorization", "canary"),))) == "Headers(Authorization)"
