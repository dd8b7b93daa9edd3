"""Reading a file: whatever is in it, it is settings or a ConfigError, and soon."""

import errno
import json
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types

from relay.config.file_text import MAX_FILE_BYTES
from relay.config.loader import load, load_text, schema, text
from relay.config.settings import Settings
from relay.config.yaml_document import parse
from relay.core.errors import ConfigError, Problem
from tests.config.files import BASE, ENVIRON, GOOD, good

NOT_PERMITTED = os.strerror(errno.EACCES)
NOT_THERE = os.strerror(errno.ENOENT)


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_text(GOOD)
    found = load(file, ENVIRON)
    assert found.source.file == str(file)
    assert found.source.base == tmp_path
    assert found == load(file, ENVIRON)


def test_messages_name_the_file_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "relay.yaml").write_text(GOOD + "x: 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(Path("relay.yaml"), ENVIRON)
    message = 'unknown key "x"; there are: admin, dns, endpoints, forwarded_header, limits, listen,'
    message += " shutdown_grace, spool, state_dir, trusted_proxies, upstreams"
    assert caught.value.problems == (Problem("relay.yaml", 13, 1, "x", message),)
    assert str(caught.value) == f"relay.yaml:13:1: x: {message}"


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, ENVIRON)
    return str(caught.value).removeprefix(str(path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert refused(tmp_path / "x") == (
        ":1:1: there is no such file; name one with -c FILE or in RELAY_CONFIG, or write one with"
        " relay init"
    )
    assert refused(tmp_path) == ":1:1: cannot read the file: it is not a regular file"
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == ":1:1: cannot read the file: it is not a regular file"
    assert refused(Path("a\0b")) == ":1:1: cannot read the file: embedded null byte"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "x").touch(mode=0)
    assert refused(tmp_path / "x") == ":1:1: cannot read the file: " + NOT_PERMITTED


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(file, ENVIRON).source.position(("listen",)) == (2, 3)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_text(GOOD + "#" * (MAX_FILE_BYTES - len(GOOD)))
    assert load(file, ENVIRON).endpoints
    file.write_text(GOOD + "#" * (MAX_FILE_BYTES - len(GOOD) + 1))
    assert refused(file) == ":1:1: larger than 1 MiB"
    assert refused(Path("/dev/zero")) == ":1:1: cannot read the file: it is not a regular file"


def test_text_that_is_not_unicode() -> None:
    with pytest.raises(ConfigError, match=r"^x:1:1: not valid Unicode$"):
        load_text("a: \ud800", "x", {}, BASE)


NAMES = [
    "listen",
    "bind",
    "tls",
    "admin",
    "token",
    "spool",
    "kind",
    "path",
    "dsn",
    "upstreams",
    "url",
    "billing",
    "endpoints",
    "name",
    "provider",
    "environment",
    "secrets",
    "allowlist",
    "add",
    "replace",
    "timestamp",
    "past",
    "retry",
    "schedule",
    "signature",
    "from",
    "x",
]
SCALARS = st.sampled_from(
    [
        "5",
        "'5'",
        "true",
        "null",
        "~",
        "off",
        "15s",
        "64KiB",
        "0.0.0.0:1",
        "'${env:KEY}'",
        "''",
        "'${file:/}'",
        "midtrans",
        "vipps",
        "production",
        "http://x/",
        "/p",
        "192.0.2.0/24",
        "sqlite",
        "postgres",
        "1e9",
        ".inf",
        "'[::]:1'",
        "é",
        "store",
        "proxy",
    ]
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=12,
)


def attempt(text: str) -> None:
    started = time.process_time()
    problems = problems_of(lambda: load_text(text, "relay.yaml", ENVIRON, BASE))
    assert all(each.line > 0 and each.column > 0 and each.message for each in problems)
    assert time.process_time() - started < 1


def problems_of(loading: Callable[[], Settings]) -> tuple[Problem, ...]:
    try:
        loading()
    except ConfigError as error:
        return error.problems
    return ()


QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(st.text())
def test_random_text(text: str) -> None:
    attempt(text)


@QUICK
@given(st.text(alphabet="{}[]:,-&*!|>'\"%@`#?\n\t ab01"))
def test_random_text_of_the_characters_of_yaml(text: str) -> None:
    attempt(text)


@QUICK
@given(st.text(alphabet="{}[]:,-&*!|>'\"#?\n ab01"), st.integers(0, len(GOOD)))
def test_random_text_within_a_good_file(text: str, at: int) -> None:
    attempt(GOOD[:at] + text + GOOD[at:])


@QUICK
@given(DOCUMENTS)
def test_random_structures(text: str) -> None:
    attempt(text)


@QUICK
@given(st.sampled_from(NAMES), DOCUMENTS)
def test_random_sections(name: str, text: str) -> None:
    attempt(f"{GOOD}    {name}: {text}\nspool: {text}\ndns: {text}\n")


UPSTREAM_KEYS = ("headers", "auth", "tls", "rate", "final", "allow_addresses")
INNER_KEYS = (
    *("X-Api-Key", "Host", "bearer", "basic", "oauth2", "user", "password", "token_url", "scope"),
    *("client_id", "client_secret", "ca", "certificate", "key", "server_name"),
    *("when", "header", "json", "is", "in", "upstreams"),
)
WORDS = ("", "billing", "/type", "50/s", "0/s", "${env:KEY}", "${file:x}", "http://u:p@x/", "::/0")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 600) | st.sampled_from(WORDS) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(INNER_KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)


