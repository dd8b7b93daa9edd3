"""Linting configuration text."""

from datetime import date

from relay.config import Settings, provider
from relay.config.lint import lint
from relay.providers import Facts
from tests.config.files import GOOD

TODAY = date(2026, 12, 1)


def facts() -> dict[str, Facts]:
    return {name: provider(name).facts for name in ("midtrans", "vipps")}


def findings(settings: Settings, today: date = TODAY) -> list[str]:
    found = lint(settings, facts(), {}, today)
    return [str(each).removeprefix("relay.yaml:") + f" [{each.code}]" for each in found]


def allowlist(text: str) -> str:
    return f"{GOOD}    allowlist: {text}\n"
