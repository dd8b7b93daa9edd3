"""How senders try an address, and what their documents want as the answer.

Each sender whose file has a `challenge` has its row here; the files are not asked.
"""

import hmac
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from relay.core.request import Headers
from relay.providers import Sample
from relay.providers.inline import SampleMessage
from relay.providers.inline.draft import draft
from tests.senders.attacks import Maker


@dataclass(frozen=True)
class Challenge:
    """One request of a sender that tries an address, and the answer that it wants.

    signed: it is signed as its messages are. answer: what the body has to be, by the sender's key;
    headers: what the answer's header fields have to be, too.
    """

    message: SampleMessage
    answer: Callable[[str], bytes | Mapping[str, Any]]
    signed: bool = True
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)

    def sample(self, maker: Maker, at: datetime, signing: str | None = None) -> Sample:
        """Return the request, signed by the sender's key or this one."""
        made = replace(maker.made(at, signing, self.message), method=self.method)
        if self.signed:
            return made
        # What is not signed at all comes without the header fields of a signature.
        plain = draft(self.message, at)
        return replace(made, headers=Headers(plain.fields()), body=plain.content())


def _hex(key: str, text: str) -> str:
    return hmac.digest(key.encode(), text.encode(), "sha256").hex()


def _base64(key: str, text: str) -> str:
    return b64encode(hmac.digest(key.encode(), text.encode(), "sha256")).decode()


def said(body: bytes, wanted: bytes | Mapping[str, Any]) -> bool:
    """Tell whether an answer's body is what is wanted, as JSON where that is wanted."""
    return body == wanted if isinstance(wanted, bytes) else bool(json.loads(body) == wanted)


CHALLENGES: Mapping[str, tuple[Challenge, ...]] = {
    "slack": (
        Challenge(
            SampleMessage(
                json={"type": "url_verification", "token": "x", "challenge": "3eZbrw1aBm2rZgRN"}
            ),
            lambda _: {"challenge": "3eZbrw1aBm2rZgRN"},
        ),
    ),
}
