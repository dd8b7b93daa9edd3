"""Versions."""

import orjson

from relay import __version__
from tests.cli.conftest import Invoke


def test_the_version_is_that_of_the_package(relay: Invoke) -> None:
    assert orjson.loads(relay("version", "--format", "json").output)["relay"] == __version__


def test_an_option_prints_it_alone(relay: Invoke) -> None:
    result = relay("--version")
    assert (result.exit_code, result.output) == (0, f"relay {__version__}\n")