@QUICK
@given(st.dictionaries(st.sampled_from(UPSTREAM_KEYS), VALUES, min_size=1), VALUES)
def test_random_keys_of_upstreams_and_routes(keys: dict[str, object], routes: object) -> None:
    written = json.dumps(keys)[1:-1]
    attempt(
        GOOD.replace('webhooks"}', f'webhooks", {written}}}')
        + f"    routes: {json.dumps(routes)}\n"
    )


@QUICK
@given(st.lists(st.sampled_from(GOOD.splitlines()), max_size=20))
def test_lines_of_a_good_file_in_any_order(lines: list[str]) -> None:
    attempt("\n".join(lines))


@QUICK
@given(content=st.binary())
def test_random_bytes(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "random.yaml"
    file.write_bytes(content)
    assert all(each.message for each in problems_of(lambda: load(file, ENVIRON)))


BOMBS = {
    "nested lists": "[" * 500_000,
    "nested mappings": "{a: " * 250_000,
    "nested dashes": "- " * 500_000,
    "question marks": "? " * 500_000,
    "a list of many": "x: [" + "1," * 500_000 + "]",
    "mistakes": "trusted_proxies: [" + "1," * 19_000 + "]",
    "unknown keys": "".join(f"key{n}: 1\n" for n in range(9_000)),
    "equal keys": "a: 1\n" * 9_000,
    "one long word": "a: " + "x" * 1_000_000,
    "one long key": "x" * 1_000_000 + ": a",
    "one long number": "limits: {connections: " + "9" * 1_000_000 + "}",
    "colons": ":" * 1_000_000,
    "anchors": "".join(f"- &a{n} x\n" for n in range(19_000)),
    "aliases": "a: &a [x, x]\nb: [" + "*a," * 200_000 + "]",
    "a billion laughs": "a0: &a0 [x, x]\n"
    + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)),
    "itself": "&a {a: *a, b: [*a, *a]}",
    "a long address": 'listen: [{bind: "' + "1" * 900_000 + '"}]',
    "a long path": 'endpoints: [{path: "' + "/a" * 400_000 + '"}]',
    "dollars": 'state_dir: "' + "${" * 400_000 + '"',
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_little(name: str) -> None:
    started = time.process_time()
    with pytest.raises(ConfigError) as caught:
        good(BOMBS[name])
    assert time.process_time() - started < 1
    assert len(caught.value.problems) < 30_000


@pytest.mark.parametrize("name", ["a list of many", "a billion laughs"])
def test_bombs_take_little_memory(name: str) -> None:
    text = BOMBS[name]
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError):
            good(text)
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


# ---- schema ---------------------------------------------------------------------------------
# The JSON Schema agrees with the models, the examples and the file in config/.

CONFIG = Path(__file__).parents[2] / "config"


def plain(name: str) -> dict[str, Any]:
    """Return the data of an example as JSON has it."""
    data: dict[str, Any] = json.loads(json.dumps(parse((CONFIG / name).read_text()).data))
    return data


def marked(data: object) -> list[str]:
    return [error.message for error in Draft202012Validator(schema()).iter_errors(data)]


def test_the_file_is_current() -> None:
    # When this fails: relay schema > config/relay.schema.json
    assert (CONFIG / "relay.schema.json").read_text() == text()


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", ["relay.minimal.yaml", "relay.example.yaml"])
def test_the_examples_are_valid(name: str) -> None:
    assert marked(plain(name)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"lisen": []},
        {"listen": []},
        {"limits": {"body": "64KB"}},
        {"dns": {"timeout": "2 s"}},
        {"spool": {"kind": "redis"}},
        {"upstreams": {"a b": {"url": "http://x/"}}},
        {"forwarded_header": "Via"},
    ],
)
def test_mistakes_are_marked(change: dict[str, object]) -> None:
    assert len(marked({**plain("relay.minimal.yaml"), **change})) == 1


def test_every_key_is_described() -> None:
    whole = schema()
    for key, value in _properties(whole):
        name = value.get("$ref", "").removeprefix("#/$defs/")
        # A description that is the section's own is not repeated.
        assert value.get("description") or whole["$defs"][name]["description"], key


def _properties(whole: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for part in (whole, *whole["$defs"].values()):
        yield from part.get("properties", {}).items()


def test_defaults_are_written_as_in_the_file() -> None:
    definitions = schema()["$defs"]
    assert definitions["Dns"]["properties"]["timeout"]["default"] == "2s"
    assert definitions["Limits"]["properties"]["body"]["default"] == "256KiB"
    assert definitions["Admin"]["properties"]["bind"]["default"] == "127.0.0.1:9464"
    assert "default" not in definitions["Endpoint"]["properties"]["environment"]
