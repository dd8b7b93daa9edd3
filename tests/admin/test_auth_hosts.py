"""The private listener answers to addresses and local names, not to names of the public DNS."""

import pytest

from relay.admin.auth import is_local_host


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9464",
        "127.0.0.1",
        "[::1]:9464",
        "[2001:db8::1]",
        "localhost",
        "localhost:9464",
        "LOCALHOST",
        "relay:9464",
    ],
)
def test_local_names_and_addresses_are_answered(host: str) -> None:
    assert is_local_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":9464",
        "rebind.example:9464",
        "127.0.0.1.rebind.example",
        "localhost.rebind.example",
        "localhost.",
        "127.0.0.1:9464:1",
        "127.0.0.1:x",
        "127.1",
        "[127.0.0.1]",
        "::1",
        "[::1",
        "[fe80::1%25eth0.rebind.example]",
        "a@127.0.0.1",
        "127.0.0.1/x",
        "relay\n",
    ],
)
def test_everything_else_is_not(host: str) -> None:
    assert not is_local_host(host)
