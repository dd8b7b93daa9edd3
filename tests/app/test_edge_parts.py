"""What the public edge is made of follows the settings, and the descriptors that there are."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.app import builder, edge_parts
from relay.app.edge_parts import limits_on_connections, listeners, server_tls
from tests.config.files import GOOD, good
from tests.harness.clock import ManualClock
from tests.harness.wire import write_pair

SENDER, STRANGER = ip_address("192.0.2.1"), ip_address("198.51.100.1")


def test_limits_are_those_of_the_file_where_descriptors_suffice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = good(GOOD + "limits: {connections: 100, connections_per_address: 3}\n")
    locator, gone = builder.client_locator(settings), list[None]()

    def opened(available: int) -> list[bool]:
        monkeypatch.setattr(edge_parts, "descriptors", lambda: available)
        connections = limits_on_connections(
            settings, locator, ManualClock(), SENDER.__eq__, lambda: gone.append(None)
        )
        each = [connections.add(ip_address(int(STRANGER) + n)) for n in range(60)]
        return [*each, *(connections.add(STRANGER) for _ in range(3))]

    # Half are kept for senders, and an address has three.
    assert opened(1_000_000).count(True) == 50
    assert opened(40).count(True) == 10
    assert gone == []


def test_listeners_have_the_certificates_of_the_file(tmp_path: Path) -> None:
    write_pair(tmp_path)
    text = f"""listen:
  - bind: "127.0.0.1:8443"
    tls: {{certificate: {tmp_path}/certificate.pem, key: {tmp_path}/key.pem}}
  - bind: "127.0.0.1:8080"
    proxy_protocol: true
"""
    settings = good(text + GOOD.partition('8080"\n')[2])
    tls = server_tls(settings)
    assert [*tls] == ["127.0.0.1:8443"]
    secure, plain = listeners(settings, tls)
    assert (secure.port, secure.tls, secure.proxy_protocol) == (
        8443,
        tls["127.0.0.1:8443"].context,
        False,
    )
    assert (plain.port, plain.tls, plain.proxy_protocol) == (8080, None, True)
