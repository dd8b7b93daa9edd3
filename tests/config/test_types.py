"""Sections take what they say, and convert nothing."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from relay.config.types import Duration, FilePath, SecretText, Section, default
from relay.core.secret import Secret


class Sample(Section):
    number: int = default(1)
    wait: Duration = default("2s")
    path: FilePath = default("a")
    secret: SecretText | None = default(None)
    word: Literal["a", "b"] = default("a")


def test_defaults_are_read_like_the_file() -> None:
    sample = Sample.model_validate({}, context={"base": Path("/etc")})
    assert sample.wait == timedelta(seconds=2)
    assert sample.path == Path("/etc/a")
    assert Sample.model_validate({}).path == Path("a")


@pytest.mark.parametrize(
    "data",
    [
        {"number": "1"},
        {"number": 1.0},
        {"number": True},
        {"number": None},
        {"wait": 2},
        {"path": ""},
        {"path": 1},
        {"path": "a\0"},
        {"secret": "text"},
        {"word": "c"},
        {"x": 1},
    ],
)
def test_nothing_is_converted(data: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate(data)
    assert caught.value.error_count() == 1


def test_errors_hold_no_input() -> None:
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate({"number": "canary"})
    assert "canary" not in str(caught.value)


def test_a_secret_is_taken_as_it_is() -> None:
    secret = Secret("x")
    assert Sample.model_validate({"secret": secret}).secret is secret
