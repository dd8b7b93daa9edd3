"""An endpoint and its provider."""

import pytest

from relay.config import endpoints, presets
from relay.config.endpoints import (
    endpoint_options,
    provider_name,
    provider_of,
    senders,
)
from relay.config.settings import Endpoint
from relay.core.secret import Secret
from relay.providers import (
    EndpointOptions,
    Environment,
    ProviderInfo,
    RequiredField,
    Window,
)
from relay.providers.builtin import provider_named
from tests.config.files import BUILT_IN, ENVIRON, GOOD, INLINE, VIPPS, changed, good, mistakes

UNSIGNED = changed(('["${env:KEY}"]', "[]")) + "    unsigned: accept\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # the provider
        (
            changed(("provider: midtrans", "provider: midtran")),
            '9:15: endpoints.0.provider: no provider named "midtran"; did you mean "midtrans"?',
        ),
        (
            changed(("provider: midtrans", "provider: qqq")),
            (
                '9:15: endpoints.0.provider: no provider named "qqq"; there are:'
                f" {', '.join(sorted(presets.names())[:24])}, …"
            ),
        ),
        (
            changed(("provider: midtrans", "provider: ../midtrans")),
            '9:15: endpoints.0.provider: no provider named "../midtrans"; did you mean "midtrans"?',
        ),
        # its environment
        (
            changed(("environment: production", "environment: prodction")),
            (
                '10:18: endpoints.0.environment: midtrans has no environment "prodction"; did'
                ' you mean "production"?'
            ),
        ),
        (
            changed(("environment: production", "environment: test")),
            (
                '10:18: endpoints.0.environment: midtrans has no environment "test"; there are:'
                " production, sandbox"
            ),
        ),
        (
            changed(("    environment: production\n", "")),
            "7:5: endpoints.0.environment: this key is needed; write one of production, sandbox",
        ),
        # unsigned
        (
            changed(('["${env:KEY}"]', "[]")),
            (
                "11:14: endpoints.0.secrets: at least one is needed to verify signatures, such"
                ' as ["${env:NAME}"]; unsigned: accept does without, if allowlist.mode is enforce'
            ),
        ),
        (
            changed(('    secrets: ["${env:KEY}"]\n', "")),
            (
                "7:5: endpoints.0.secrets: at least one is needed to verify signatures, such as"
                ' ["${env:NAME}"]; unsigned: accept does without, if allowlist.mode is enforce'
            ),
        ),
        (
            GOOD + "    unsigned: accept\n",
            "13:15: endpoints.0.unsigned: has no meaning beside secrets; leave it out",
        ),
        (
            UNSIGNED + "    allowlist: {mode: report}\n",
            (
                "14:23: endpoints.0.allowlist.mode: must be enforce: with unsigned: accept the"
                " address is all that is checked"
            ),
        ),
        (
            UNSIGNED + "    allowlist: {mode: off}\n",
            (
                "14:23: endpoints.0.allowlist.mode: must be enforce: with unsigned: accept the"
                " address is all that is checked"
            ),
        ),
        (
            UNSIGNED + '    allowlist: {add: ["192.0.2.1", "0.0.0.0/0"]}\n',
            (
                "14:36: endpoints.0.allowlist.add.1: lets anybody forge: with unsigned: accept"
                " the address is all there is"
            ),
        ),
        (
            UNSIGNED + '    allowlist: {replace: ["::/0"]}\n',
            (
                "14:27: endpoints.0.allowlist.replace.0: lets anybody forge: with unsigned:"
                " accept the address is all there is"
            ),
        ),
        (
            UNSIGNED + '    allowlist: {add: ["0.0.0.0/1", "128.0.0.0/1"]}\n',
            (
                "14:16: endpoints.0.allowlist: lets half the internet forge: with unsigned: accept"
                " the address is all there is"
            ),
        ),
        # the allowlist
        (
            GOOD + "    allowlist: {replace: []}\n",
            (
                "13:26: endpoints.0.allowlist.replace: nobody could send; name networks or host"
                " names, or leave replace out"
            ),
        ),
        (
            GOOD + "    allowlist: {mode: report, replace: []}\n",
            (
                "13:40: endpoints.0.allowlist.replace: nobody could send; name networks or host"
                " names, or leave replace out"
            ),
        ),
        # a provider described in the file
        (
            changed((BUILT_IN, INLINE.replace("live: {", "other: {}, live: {"))),
            "7:5: endpoints.0.environment: this key is needed; write one of other, live",
        ),
        (
            changed((BUILT_IN, INLINE.replace("{live: {", "{live: {}, x: {")))
            + "    environment: live\n",
            (
                "11:17: endpoints.0.provider.networks: nobody could send; name networks or host"
                " names here or in allowlist.add, or write allowlist: {mode: off} and rely on the"
                " signature alone"
            ),
        ),
        (
            changed((BUILT_IN, INLINE.replace("name: github", "name: vipps"))),
            "10:13: endpoints.0.provider.name: is built in; choose another name for this one",
        ),
        (
            changed((BUILT_IN, INLINE.replace("text", "base64"))),
            ("23:15: endpoints.0.secrets.0: is not Base64; secret_encoding says it would be"),
        ),
        (
            changed((BUILT_IN, INLINE)) + "    order_id_pattern: x\n",
            (
                "25:23: endpoints.0.order_id_pattern: has no meaning for a provider described here;"
                " leave it out"
            ),
        ),
        (
            changed((BUILT_IN, INLINE.replace('"{timestamp}', '"{public_url}{timestamp}'))),
            ("7:5: endpoints.0.public_url: is signed; write the URL registered at the sender"),
        ),
        # prefixes and products
        (
            changed(("provider: midtrans", "provider: vipps-callback"))
            + "    callback: express\n    order_id_pattern: x\n",
            ("14:23: endpoints.0.order_id_pattern: only midtrans signs an order id; leave it out"),
        ),
        # terms
        (
            GOOD + "    timestamp: off\n",
            "13:16: endpoints.0.timestamp: midtrans signs no time; leave the key out",
        ),
        (
            GOOD + "    callback: express\n",
            "13:15: endpoints.0.callback: midtrans has no callback products; leave the key out",
        ),
        (
            GOOD + "    partner_id: x\n",
            "13:17: endpoints.0.partner_id: only midtrans-snap sends one; leave it out",
        ),
        (
            GOOD + "    merchant_id: G1\n",
            "13:18: endpoints.0.merchant_id: Midtrans does not sign it here; leave it out",
        ),
        (
            GOOD + VIPPS + "    merchant_id: '1'\n",
            "19:18: endpoints.1.merchant_id: write must: [{json: /msn, is: …}] for Vipps",
        ),
        (
            GOOD + "    must: [{json: /order_id, is: a}, {json: /merchant_id, is: M1}]\n",
            (
                "13:38: endpoints.0.must.1: /merchant_id is not signed, and anybody could write it;"
                " signed are /order_id, /status_code, /gross_amount"
            ),
        ),
        (
            GOOD + VIPPS + "    order_id_pattern: x\n",
            "19:23: endpoints.1.order_id_pattern: Vipps has no order id; leave it out",
        ),
    ],
)
def test_what_does_not_fit(text: str, said: str) -> None:
    assert mistakes(text) == [said]


