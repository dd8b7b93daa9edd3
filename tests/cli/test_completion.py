"""Names are offered as they stand in the configuration, whatever else is wrong with it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer

from relay.cli import completion
from relay.config import presets
from relay.core.errors import Reason
from relay.core.event import Status


def offered(path: Path | None, incomplete: str = "") -> list[str]:
    context: Any = SimpleNamespace(params={"config": path})
    return completion.endpoints(cast("typer.Context", context), incomplete)


def test_endpoints_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "other.yaml"
    # Secrets that are unset and keys that are unknown matter nothing here.
    file.write_text("endpoints: [{name: a-1, secrets: ['${env:NONE}']}, {name: b}, {nme: c}]\n")
    assert offered(file) == ["a-1", "b"]
    assert offered(file, "a") == ["a-1"]
    monkeypatch.setenv("RELAY_CONFIG", str(file))
    assert offered(None, "b") == ["b"]


@pytest.mark.parametrize(
    "text", [b"", b"endpoints: 5", b"endpoints: [5, {name: [x]}]", b"a: [", b"\xff", b"- a"]
)
def test_a_file_that_cannot_be_read_offers_nothing(text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_bytes(text)
    assert offered(file) == []
    assert offered(tmp_path / "none.yaml") == []
    assert offered(tmp_path) == []


def test_providers_are_all_that_there_are() -> None:
    assert completion.providers("") == list(presets.names())
    assert completion.providers("vipps-") == ["vipps-callback", "vipps-login-consent"]


def test_words_of_a_closed_list_are_all_offered() -> None:
    assert completion.statuses("") == list(Status)
    assert completion.statuses("de") == ["delivered", "dead"]
    assert completion.reasons("") == list(Reason)
    assert completion.reasons("signature_m") == ["signature_missing", "signature_mismatch"]
