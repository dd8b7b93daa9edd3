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
from tests.senders.keys import environ


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
        if self.signed:
            return replace(maker.made(at, signing, self.message), method=self.method)
        # What is not signed at all comes without the header fields of a signature.
        plain = draft(self.message, at)
        return Sample(self.method, plain.suffix, Headers(plain.fields()), plain.content())


def _hex(key: str, text: str) -> str:
    return hmac.digest(key.encode(), text.encode(), "sha256").hex()


def _base64(key: str, text: str) -> str:
    return b64encode(hmac.digest(key.encode(), text.encode(), "sha256")).decode()


def said(body: bytes, wanted: bytes | Mapping[str, Any]) -> bool:
    """Tell whether an answer's body is what is wanted, as JSON where that is wanted."""
    return body == wanted if isinstance(wanted, bytes) else bool(json.loads(body) == wanted)


CHALLENGES: Mapping[str, tuple[Challenge, ...]] = {
    "asana": (
        Challenge(
            SampleMessage(headers={"X-Hook-Secret": "b537207f20cbfa02357cf448134da559"}, text=""),
            lambda _: b"",
            signed=False,
            headers={"X-Hook-Secret": "b537207f20cbfa02357cf448134da559"},
        ),
    ),
    "discord": (Challenge(SampleMessage(json={"type": 1, "version": 1}), lambda _: {"type": 1}),),
    "dropbox": (
        Challenge(
            SampleMessage(query={"challenge": "abc123 +/&x"}),
            lambda _: b"abc123 +/&x",
            signed=False,
            method="GET",
            headers={"X-Content-Type-Options": "nosniff"},
        ),
    ),
    "meta": (
        Challenge(
            SampleMessage(
                query={
                    "hub.mode": "subscribe",
                    "hub.challenge": "1158201444",
                    "hub.verify_token": environ().get("META_VERIFY_TOKEN", ""),
                }
            ),
            lambda _: b"1158201444",
            signed=False,
            method="GET",
        ),
    ),
    "microsoft-graph": (
        Challenge(
            SampleMessage(query={"validationToken": "Validation: Testing <b>x</b> & more"}),
            lambda _: b"Validation: Testing <b>x</b> & more",
            signed=False,
            headers={"Content-Type": "text/plain; charset=utf-8"},
        ),
    ),
    "monday": (
        Challenge(
            SampleMessage(
                json={"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}
            ),
            lambda _: {"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"},
            signed=False,
        ),
    ),
    "slack": (
        Challenge(
            SampleMessage(
                json={"type": "url_verification", "token": "x", "challenge": "3eZbrw1aBm2rZgRN"}
            ),
            lambda _: {"challenge": "3eZbrw1aBm2rZgRN"},
        ),
    ),
    "twitch": (
        Challenge(
            SampleMessage(
                headers={"Twitch-Eventsub-Message-Type": "webhook_callback_verification"},
                json={
                    "challenge": "pogchamp-kappa-360noscope-vohiyo",
                    "subscription": {"status": "webhook_callback_verification_pending"},
                },
            ),
            lambda _: b"pogchamp-kappa-360noscope-vohiyo",
        ),
    ),
    "woocommerce": (
        Challenge(SampleMessage(form={"webhook_id": "17"}), lambda _: b"OK", signed=False),
    ),
    "zoom": (
        Challenge(
            SampleMessage(
                json={
                    "event": "endpoint.url_validation",
                    "event_ts": "{time:ms}",
                    "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"},
                }
            ),
            lambda key: {
                "plainToken": "qgg8vlvZRS6UYooatFL8Aw",
                "encryptedToken": _hex(key, "qgg8vlvZRS6UYooatFL8Aw"),
            },
        ),
    ),
}
