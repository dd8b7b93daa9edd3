"""`relay send --endpoint` takes what it needs from the file, and the relay takes what it sends."""

import asyncio
from pathlib import Path

import pytest
import trustme
from typer.testing import Result

from relay.cli.demo.services import asymmetric
from relay.cli.send_endpoint import Target, Unreachable, endpoint_of, forwarding, target
from relay.config import load_text
from relay.config.yaml_document import parse
from relay.core.request import ForwardedHeader
from relay.core.secret import Secret
from tests.cli.conftest import Invoke
from tests.harness.node import Node
from tests.harness.ports import free_port

UPSTREAM = 'upstreams: {billing: {url: "http://127.0.0.1:1/"}}\n'
LOOPBACK = 'trusted_proxies: ["127.0.0.1"]\n'
MIDTRANS = """endpoints:
  - name: midtrans
    path: /midtrans/notification
    provider: midtrans
    environment: production
    secrets: ["new-key", "old-key"]
    upstream: billing
"""


def listen(*listeners: str) -> str:
    return f"listen: [{', '.join(listeners)}]\n"


def target_of(
    text: str,
    directory: Path,
    *,
    name: str = "midtrans",
    to: str | None = None,
    secret: Secret | None = None,
    client: str | None = None,
) -> Target:
    settings = load_text(UPSTREAM + text, "relay.yaml", {}, directory)
    return target(settings, name, to, secret, client)


@pytest.mark.parametrize(
    ("listeners", "url"),
    [
        (['{bind: "0.0.0.0:8443"}'], "http://127.0.0.1:8443/midtrans/notification"),
        (['{bind: "127.0.0.2:80"}'], "http://127.0.0.2:80/midtrans/notification"),
        (['{bind: "[::]:8443"}'], "http://[::1]:8443/midtrans/notification"),
        (
            ['{bind: "0.0.0.0:8443", proxy_protocol: true}', '{bind: "127.0.0.1:81"}'],
            "http://127.0.0.1:81/midtrans/notification",
        ),
    ],
)
def test_the_url_is_where_this_machine_reaches_it(
    listeners: list[str], url: str, tmp_path: Path
) -> None:
    trusted = 'trusted_proxies: ["127.0.0.0/8", "::1"]\n'
    found = target_of(listen(*listeners) + trusted + MIDTRANS, tmp_path)
    assert (found.url, found.signed_url) == (url, url)
    assert found.secret.reveal() == b"new-key"
    assert found.client == "103.208.23.1"
    assert found.certificate is None


def test_what_the_call_says_comes_first(tmp_path: Path) -> None:
    text = listen('{bind: "127.0.0.1:80"}') + LOOPBACK + MIDTRANS
    public = f'{text}    public_url: "https://pay.example.com/hook"\n'
    found = target_of(public, tmp_path, to="https://pay.example.com/x", secret=Secret("mine"))
    assert (found.url, found.signed_url) == (
        "https://pay.example.com/x",
        "https://pay.example.com/hook",
    )
    assert found.secret.reveal() == b"mine"
    # The proxy there forwards the address that it sees.
    assert found.client is None
    assert target_of(public, tmp_path, client="198.51.100.7").client == "198.51.100.7"
    assert target_of(public, tmp_path, to="http://localhost/x").client == "103.208.23.1"


@pytest.mark.parametrize(
    ("changed", "client"),
    [
        ('    allowlist: {add: ["127.0.0.1"]}\n', "103.208.23.1"),
        ('    allowlist: {replace: ["192.0.2.64/26"]}\n', "192.0.2.65"),
        ('    allowlist: {replace: ["192.0.2.64/31"]}\n', "192.0.2.64"),
        ('    allowlist: {replace: ["2001:db8::/32"]}\n', "2001:db8::1"),
        ('    allowlist: {replace: ["127.0.0.1", "192.0.2.9"]}\n', "192.0.2.9"),
        ('    allowlist: {mode: "off", replace: []}\n', "192.0.2.1"),
        ("    allowlist: {mode: report, replace: [hooks.example.com]}\n", "192.0.2.1"),
    ],
)
def test_an_address_that_may_send_is_forwarded(changed: str, client: str, tmp_path: Path) -> None:
    text = listen('{bind: "127.0.0.1:80"}') + LOOPBACK + MIDTRANS + changed
    assert target_of(text, tmp_path).client == client


