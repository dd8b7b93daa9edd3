"""Every file of config/senders is a good configuration, and says how to use it."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types

from relay.cli.providers import named_or_described
from relay.config import provider_of
from relay.config.lint import lint
from relay.config.loader import schema
from relay.config.yaml_document import parse
from tests.senders.files import loaded
from tests.senders.keys import INHERENT, NAMES, SENDERS


@pytest.mark.parametrize("name", NAMES)
def test_it_has_no_findings(name: str, tmp_path: Path) -> None:
    settings = loaded(name, tmp_path)
    assert [each.name for each in settings.endpoints] == [name]
    info = {each.name: provider_of(each).info for each in settings.endpoints}
    found = {finding.code for finding in lint(settings, info, {}, date(2026, 12, 1))}
    # What a sender is like, and no file of it can mend; and the place where the test put it.
    assert found - {"temporary-path"} == INHERENT.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_with_what_to_do(name: str) -> None:
    comment = (SENDERS / f"{name}.yaml").read_text().partition("---")[0]
    assert "\n# 1. " in comment
    # What one has to mind stands once, where `relay providers show` finds it.
    assert "\n# - " not in comment


@pytest.mark.parametrize("name", NAMES)
def test_it_says_where_it_was_read_and_what_to_mind(name: str) -> None:
    info = named_or_described(name).provider.info
    assert info.name == name
    assert info.title.endswith("described in the configuration") is False
    assert info.document.startswith("https://")
    assert date(2026, 1, 1) < info.reviewed < date(2100, 1, 1)
    assert info.traps
    assert info.vector


@pytest.mark.parametrize(("name", "largest"), [("github", 25_000_000), ("shopify", 5_000_000)])
def test_the_largest_messages_of_a_sender_are_read(name: str, largest: int, tmp_path: Path) -> None:
    assert loaded(name, tmp_path).limits.body >= largest


@pytest.mark.parametrize("name", NAMES)
def test_editors_accept_it(name: str) -> None:
    data = json.loads(json.dumps(parse((SENDERS / f"{name}.yaml").read_text()).data))
    assert [error.message for error in Draft202012Validator(schema()).iter_errors(data)] == []


def test_yamllint_likes_them() -> None:
    rules = "{extends: default, rules: {line-length: {max: 120}}}"
    done = subprocess.run(
        [sys.executable, "-m", "yamllint", "--strict", "-d", rules, str(SENDERS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
