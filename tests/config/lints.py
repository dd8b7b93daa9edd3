"""Linting configuration text."""

from datetime import date

from relay.config import Settings, provider_of
from relay.config.lint import lint
from relay.providers import ProviderInfo
from tests.config.files import GOOD

TODAY = date(2026, 12, 1)

# Of nearly every file in these tests.
SAID = ("unconfirmed", "plain-http")


def info(settings: Settings) -> dict[str, ProviderInfo]:
    return {each.name: provider_of(each).info for each in settings.endpoints}


def findings(settings: Settings, today: date = TODAY) -> list[str]:
    """Return what is said of a file, but for what is `SAID` of nearly every one in these tests."""
    found = lint(settings, info(settings), {}, today)
    return [
        str(each).removeprefix("relay.yaml:") + f" [{each.code}]"
        for each in found
        if each.code not in SAID
    ]


def allowlist(text: str) -> str:
    return f"{GOOD}    allowlist: {text}\n"