@pytest.mark.parametrize(
    "changed",
    ['    allowlist: {add: ["127.0.0.1"]}\n', "    allowlist: {mode: report}\n"],
)
def test_without_a_trusted_proxy_this_machine_sends(changed: str, tmp_path: Path) -> None:
    text = listen('{bind: "127.0.0.1:80"}') + MIDTRANS + changed
    assert target_of(text, tmp_path).client is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (listen('{bind: "127.0.0.1:80"}') + MIDTRANS, "add 127.0.0.1 to trusted_proxies"),
        (
            listen('{bind: "127.0.0.1:80", proxy_protocol: true}')
            + 'trusted_proxies: ["192.0.2.1"]\n'
            + MIDTRANS
            + '    allowlist: {add: ["127.0.0.1"]}\n',
            "add 127.0.0.1 to trusted_proxies",
        ),
        (listen('{bind: "127.0.0.1:0"}') + LOOPBACK + MIDTRANS, "has a fixed port"),
        (
            listen('{bind: "127.0.0.1:80"}')
            + LOOPBACK
            + MIDTRANS
            + "    allowlist: {replace: [hooks.example.com]}\n",
            "no address is known that may send (hooks.example.com)",
        ),
        (
            listen('{bind: "127.0.0.1:80"}')
            + LOOPBACK
            + MIDTRANS.replace("name: midtrans", "name: midtrns"),
            'did you mean "midtrns"?',
        ),
    ],
)
def test_what_the_file_does_not_tell_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        target_of(text, tmp_path)
    assert said in str(caught.value)


def test_a_listener_behind_a_proxy_is_sent_to_as_that_proxy_does(tmp_path: Path) -> None:
    text = listen('{bind: "0.0.0.0:8443", proxy_protocol: true}') + LOOPBACK + MIDTRANS
    found = target_of(text, tmp_path)
    assert (found.url, found.client, found.proxy_protocol) == (
        *("http://127.0.0.1:8443/midtrans/notification", "103.208.23.1"),
        True,
    )
    assert not target_of(text, tmp_path, to="http://127.0.0.1/x").proxy_protocol


def test_a_public_key_does_not_sign(tmp_path: Path) -> None:
    pair = asymmetric()
    (tmp_path / "key.pem").write_text(pair.verifying)
    text = listen('{bind: "127.0.0.1:80"}') + LOOPBACK + MIDTRANS
    text = text.replace("provider: midtrans", "provider: midtrans-snap")
    text = text.replace('"new-key", "old-key"', '"${file:key.pem}"')
    with pytest.raises(Unreachable, match="give a private key with --key"):
        target_of(text, tmp_path)
    found = target_of(text + "    partner_id: G1\n", tmp_path, secret=pair.signing)
    assert found.changes == {"X-PARTNER-ID": "G1"}


def test_the_address_is_forwarded_as_the_file_says() -> None:
    forwarded, usual = ForwardedHeader.FORWARDED, ForwardedHeader.X_FORWARDED_FOR
    assert forwarding(usual, "2001:db8::1") == ("X-Forwarded-For", "2001:db8::1")
    assert forwarding(forwarded, "192.0.2.1") == ("Forwarded", "for=192.0.2.1")
    assert forwarding(forwarded, "2001:db8::1") == ("Forwarded", 'for="[2001:db8::1]"')


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("midtrans", "--endpoint", "midtrans"), "not both"),
        ((), "name an --endpoint of the configuration, or a provider"),
        (("midtrans", "--secret", "s"), "give the URL of the endpoint with --to"),
        (("--endpoint", "midtrans"), "has a fixed port"),
        (("--endpoint", "vips", "--to", "http://127.0.0.1:1"), 'did you mean "vipps"?'),
        (("--endpoint", "midtrans", "--secret", "a", "--key", __file__), "give --secret, or --key"),
    ],
)
def test_a_call_that_lacks_something_says_what(
    words: tuple[str, ...], said: str, relay: Invoke, config: Path
) -> None:
    result = relay("send", *words, "-c", config)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


