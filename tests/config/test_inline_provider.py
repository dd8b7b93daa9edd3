"""A provider described in the file."""

from pathlib import Path

import pytest

from relay.config.inline_provider import InlineProvider
from relay.config.validation import trace
from relay.config.yaml_document import Location
from relay.providers import AddressList, Environment, inline
from tests.config.files import BUILT_IN, INLINE, changed, good, mistakes
from tests.contracts.provider import new_rsa_keys


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "hmac\n",
            "hmack\n",
            (
                "14:17: endpoints.0.provider.signature.scheme: write one of hmac, digest, rsa,"
                ' ed25519, ecdsa, jwt, token, basic, none; did you mean "hmac"?'
            ),
        ),
        (
            "sha256\n",
            "md4\n",
            (
                "15:20: endpoints.0.provider.signature.algorithm: write one of md5, sha1, sha256,"
                ' sha384, sha512; did you mean "md5"?'
            ),
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
    location: Location = ("endpoints", 0, "provider", "inline", name)
    assert trace(location).location == ("endpoints", 0, "provider", name)
    assert name in InlineProvider.model_fields


# ---- what it cannot mean is said where it stands ---------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"{timestamp}.{body}"',
            '"{timestamp}"',
            (
                "20:17: endpoints.0.provider.signature.signed: covers nothing of the body; put"
                " {body}, a hash of it, {json:/path} or {form:NAME} in"
            ),
        ),
        (
            '"{timestamp}.{body}"',
            '"{body}"',
            (
                "21:20: endpoints.0.provider.signature.timestamp: the time is not signed, and"
                " anybody could renew it; put {timestamp} into signed"
            ),
        ),
        (
            '"{timestamp}.{body}"',
            '"{timestamp}.{bdy}"',
            (
                "20:17: endpoints.0.provider.signature.signed: there is no such placeholder;"
                " there are: {body}, {minified_body}, {method}, {path}, {path_query}, {host},"
                " {public_url}, {json_sorted}, {form_sorted}, {timestamp}, {secret},"
                " {header:NAME}, {json:/path}, {form:NAME}, {query:NAME},"
                " {body_without:/path}, {date}, {sha256_hex:body}, {sha256_base64:body},"
                " {sha256_hex:minified_body}, {md5_hex:json:/path}"
            ),
        ),
        (
            "X-Hub-Signature-256}",
            "X Hub}",
            (
                "17:24: endpoints.0.provider.signature.from.header: write the name of a header"
                " field, such as X-Signature"
            ),
        ),
        (
            "{header: X-GitHub-Delivery}",
            "{json: [id]}",
            (
                "22:26: endpoints.0.provider.event_key.json.0: write a JSON pointer that begins"
                " with a slash, such as /data/id"
            ),
        ),
        (
            "[POST]",
            "[post]",
            (
                "12:17: endpoints.0.provider.methods.0: write one of POST, PUT, PATCH, DELETE, GET,"
                ' HEAD; did you mean "POST"?'
            ),
        ),
    ],
)
def test_what_it_cannot_mean(old: str, new: str, said: str) -> None:
    assert mistakes(changed((BUILT_IN, INLINE.replace(old, new, 1)))) == [said]


def test_a_description_says_what_the_file_says() -> None:
    described = good(changed((BUILT_IN, INLINE))).endpoints[0].provider
    assert isinstance(described, InlineProvider)
    found = described.description()
    assert found.signature == inline.SignatureRule(
        "hmac",
        inline.HeaderField("X-Hub-Signature-256"),
        format="sha256={signature}",
        signed="{timestamp}.{body}",
        time=inline.TimeRule(inline.HeaderField("X-Time"), "s"),
    )
    assert (found.name, found.methods) == ("github", ("POST",))
    assert found.event_key == (inline.HeaderField("X-GitHub-Delivery"),)
    assert found.environments == {
        "live": Environment(
            (AddressList("configuration", ("192.0.2.0/24",)),), ("hooks.example.com",)
        )
    }


def test_without_networks_there_is_one_environment_with_nobody() -> None:
    text = INLINE.replace(
        '      networks: {live: {cidrs: ["192.0.2.0/24"], hosts: ["hooks.example.com"]}}\n', ""
    )
    assert len(mistakes(changed((BUILT_IN, text)))) == 1
    endpoint = good(changed((BUILT_IN, text)) + "    allowlist: {mode: off}\n").endpoints[0]
    assert endpoint.environment == "live"
    good(changed((BUILT_IN, text)) + "    allowlist: {add: [192.0.2.1]}\n")


def test_a_public_key_is_read_from_a_file_with_many_lines(tmp_path: Path) -> None:
    pem = new_rsa_keys().verifying.reveal()
    (tmp_path / "key.pem").write_bytes(pem)
    text = changed((BUILT_IN, INLINE), ("${env:KEY}", "${file:key.pem}"))
    text = text.replace("scheme: hmac", "scheme: rsa").replace("encoding: hex", "encoding: base64")
    assert good(text, base=tmp_path).endpoints[0].secrets[0].reveal() == pem.rstrip(b"\n")
    (tmp_path / "key.pem").write_bytes(pem.replace(b"-----END", b"!----END"))
    (said,) = mistakes(text, base=tmp_path)
    assert said.startswith("23:15: endpoints.0.secrets.0: line ")


def test_a_mistake_in_a_list_is_told_where_its_entry_stands() -> None:
    text = INLINE + (
        "      forward: [X-Topic, Cookie]\n"
        "      challenge:\n"
        "        - {when: {query: a}, signed: false, answer: {text: ok}}\n"
        "        - {when: {method: GET, json: /b}, signed: false, answer: {text: ok}}\n"
    )
    assert [said.partition(": ")[0] for said in mistakes(changed((BUILT_IN, text)))] == [
        "23:26",
        "26:18",
    ]
