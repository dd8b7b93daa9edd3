"""Each filter can be taken away by itself."""

from aiohttp.test_utils import make_mocked_request

from relay.admin.pages.filters import chips, filters_of


def test_empty_filters_are_none() -> None:
    request = make_mocked_request("GET", "/events?find=%20a%20&status=&other=1")
    assert filters_of(request.query, ("find", "status", "endpoint")) == {"find": "a"}


def test_a_chip_leads_to_the_others() -> None:
    assert chips({"find": "a b", "status": "dead"}) == [
        ("find", "a b", "status=dead"),
        ("status", "dead", "find=a+b"),
    ]
    assert chips({}) == []
