import orjson
import pytest
from netaddr import IPNetwork

from relay.cli.allowlist import Difference, Unreadable, differences, read
from relay.cli.firewall import Allowed, as_json


def networks(*texts: str) -> list[IPNetwork]:
    return [IPNetwork(text) for text in texts]


def test_lists_are_compared_by_their_addresses() -> None:
    halves = networks("192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32")
    assert differences(networks("192.0.2.0/24", "2001:db8::/32"), halves) == []


def test_what_is_in_one_alone_is_told_in_the_fewest_networks() -> None:
    found = differences(networks("192.0.2.0/24"), networks("192.0.2.0/25", "198.51.100.1"))
    assert found == [
        Difference(IPNetwork("192.0.2.128/25"), allowed=True),
        Difference(IPNetwork("198.51.100.1/32"), allowed=False),
    ]


def test_a_list_has_one_network_a_line() -> None:
    text = "# ours\n192.0.2.0/24 # office\n\n  2001:db8::1;\n"
    assert read(text) == networks("192.0.2.0/24", "2001:db8::1")
    assert read("") == []


def test_what_relay_wrote_is_read_by_endpoint() -> None:
    exported = orjson.dumps(as_json([Allowed("a", "enforce", tuple(networks("192.0.2.0/24")))]))
    assert read(exported.decode()) == {"a": networks("192.0.2.0/24")}
    shown = [{"endpoint": "a", "network": "192.0.2.1/32"}, {"endpoint": "a", "network": "::1/128"}]
    assert read(orjson.dumps(shown).decode()) == {"a": networks("192.0.2.1/32", "::1/128")}


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("192.0.2.1\n  192.0.2.1/24", 2, 3),
        ("nonsense", 1, 1),
        ("[{]", 1, 3),
        ("[1]", 1, 1),
        ('[{"endpoint": "a"}]', 1, 1),
        ('[{"endpoint": "a", "network": "x"}]', 1, 1),
    ],
)
def test_what_is_no_list_is_refused_with_its_place(text: str, line: int, column: int) -> None:
    with pytest.raises(Unreadable) as caught:
        read(text)
    assert (caught.value.line, caught.value.column) == (line, column)
