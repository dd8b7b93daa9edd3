"""What settings hold: the defaults, and values of the file in their types."""

from datetime import timedelta
from pathlib import Path

import pytest
from netaddr import IPNetwork
from pydantic import ValidationError

from relay.allowlist import Mode
from relay.allowlist.networks import Nameserver
from relay.config.settings import Confirm, SqliteSpool, TimeWindow
from relay.config.types import Section
from relay.config.validation import fields
from relay.core.request import ForwardedHeader
from relay.core.secret import Secret
from tests.config.files import BASE, GOOD, VIPPS, changed, good

S, M, H, D = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))


def test_defaults() -> None:
    settings = good(GOOD.replace('trusted_proxies: ["127.0.0.1"]\n', ""))
    assert settings.listen[0].tls is None
    assert settings.listen[0].proxy_protocol is False
    assert settings.trusted_proxies == ()
    assert settings.forwarded_header is ForwardedHeader.X_FORWARDED_FOR
    assert str(settings.admin.bind) == "127.0.0.1:9464"
    assert settings.admin.token is None
    spool = settings.spool
    assert isinstance(spool, SqliteSpool)
    assert spool.kind == "sqlite"
    assert spool.path == BASE / "relay.db"
    assert (spool.retain, spool.retain_keys) == (30 * D, 30 * D)
    assert settings.state_dir == BASE
    dns = settings.dns
    assert dns.nameservers == ()
    assert (dns.timeout, dns.min_refresh, dns.max_refresh) == (2 * S, 30 * S, 5 * M)
    assert (dns.retain, dns.max_stale, dns.knock_interval) == (24 * H, 72 * H, 5 * S)
    limits = settings.limits
    assert limits.body == 256 * 1024
    assert (limits.header_timeout, limits.body_timeout) == (10 * S, 10 * S)
    assert (limits.connections, limits.connections_per_address) == (4096, 256)
    assert limits.answer_within == 4 * S
    assert settings.shutdown_grace == 10 * S


def test_defaults_of_an_upstream() -> None:
    upstream = good(GOOD).upstreams["billing"]
    assert (upstream.timeout, upstream.concurrency) == (10 * S, 32)
    schedule = (5 * S, 30 * S, 2 * M, 10 * M, 30 * M, 1 * H, 3 * H, 6 * H, 12 * H)
    assert upstream.retry.schedule == schedule
    assert upstream.retry.give_up_after == 72 * H
    assert upstream.order_by_key is False
    assert upstream.signing_secrets == ()


def test_paths_start_from_the_directory_of_the_file(tmp_path: Path) -> None:
    for name in ("data", "state"):
        (tmp_path / name).mkdir()
    settings = good(GOOD + "spool: {path: data/relay.db}\n", base=tmp_path)
    assert isinstance(settings.spool, SqliteSpool)
    assert settings.spool.path == tmp_path / "data/relay.db"
    assert settings.state_dir == tmp_path / "data"
    settings = good(GOOD + "spool: {path: /srv/relay.db}\nstate_dir: state\n", base=tmp_path)
    assert isinstance(settings.spool, SqliteSpool)
    assert settings.spool.path == Path("/srv/relay.db")
    assert settings.state_dir == tmp_path / "state"
    assert good(GOOD, base=Path("tests")).state_dir == Path("tests").absolute()


def test_values_have_their_types() -> None:
    settings = good(
        GOOD
        + 'dns: {nameservers: ["tls://192.0.2.53#dns.example.com"]}\n'
        + "forwarded_header: Forwarded\n"
        + "shutdown_grace: 0s\n"
    )
    server = Nameserver("192.0.2.53", 853, tls=True, name="dns.example.com")
    assert settings.dns.nameservers == (server,)
    assert settings.trusted_proxies == (IPNetwork("127.0.0.1/32"),)
    assert settings.forwarded_header is ForwardedHeader.FORWARDED
    assert settings.shutdown_grace == timedelta()


def test_settings_cannot_be_changed() -> None:
    settings, name = good(GOOD), "connections"
    with pytest.raises(ValidationError):
        setattr(settings.limits, name, 5)


def test_equal_files_give_equal_sections() -> None:
    one, other = good(GOOD), good(changed(("/midtrans/notification", "/other")))
    assert one.listen == other.listen
    assert one.spool == other.spool
    assert one.endpoints != other.endpoints


def _sections() -> list[type[Section]]:
    return [each for each in Section.__subclasses__() if each.__module__.startswith("relay.")]


def test_every_key_is_described_and_every_needed_one_has_an_example() -> None:
    assert len(_sections()) > 15
    for section in _sections():
        assert section.__doc__, section
        for key, field in fields(section).items():
            assert field.description, (section, key)
            assert field.examples or not field.is_required(), (section, key)


def test_every_secret_is_found() -> None:
    settings = good(GOOD)
    upstream = next(iter(settings.upstreams.values()))
    signing = upstream.model_copy(update={"signing_secrets": (Secret("canary-signing"),)})
    admin = settings.admin.model_copy(update={"token": Secret("canary-admin")})
    changes = {"upstreams": {"billing": signing}, "admin": admin}
    found = settings.model_copy(update=changes).every_secret()
    assert found[-2:] == [Secret("canary-signing"), Secret("canary-admin")]
    assert found[:-2] == [secret for each in settings.endpoints for secret in each.secrets] != []
    assert settings.every_secret() == found[:-2]
    asking = settings.endpoints[0].model_copy(update={"confirm": Confirm(key=Secret("canary-ask"))})
    assert (
        Secret("canary-ask") in settings.model_copy(update={"endpoints": (asking,)}).every_secret()
    )


# ---- an endpoint ----------------------------------------------------------------------------
# What settings say of an endpoint.


def test_defaults_of_an_endpoint() -> None:
    endpoint = good(GOOD).endpoints[0]
    assert endpoint.mode == "store"
    assert endpoint.allowlist.mode is Mode.ENFORCE
    assert (endpoint.allowlist.add, endpoint.allowlist.replace) == ((), None)
    assert endpoint.unsigned == "refuse"
    left_out = (endpoint.public_url, endpoint.timestamp, endpoint.order_id_pattern)
    assert left_out == (None, None, None)
    assert (endpoint.partner_id, endpoint.callback, endpoint.confirm) == (None, None, None)
    assert (endpoint.merchant_id, endpoint.must) == (None, ())


def test_an_allowlist_tells_networks_from_hosts() -> None:
    text = '    allowlist: {mode: off, add: ["192.0.2.0/24", Pay.Example.com, "2001:db8::1"]}\n'
    allowlist = good(GOOD + text).endpoints[0].allowlist
    assert allowlist.mode is Mode.OFF
    assert allowlist.networks(allowlist.add) == (
        IPNetwork("192.0.2.0/24"),
        IPNetwork("2001:db8::1/128"),
    )
    assert allowlist.hosts(allowlist.add) == ("pay.example.com",)


def test_a_window() -> None:
    text = GOOD + VIPPS + "    timestamp: {past: 24h, future: 90s}\n"
    window = good(text).endpoints[1].timestamp
    assert isinstance(window, TimeWindow)
    assert (window.past, window.future) == (timedelta(hours=24), timedelta(seconds=90))


def test_off_is_the_word_off() -> None:
    assert good(GOOD + VIPPS + "    timestamp: off\n").endpoints[1].timestamp == "off"
