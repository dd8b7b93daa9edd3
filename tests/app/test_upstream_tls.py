"""TLS to upstreams: which files make a context, when they are read, and what is shared."""

import ssl
from pathlib import Path

import pytest

from relay.app.upstream_tls import (
    ClientTls,
    TlsFiles,
    TlsKey,
    contexts,
    token_server_files,
    upstream_files,
)
from relay.config import Settings
from relay.core.errors import ConfigError
from tests.config.files import GOOD, good
from tests.harness.authority import Authority

PLACE = "http://127.0.0.1:8081/webhooks"


class Parts:
    """Makes parts, and keeps them as a pool does."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[TlsKey, ClientTls]] = {}

    def __call__(self, name: str, key: TlsKey) -> ClientTls:
        found = self.made.get(name)
        if found is None or found[0] != key:
            found = self.made[name] = (key, ClientTls(key[0]))
        return found[1]


def settings(*upstreams: str) -> Settings:
    text = "".join(f"  billing{number}: {{{each}}}\n" for number, each in enumerate(upstreams))
    text = GOOD.replace(f'  billing: {{url: "{PLACE}"}}\n', text)
    return good(text.replace("upstream: billing", "upstream: billing0"))


def https(authority: Authority, more: str = "") -> str:
    return f'url: "https://billing.internal", tls: {{ca: {authority.file}{more}}}'


def test_only_https_has_tls() -> None:
    oauth2 = ", client_id: relay, client_secret: '${env:KEY}'}}"
    text = f"url: '{PLACE}', auth: {{oauth2: {{token_url: 'https://login.internal/'{oauth2}"
    plain, secure = settings(text, 'url: "HTTPS://billing.internal"').upstreams.values()
    assert upstream_files(plain) is None
    assert token_server_files(plain) == TlsFiles()
    assert upstream_files(secure) == TlsFiles()
    assert token_server_files(secure) is None


def test_a_token_server_is_shown_no_certificate(tmp_path: Path) -> None:
    own = Authority(tmp_path)
    pair = own.issue("relay")
    oauth2 = ", client_id: relay, client_secret: '${env:KEY}'}}"
    more = f", certificate: {pair.certificate}, key: {pair.key}"
    token_url = f", auth: {{oauth2: {{token_url: 'https://login.internal/'{oauth2}"
    [upstream] = settings(https(own, more) + token_url).upstreams.values()
    assert upstream_files(upstream) == TlsFiles(own.file, pair.certificate, pair.key)
    assert token_server_files(upstream) == TlsFiles(own.file)


async def test_upstreams_with_the_same_files_share_a_context(tmp_path: Path) -> None:
    own, other, parts = Authority(tmp_path), Authority(tmp_path, "other"), Parts()
    system = 'url: "https://billing.internal"'
    wanted = settings(https(own), https(other), https(own), system, system)
    found = await contexts(wanted, parts)
    assert len(found) == 3
    assert len({id(each) for each in found.values()}) == 3
    assert await contexts(wanted, parts) == found


@pytest.mark.parametrize("way", ["written", "replaced", "link"])
async def test_a_file_that_has_changed_makes_another_context(way: str, tmp_path: Path) -> None:
    """Also by the swap of a link on the way to it, as Kubernetes does it."""
    own, other, parts = Authority(tmp_path), Authority(tmp_path, "other"), Parts()
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "..data").symlink_to("one")
    mounted = tmp_path / "mounted.pem"
    mounted.symlink_to("..data/ca.pem")
    (tmp_path / "one" / "ca.pem").write_bytes(own.file.read_bytes())
    (tmp_path / "two" / "ca.pem").write_bytes(other.file.read_bytes())
    wanted = settings(f'url: "https://billing.internal", tls: {{ca: {mounted}}}')
    [before] = (await contexts(wanted, parts)).values()
    [same] = (await contexts(wanted, parts)).values()
    assert same is before
    if way == "written":
        (tmp_path / "one" / "ca.pem").write_bytes(other.file.read_bytes())
    elif way == "replaced":
        (tmp_path / "new").write_bytes(other.file.read_bytes())
        (tmp_path / "new").rename(tmp_path / "one" / "ca.pem")
    else:
        (tmp_path / "..new").symlink_to("two")
        (tmp_path / "..new").rename(tmp_path / "..data")
    [after] = (await contexts(wanted, parts)).values()
    assert after is not before
    assert after.get_ca_certs() == [_read(other)]
    # One that connections may be under way with is as it was.
    assert before.get_ca_certs() == [_read(own)]


def _read(authority: Authority) -> object:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.file)
    return context.get_ca_certs()[0]


async def test_files_that_change_under_the_reading_are_a_mistake_in_the_file(
    tmp_path: Path,
) -> None:
    own, parts = Authority(tmp_path), Parts()
    one, two = own.issue("relay"), own.issue("relay")
    more = f", certificate: {one.certificate}, key: {one.key}"
    wanted = settings(https(own, more))
    one.key.write_bytes(two.key.read_bytes())
    with pytest.raises(ConfigError) as caught:
        await contexts(wanted, parts)
    assert str(caught.value).startswith("relay.yaml:5:")
    assert "do not fit together" in str(caught.value)
    one.key.unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory") as caught:
        await contexts(wanted, parts)
    assert f".tls: {one.key} cannot be read" in str(caught.value)
    # It is taken when the pair fits.
    one.certificate.write_bytes(two.certificate.read_bytes())
    one.key.write_bytes(two.key.read_bytes())
    assert len(await contexts(wanted, parts)) == 1
