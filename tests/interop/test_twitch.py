"""twitchAPI, of PyPI."""

import asyncio
from collections.abc import Mapping
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from tests.interop.agreement import Agreement, Signed, text

pytestmark = pytest.mark.interop


class Request:
    """What their verification reads of a request of aiohttp."""

    def __init__(self, message: Signed) -> None:
        self.headers: Mapping[str, str] = message.headers
        self._body = message.body

    async def text(self) -> str:
        return self._body.decode()


class TestTwitch(Agreement):
    sender = "twitch"
    module = "twitchAPI.eventsub.webhook"
    distribution = "twitchAPI"
    needed = (
        "Twitch-Eventsub-Message-Id",
        "Twitch-Eventsub-Message-Timestamp",
        "Twitch-Eventsub-Message-Signature",
    )

    def headers(self, dice: Random) -> dict[str, str]:
        return {"Twitch-Eventsub-Message-Id": text(dice, 36)}

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        verify = theirs.EventSubWebhook._verify_signature
        try:
            return bool(asyncio.run(verify(SimpleNamespace(secret=secret), Request(message))))
        except (KeyError, UnicodeDecodeError):
            return False