STRIPE = """  - {name: %s, path: /%s, provider: stripe, upstream: billing}
"""


@pytest.mark.parametrize(
    ("endpoints", "said"),
    [
        (STRIPE % ("cards", "cards"), "cards"),
        ("  - {name: own, provider: {name: stripe}}\n", "own"),
        (
            STRIPE % ("a", "a") + STRIPE % ("b", "b"),
            "the endpoints a, b of relay.yaml have this provider; name one with --endpoint",
        ),
        ("  - {name: x, provider: midtrans}\n", "no endpoint of relay.yaml has this provider"),
        ("  - 5\n", "no endpoint of relay.yaml has this provider; give the URL of one with --to"),
    ],
)
def test_a_provider_that_one_endpoint_has_names_it(endpoints: str, said: str) -> None:
    data = parse(f"endpoints:\n{endpoints}").data
    try:
        found = endpoint_of(data, "stripe", Path("relay.yaml"))
    except Unreachable as error:
        found = str(error)
    assert found.startswith(said)
    with pytest.raises(Unreachable):
        endpoint_of(None, "stripe", Path("relay.yaml"))


# ---- a running relay takes it ---------------------------------------------------------------

_SENDERS = """  - name: callbacks
    path: /vipps
    provider: vipps-callback
    environment: test
    allowlist: {replace: ["192.0.2.0/24"]}
    secrets: ["a-token-of-some-length"]
    upstream: billing
  - name: checkout
    path: /checkout
    provider: vipps-callback
    callback: checkout
    environment: test
    allowlist: {replace: ["2001:db8::/32"]}
    secrets: ["a-token-of-some-length"]
    upstream: billing
  - name: vipps
    path: /webhooks
    provider: vipps
    environment: test
    allowlist: {replace: ["192.0.2.0/24"]}
    public_url: "https://pay.example.com/hooks?shop=1"
    secrets: ["a-secret"]
    upstream: billing
"""


@pytest.mark.parametrize("more", ["", ", proxy_protocol: true"])
async def test_every_endpoint_is_sent_to_by_its_name(
    more: str, relay: Invoke, tmp_path: Path
) -> None:
    certificate = trustme.CA().issue_cert("pay.example.com")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
    (tmp_path / "chain.pem").write_bytes(chain)
    tls = "{certificate: chain.pem, key: key.pem}" + more
    config = tmp_path / "relay.yaml"
    config.write_text(
        f"""{listen(f'{{bind: "127.0.0.1:{free_port()}", tls: {tls}}}')}{LOOPBACK}
forwarded_header: Forwarded
admin: {{bind: "127.0.0.1:0"}}
{UPSTREAM}{MIDTRANS}{_SENDERS}"""
    )

    async def send(*words: str) -> Result:
        # The command runs a loop of its own.
        return await asyncio.to_thread(relay, "send", "-c", config, *words)

    async with Node(config) as node:
        for name in ("midtrans", "callbacks", "checkout", "vipps"):
            sent = await send("--endpoint", name)
            assert (sent.exit_code, sent.stderr) == (0, "")
            assert sent.stdout == "try\tstatus\tbody\n1\t200\tOK\n"
            await node.wait_for(event="delivery", endpoint=name, status=200)
        assert (await send("--endpoint", "vipps", "--secret", "another")).exit_code == 1
        assert (await send("--endpoint", "vipps", "--from", "203.0.113.66")).exit_code == 1
        # Another certificate than the file's: somebody else listens there.
        other = trustme.CA().issue_cert("pay.example.com")
        (tmp_path / "other.pem").write_bytes(other.cert_chain_pems[0].bytes())
        other.private_key_pem.write_to_path(tmp_path / "other-key.pem")
        text = config.read_text().replace("chain.pem", "other.pem")
        config.write_text(text.replace(" key.pem", " other-key.pem"))
        strange = await send("--endpoint", "midtrans")
    assert strange.exit_code == 1
    assert "is not that of the configuration" in strange.stderr
