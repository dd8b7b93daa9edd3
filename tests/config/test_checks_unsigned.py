"""Endpoints that take messages without a proof."""

from tests.config.files import BUILT_IN, changed, good, mistakes

NONE = """      name: corp
      networks: {live: {cidrs: ["192.0.2.0/24"]}}
      signature: {scheme: none}
"""


def none(*pairs: tuple[str, str]) -> str:
    text = changed((BUILT_IN, "    provider:\n" + NONE), ('["${env:KEY}"]', "[]"))
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_sender_that_proves_nothing_needs_enforced_addresses_and_no_secrets() -> None:
    assert good(none()).endpoints[0].secrets == ()
    report = none() + "    allowlist: {mode: report}\n"
    said = {
        none(("[]", '["${env:KEY}"]')): "secrets: are compared with nothing",
        report: "allowlist.mode: must be enforce: with scheme: none",
        none(("192.0.2.0/24", "0.0.0.0/0")): "provider.networks.live.cidrs.0: lets anybody forge",
        none(("192.0.2.0/24", "128.0.0.0/1")): "allowlist: lets half the internet forge",
        none(('{live: {cidrs: ["192.0.2.0/24"]}}', "{}")): "provider.networks: nobody could send",
        none(("none}", "none, from: {header: X-A}}")): "provider.signature.from: has no meaning",
        none(("none}", "none, encoding: base64}")): "provider.signature.encoding: has no meaning",
    }
    for text, part in said.items():
        assert f"endpoints.0.{part}" in mistakes(text)[0]
