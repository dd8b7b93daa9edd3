"""What is built in can be looked up."""

import errno
import os
from pathlib import Path

import orjson
import pytest

from relay.cli.providers import Unknown, named_or_described
from relay.core.errors import ConfigError
from relay.providers.builtin import names
from tests.cli.conftest import Invoke

NOT_THERE = os.strerror(errno.ENOENT)
SENDERS = Path(__file__).parents[2] / "config/senders"


def test_the_providers_are_listed(relay: Invoke) -> None:
    result = relay("providers", "list", "--format", "json")
    assert result.exit_code == 0
    listed = {each["name"]: each for each in orjson.loads(result.output)}
    assert set(listed) == {*names(), *(path.stem for path in SENDERS.glob("*.yaml"))}
    assert listed["midtrans"]["reviewed"] is not None
    assert listed["stripe"]["reviewed"] == "2026-11-30"
    assert "stripe\tlive\tHMAC-SHA256" in relay("providers", "list").output


def test_no_verb_lists_them_too(relay: Invoke) -> None:
    result = relay("providers")
    assert result.exit_code == 0
    assert "midtrans" in result.output


def test_one_is_shown_with_addresses_their_origin_and_review(relay: Invoke) -> None:
    output = relay("providers", "show", "midtrans").output
    assert "103.208.23.0/24" in output
    assert "2022-03-15" in output
    assert "reviewed" in output


def test_json_holds_the_same(relay: Invoke) -> None:
    shown = orjson.loads(relay("providers", "show", "vipps", "--format", "json").output)
    assert "callback-dr-4.vipps.no" in shown["environments"]["production"]["hosts"]
    assert shown["window"] == {"past_seconds": 604800.0, "future_seconds": 300.0}


def test_a_sender_is_shown_from_its_file(relay: Invoke) -> None:
    file = Path(__file__).parents[2] / "config/senders/github.yaml"
    output = relay("providers", "show", file).output
    assert "HMAC-SHA256 in hex, in X-Hub-Signature-256" in output
    assert f"file\t{file}\n" in output
    assert "source\thttps://docs.github.com/en/webhooks/using-webhooks/validating" in output
    assert "reviewed\t2026-11-30\n" in output
    assert "trap\tX-Hub-Signature, without the 256, is SHA-1 and is not looked at.\n" in output
    assert "published message\tGitHub's own page shows one" in output
    shown = orjson.loads(relay("providers", "show", file, "--format", "json").output)
    assert (shown["file"], shown["reviewed"]) == (str(file), "2026-11-30")
    assert len(shown["documents"]) == 1
    assert len(shown["traps"]) > 3
    assert shown["vector"].startswith("GitHub's own page")


def test_the_list_says_where_a_challenge_is_answered(relay: Invoke) -> None:
    lines = relay("providers", "list").output.splitlines()
    answered = {line.split("\t")[0] for line in lines if "\tanswered\t" in line}
    assert {"slack", "zoom", "meta"} <= answered
    assert "stripe" not in answered


def test_what_says_nothing_of_itself_was_never_reviewed(relay: Invoke, tmp_path: Path) -> None:
    file = written(tmp_path, BLOCK)
    shown = orjson.loads(relay("providers", "show", file, "--format", "json").output)
    assert (shown["document"], shown["reviewed"], shown["traps"]) == ("", None, [])
    output = relay("providers", "show", file).output
    assert not any(f"\n{fact}\t" in output for fact in ("source", "reviewed", "trap"))


def test_a_ready_sender_is_shown_by_its_name(relay: Invoke) -> None:
    file = SENDERS / "github.yaml"
    assert relay("providers", "show", "github").output == relay("providers", "show", file).output


def test_a_name_that_is_not_there_is_answered_with_those_that_are(relay: Invoke) -> None:
    result = relay("providers", "show", "midtran")
    assert result.exit_code == 2
    assert (
        'no provider named "midtran", and no such file; did you mean "midtrans"?' in result.stderr
    )
    assert '"stripe"' in relay("providers", "show", "strype").stderr


# ---- described ------------------------------------------------------------------------------
# A sender's file, as `relay send` and `relay providers show` read it.

BLOCK = """\
name: shop
signature:
  scheme: hmac
  from: {header: X-Signature}
"""


def written(directory: Path, text: str) -> str:
    file = directory / "sender.yaml"
    file.write_text(text)
    return str(file)


def indented(text: str, by: str) -> str:
    return "".join(f"{by}{line}\n" for line in text.splitlines())


def test_a_built_in_provider_has_no_file() -> None:
    found = named_or_described("midtrans")
    assert (found.provider.info.name, found.file) == ("midtrans", None)


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        "\ufeff" + BLOCK,
        f"provider:\n{indented(BLOCK, '  ')}",
        f"endpoints:\n  - provider: vipps\n  - provider:\n{indented(BLOCK, '      ')}",
    ],
    ids=["block", "byte order mark", "under its key", "configuration"],
)
def test_the_shapes_of_a_file(text: str, tmp_path: Path) -> None:
    found = named_or_described(written(tmp_path, text))
    assert found.provider.info.name == "shop"
    assert (found.file, found.public_url) == (tmp_path / "sender.yaml", None)


def test_secrets_need_not_be_set() -> None:
    found = named_or_described(str(SENDERS / "square.yaml"))
    assert found.public_url == "https://pay.example.com/square"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["1:1: describes no sender; write a provider block"]),
        ("a: 1\n", ["1:1: describes no sender"]),
        (
            "endpoints: [{provider: {name: a}}, {provider: {name: b}}]\n",
            ["1:1: describes several senders"],
        ),
        ("a: [\n", ["not valid YAML"]),
        ("name: a\nname: b\nsignature: {}\n", ['the key "name" is here twice']),
        (
            BLOCK.replace("hmac", "hmca") + "x: 1\n",
            ["3:11: signature.scheme: write one of", "5:1: x: unknown key"],
        ),
        (BLOCK + '  signed: "{bdy}"\n', ["5:11: signature.signed: there is no such placeholder"]),
        (
            f"endpoints:\n  - public_url: ftp\n    provider:\n{indented(BLOCK, '      ')}",
            ["2:17: endpoints.0.public_url: must begin with http:// or https://; write a URL"],
        ),
    ],
)
def test_every_mistake_is_told_where_it_stands(text: str, said: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        named_or_described(written(tmp_path, text))
    lines = str(caught.value).split("\n")
    assert len(lines) == len(said)
    assert all(part in line for line, part in zip(lines, said, strict=True))


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=NOT_THERE):
        named_or_described(str(tmp_path / "none.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    with pytest.raises(ConfigError, match=":1:7: not UTF-8: byte 0xE9"):
        named_or_described(str(tmp_path / "latin.yaml"))


def test_neither_a_name_nor_a_file() -> None:
    with pytest.raises(Unknown, match='no provider named "midtran", and no such file; did you'):
        named_or_described("midtran")


def test_how_a_sender_tries_an_endpoint_is_told(relay: Invoke) -> None:
    said = "answered where /event is endpoint.url_validation, if it is signed"
    assert f"challenge\t{said}\n" in relay("providers", "show", "zoom").output
    shown = orjson.loads(relay("providers", "show", "zoom", "--format", "json").output)
    assert shown["challenges"] == [said]
    (asana,) = orjson.loads(relay("providers", "show", "asana", "--format", "json").output)[
        "challenges"
    ]
    assert asana == "answered where the header X-Hook-Secret is there, signed or not"