def test_the_fields_that_a_message_must_have() -> None:
    text = GOOD + VIPPS + "    must: [{json: /msn, in: ['1', 22]}, {json: /name, is: CAPTURED}]\n"
    vipps = good(text).endpoints[1]
    assert endpoint_options(vipps, provider_of(vipps).info).must == (
        RequiredField("/msn", ("1", "22")),
        RequiredField("/name", ("CAPTURED",)),
    )


def test_fields_of_a_description_are_named_where_they_stand() -> None:
    described = INLINE.replace("{timestamp}.{body}", "{timestamp}.{json:/id}").replace(
        "      event_key", "      must: [{json: /id, is: x}, {json: /to, in: [y]}]\n      event_key"
    )
    [said] = mistakes(changed((BUILT_IN, described)))
    assert said.partition(": ")[2] == (
        "endpoints.0.provider.must.1: /to is not signed, and anybody could write it; signed are /id"
    )


@pytest.mark.parametrize(
    ("must", "said"),
    [
        ("[{json: /msn}]", "must.0.is: this key is needed"),
        ("[{json: /msn, is: ''}]", "must.0.is: must not be empty"),
        ("[{json: /msn, in: []}]", "must.0.in: "),
        ("[{json: /msn, is: true}]", "must.0.is: "),
        ("[{json: msn, is: '1'}]", "must.0.json: write a JSON pointer"),
        ("[{header: X-A, is: '1'}]", "must.0."),
    ],
)
def test_a_field_without_a_value_is_a_mistake(must: str, said: str) -> None:
    assert any(
        f"endpoints.1.{said}" in each for each in mistakes(f"{GOOD}{VIPPS}    must: {must}\n")
    )


