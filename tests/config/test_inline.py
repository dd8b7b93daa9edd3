"""A provider described in the file: refused for now, and its keys are checked all the same."""

import pytest

from relay.config.inline import InlineProvider
from relay.config.places import Place
from relay.config.structure import trace
from tests.config.files import BUILT_IN, INLINE, changed, mistakes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "hmac\n",
            "hmack\n",
            (
                "14:17: endpoints.0.provider.signature.scheme: write one of hmac, digest, rsa,"
                ' ed25519, token; did you mean "hmac"?'
            ),
        ),
        (
            "sha256\n",
            "md5\n",
            "15:20: endpoints.0.provider.signature.algorithm: write one of sha1, sha256, sha512",
        ),
        (
            "unit: s",
            "unit: sec",
            (
                "21:51: endpoints.0.provider.signature.timestamp.unit: write one of s, ms,"
                " rfc1123, iso8601"
            ),
        ),
        (
            "{header: X-GitHub-Delivery}",
            "{json: 5}",
            '22:25: endpoints.0.provider.event_key.json: write a list, such as ["/id", "/status"]',
        ),
        (
            "192.0.2.0/24",
            "192.0.2.1/24",
            (
                "11:33: endpoints.0.provider.networks.live.cidrs.0: 192.0.2.1/24 has host bits;"
                " write 192.0.2.0/24 or 192.0.2.1/32"
            ),
        ),
    ],
)
def test_its_keys_are_checked(old: str, new: str, said: str) -> None:
    text = changed((BUILT_IN, INLINE.replace(old, new, 1)))
    assert mistakes(text) == [said]


@pytest.mark.parametrize("name", ["name", "networks", "methods", "signature", "event_key"])
def test_its_keys_are_found_among_those_of_an_endpoint(name: str) -> None:
    place: Place = ("endpoints", 0, "provider", "inline", name)
    assert trace(place).place == ("endpoints", 0, "provider", name)
    assert name in InlineProvider.model_fields
