"""Adyen, of PyPI: the signature stands in the one item of the body, or in a header field."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.interop.agreement import Signed, SignsToo, text

pytestmark = pytest.mark.interop
_SIGNED = ("pspReference", "merchantAccountCode", "merchantReference", "eventCode", "success")
_REFERENCES = ("注文", "Größe", "a b", "\n", r"\n", '"', "")


class TestAdyen(SignsToo):
    sender = "adyen"
    module = "Adyen.util"
    distribution = "Adyen"
    needed = ()

    def secret(self, dice: Random) -> str:
        return dice.randbytes(32).hex().upper()

    def body(self, dice: Random) -> bytes:
        item = {
            "pspReference": text(dice, 16).upper(),
            "merchantAccountCode": "TestMerchant",
            "merchantReference": dice.choice(["注文", "Größe", "a b", r"\n", '"', ""])
            + text(dice, 9),
            "amount": {"value": dice.randrange(10**7), "currency": "EUR"},
            "eventCode": dice.choice(["AUTHORISATION", "REFUND"]),
            "success": dice.choice(["true", "false"]),
            "additionalData": {"hmacSignature": ""},
        }
        if dice.random() < 0.5:
            item["originalReference"] = text(dice, 16)
        items = [{"NotificationRequestItem": item}]
        written = {"live": "false", "notificationItems": items}
        return json.dumps(written, ensure_ascii=dice.random() < 0.5).encode()

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        try:
            return bool(theirs.is_valid_hmac_notification(json.loads(message.body), secret))
        except (ValueError, KeyError):
            return False

    def test_what_theirs_signs_is_taken_here(self, theirs: Any) -> None:
        for message, secret in self.messages(3):
            body = json.loads(message.body)
            item = body["notificationItems"][0]["NotificationRequestItem"]
            genuine = theirs.generate_notification_sig(item, secret).decode()
            assert item["additionalData"]["hmacSignature"] == genuine
            made = json.dumps(body, indent=1, ensure_ascii=False).encode()
            assert self.accepted(replace(message, body=made), secret)

    def damaged(self, dice: Random, message: Signed, secret: str) -> Iterator[tuple[Signed, str]]:
        for name in (*_SIGNED, "value", "currency", "hmacSignature", "no signature"):
            body = json.loads(message.body)
            item = body["notificationItems"][0]["NotificationRequestItem"]
            if name == "value":
                item["amount"]["value"] += 1
            elif name == "currency":
                item["amount"]["currency"] = "USD"
            elif name == "hmacSignature":
                item["additionalData"][name] = "A" * 43 + "="
            elif name == "no signature":
                del item["additionalData"]
            else:
                item[name] = "X" + item[name]
            yield replace(message, body=json.dumps(body).encode()), secret
        yield message, self.secret(dice)


class TestAdyenPlatform(SignsToo):
    sender = "adyen-platform"
    module = "Adyen.util"
    distribution = "Adyen"
    needed = ("HmacSignature",)

    def secret(self, dice: Random) -> str:
        return dice.randbytes(32).hex().upper()

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        value = message.header("HmacSignature")
        return bool(theirs.is_valid_hmac_payload(value, secret, message.body))

    def signs(self, theirs: Any, message: Signed, secret: str) -> Mapping[str, str]:
        return {"HmacSignature": theirs.generate_payload_sig(message.body, secret).decode()}
