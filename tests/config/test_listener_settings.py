"""The keys of listeners, and the limits that come of them."""

from relay.core.strict_json import JsonLimits
from tests.config.files import GOOD, good


def test_json_limits_come_from_the_largest_body_unless_they_are_set() -> None:
    assert good(GOOD).limits.json_limits == JsonLimits(256 * 1024)
    body = good(GOOD + "limits: {body: 128KiB}\n").limits.json_limits
    assert body == JsonLimits(128 * 1024)
    assert body.keys == 128 * 1024 // 12
    # Whoever takes larger bodies says how much JSON may be in them.
    assert good(GOOD + "limits: {body: 25MiB}\n").limits.json_limits.keys == 256 * 1024 // 12
    given = "limits: {body: 1MiB, json_keys: 10, json_elements: 20, json_depth: 3}\n"
    limits = good(GOOD + given).limits.json_limits
    assert (limits.keys, limits.elements, limits.containers, limits.depth) == (10, 20, 20, 3)


def test_the_admin_listener_has_names_in_lower_case_and_addresses_in_one_form() -> None:
    text = GOOD + 'admin: {hosts: [Relay.Internal, relay, "2001:DB8::1", 10.0.0.9]}\n'
    assert good(text).admin.hosts == ("relay.internal", "relay", "2001:db8::1", "10.0.0.9")


def test_both_tokens_are_secrets_to_mask() -> None:
    settings = good(GOOD + 'admin: {token: "${env:KEY}", read_token: "${env:OTHER}"}\n')
    assert {"Mid-server-1", "another"} <= {
        each.reveal().decode() for each in settings.every_secret()
    }