def test_every_unusable_term_is_named() -> None:
    text = GOOD.replace('["${env:KEY}"]', '["${env:KEY}", "${env:BLANK}", "${env:BLANK}"]')
    assert mistakes(text + "    partner_id: x\n", {**ENVIRON, "BLANK": " "}) == [
        "11:29: endpoints.0.secrets.1: is empty; give the server key",
        "11:45: endpoints.0.secrets.2: is empty; give the server key",
        "13:17: endpoints.0.partner_id: only midtrans-snap sends one; leave it out",
    ]


def test_a_key_that_asks_does_without_one_that_signs() -> None:
    confirm = "    confirm: {key: '${env:OTHER}'}\n"
    asked = good(UNSIGNED + confirm).endpoints[0].confirm
    assert asked is not None
    assert asked.key == Secret(ENVIRON["OTHER"])
    [said] = mistakes(UNSIGNED + "    confirm: {}\n")
    assert "needs secrets" in said


def test_unsigned_from_enforced_addresses() -> None:
    endpoint = good(UNSIGNED).endpoints[0]
    assert endpoint.secrets == ()
    assert endpoint.unsigned == "accept"
    replaced = good(UNSIGNED + "    allowlist: {replace: [192.0.2.1]}\n").endpoints[0]
    assert replaced.allowlist.replace is not None


def test_nobody_is_needed_where_anybody_may_send() -> None:
    endpoint = good(GOOD + "    allowlist: {mode: off, replace: []}\n").endpoints[0]
    assert endpoint.allowlist.replace == ()


def test_the_only_environment_need_not_be_named() -> None:
    endpoint = good(GOOD).endpoints[0].model_copy(update={"environment": ""})
    info = provider_named("midtrans").info
    assert endpoints.environment(endpoint, info) == ""
    alone = _facts({"live": Environment()})
    assert endpoints.environment(endpoint, alone) == "live"
    named = good(GOOD).endpoints[0]
    assert endpoints.environment(named, alone) == "production"


def _facts(environments: dict[str, Environment]) -> ProviderInfo:
    reviewed = provider_named("midtrans").info.reviewed
    return ProviderInfo("x", "X", environments, ("POST",), "", "", "", "", "", reviewed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD + "    mode: proxy\n    confirm: {}\n",
            (
                "14:14: endpoints.0.confirm: needs mode: store; what is passed on at once is not"
                " asked about"
            ),
        ),
        (
            GOOD + VIPPS + "    confirm: {with: status}\n",
            ("19:14: endpoints.1.confirm: vipps cannot be asked for a status; leave the key out"),
        ),
        (
            changed(('    secrets: ["${env:KEY}"]\n', "    unsigned: accept\n"))
            + "    confirm: {}\n",
            (
                "13:14: endpoints.0.confirm: needs secrets: the server key is what the status is"
                " asked with"
            ),
        ),
        (
            GOOD + '    confirm: {url: "http://api.example.com"}\n',
            "13:20: endpoints.0.confirm.url: must be https: the server key is sent there",
        ),
    ],
)
def test_who_is_to_be_asked_has_to_be_able_to_answer(text: str, said: str) -> None:
    assert mistakes(text) == [said]


def test_an_api_may_be_on_this_machine() -> None:
    for url in ("http://127.0.0.1:81", "http://[::1]:81", "http://localhost", "https://a.test"):
        settings = good(GOOD + f'    confirm: {{url: "{url}", on_error: deliver, rate: 5}}\n')
        confirm = settings.endpoints[0].confirm
        assert confirm is not None
        assert (confirm.with_, confirm.on_error, confirm.url) == ("status", "deliver", url)


# ---- an endpoint and its provider -----------------------------------------------------------
# An endpoint in the words of its provider.


