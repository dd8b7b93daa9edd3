"""twilio, of PyPI."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from tests.interop.agreement import Signed, SignsToo, text

pytestmark = pytest.mark.interop

_FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
_NAMES = ("Body", "From", "To", "MessageSid", "NumMedia", "from", "SipHeader_X-Id", "x[0]")
_VALUES = ("+15550001111", "Hello, world", "注文 💶", "1 + 1 = 2 & more", "", "100%")


class TestTwilio(SignsToo):
    sender = "twilio"
    module = "twilio.request_validator"
    distribution = "twilio"
    needed = ("X-Twilio-Signature",)

    def headers(self, dice: Random) -> dict[str, str]:
        return dict(_FORM)

    def body(self, dice: Random) -> bytes:
        names = dice.sample(_NAMES, dice.randrange(1, len(_NAMES)))
        fields = {
            "CallSid": "CA" + text(dice, 32),
            **{each: dice.choice(_VALUES) for each in names},
        }
        return urlencode(fields).encode()

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        validator = theirs.RequestValidator(secret)
        signature = message.header("X-Twilio-Signature")
        return bool(validator.validate(message.url, _fields(message), signature))

    def signs(self, theirs: Any, message: Signed, secret: str) -> Mapping[str, str]:
        validator = theirs.RequestValidator(secret)
        return {"X-Twilio-Signature": validator.compute_signature(message.url, _fields(message))}

    def damaged(self, dice: Random, message: Signed, secret: str) -> Iterator[tuple[Signed, str]]:
        """Yield other fields, since a flipped bit may spell the same one."""
        fields = _fields(message)
        name = dice.choice([*fields])
        for changed in (
            {**fields, name: fields[name] + "x"},
            {each: value for each, value in fields.items() if each != name},
            {**fields, "Zip": "1"},
            {**{each: fields[each] for each in fields if each != name}, name + "x": fields[name]},
        ):
            yield replace(message, body=urlencode(changed).encode()), secret
        yield replace(message, url=message.url + "/"), secret
        for other, key in super().damaged(dice, message, secret):
            if other.body == message.body:
                yield other, key


def _fields(message: Signed) -> dict[str, str]:
    return dict(parse_qsl(message.body.decode(), keep_blank_values=True))


class TestTwilioJson(SignsToo):
    sender = "twilio-json"
    module = "twilio.request_validator"
    distribution = "twilio"
    needed = ("X-Twilio-Signature",)

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        validator = theirs.RequestValidator(secret)
        signature = message.header("X-Twilio-Signature")
        try:
            return bool(validator.validate(_hashed(message), message.body.decode(), signature))
        except UnicodeDecodeError:
            return False

    def signs(self, theirs: Any, message: Signed, secret: str) -> Mapping[str, str]:
        validator = theirs.RequestValidator(secret)
        return {"X-Twilio-Signature": validator.compute_signature(_hashed(message), {})}


def _hashed(message: Signed) -> str:
    """Return the URL with what Twilio appends to it."""
    return f"{message.url}?bodySHA256={sha256(message.body).hexdigest()}"