def test_terms_say_what_the_endpoint_says() -> None:
    text = GOOD + "    order_id_pattern: 'A.*'\n" + VIPPS
    midtrans, vipps = good(text + "    public_url: https://pay.example.com/v\n").endpoints
    assert endpoint_options(midtrans, provider_named("midtrans").info) == EndpointOptions(
        secrets=midtrans.secrets, order_id_pattern="A.*", enforced=True
    )
    info = provider_named("vipps").info
    found = endpoint_options(vipps, info)
    assert found.window == info.window
    assert found.window is not None
    assert found.public_url == "https://pay.example.com/v"


@pytest.mark.parametrize("text", ["off", "{past: 1h, future: 1s}"])
def test_terms_hold_the_window(text: str) -> None:
    endpoint = good(GOOD + VIPPS + f"    timestamp: {text}\n").endpoints[1]
    window = endpoint_options(endpoint, provider_named("vipps").info).window
    assert window is not None
    if text == "off":
        assert window == Window(past=None, future=None)
    else:
        assert window.past is not None
        assert window.future is not None
        assert (window.past.total_seconds(), window.future.total_seconds()) == (3600, 1)


def _senders(allowlist: str) -> tuple[int, list[str], tuple[str, ...]]:
    endpoint: Endpoint = good(GOOD + VIPPS + f"    allowlist: {allowlist}\n").endpoints[1]
    found = senders(endpoint, provider_named("vipps").info.environments["production"])
    return len(found.networks), [entry.origin for entry in found.networks], found.hosts


def test_who_may_send() -> None:
    own = provider_named("vipps").info.environments["production"].hosts
    assert _senders("{}") == (0, [], own)
    assert _senders("{add: [192.0.2.1, x.example, callback-1.vipps.no]}") == (
        1,
        ["configuration"],
        (*own, "x.example"),
    )
    assert _senders("{add: [192.0.2.1], replace: [192.0.2.2, x.example]}") == (
        2,
        ["configuration", "configuration"],
        ("x.example",),
    )


def test_listed_networks_keep_their_origin() -> None:
    endpoint = good(GOOD).endpoints[0]
    environment = provider_named("midtrans").info.environments["production"]
    found = senders(endpoint, environment)
    assert {entry.origin for entry in found.networks} == {
        listing.origin for listing in environment.listings
    }
    assert len(found.networks) == sum(len(each.networks) for each in environment.listings)
    # Read once, however many endpoints it is for.
    again = senders(endpoint, environment)
    assert all(one is other for one, other in zip(found.networks, again.networks, strict=True))


@pytest.mark.parametrize(
    ("allowlist", "enforced"),
    [
        ("{}", True),
        ("{add: [192.0.2.0/24]}", True),
        ("{mode: report}", False),
        ("{mode: off}", False),
        ('{add: ["0.0.0.0/0"]}', False),
        ('{replace: ["::/0"]}', False),
        ('{add: ["0.0.0.0/1", "128.0.0.0/1"]}', False),
    ],
)
def test_only_an_allowlist_that_refuses_is_a_proof(allowlist: str, enforced: bool) -> None:
    endpoint = good(GOOD + f"    allowlist: {allowlist}\n").endpoints[0]
    assert endpoint_options(endpoint, provider_named("midtrans").info).enforced is enforced


def test_a_described_provider_is_one_like_any_other() -> None:
    endpoint = good(changed((BUILT_IN, INLINE))).endpoints[0]
    info = provider_of(endpoint).info
    assert (provider_name(endpoint), info.name, endpoint.environment) == ("github",) * 2 + ("live",)
    found = senders(endpoint, info.environments["live"])
    assert [(str(entry.network), entry.origin) for entry in found.networks] == [
        ("192.0.2.0/24", "configuration")
    ]
    assert found.hosts == ("hooks.example.com",)
    built_in = good(GOOD).endpoints[0]
    assert provider_of(built_in) is provider_named("midtrans")
    assert provider_name(built_in) == "midtrans"


def test_the_callback_is_a_term() -> None:
    text = GOOD + VIPPS.replace("provider: vipps", "provider: vipps-callback")
    endpoint = good(text + "    callback: checkout\n").endpoints[1]
    assert endpoint_options(endpoint, provider_named("vipps-callback").info).callback == "checkout"
