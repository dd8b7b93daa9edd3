"""django-anymail, of PyPI: Mailgun itself has no library that verifies."""

import json
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from relay.config.inline_provider import InlineProvider
from relay.core.secret import Secret
from relay.providers import SampleOrder
from relay.providers.inline.signing import signed
from tests.interop.agreement import Agreement, Signed, json_body, library, text

pytestmark = pytest.mark.interop

_JSON = {"Content-Type": "application/json"}


class TestMailgun(Agreement):
    sender = "mailgun"
    module = "anymail.webhooks.mailgun"
    distribution = "django-anymail"
    needed = ()

    @pytest.fixture
    def theirs(self) -> Any:
        settings = library("django.conf", "Django").settings
        if not settings.configured:
            settings.configure(ANYMAIL={}, ALLOWED_HOSTS=["*"], DEFAULT_CHARSET="utf-8")
        return library(self.module, self.distribution)

    def sign(self, message: Signed, secret: str) -> Signed:
        """Return the message with a signature beside its event."""
        assert isinstance(self.endpoint.provider, InlineProvider)
        rule = self.endpoint.provider.description().signature
        at, token = str(int(message.at.timestamp())), text(Random(secret), 50)
        order = SampleOrder(message.url, Secret(secret), message.at)
        signature = signed(rule, order, (at.encode(), token.encode()))
        return _message(message, {"timestamp": at, "token": token, "signature": signature})

    def accepts(self, theirs: Any, message: Signed, secret: str) -> bool:
        requests = library("django.test", "Django").RequestFactory()
        request = requests.post("/", message.body, content_type="application/json")
        view = theirs.MailgunTrackingWebhookView(webhook_signing_key=secret)
        try:
            view.validate_request(request)
        except library("anymail.exceptions", "django-anymail").AnymailWebhookValidationFailure:
            return False
        return True

    def damaged(self, dice: Random, message: Signed, secret: str) -> Iterator[tuple[Signed, str]]:
        """Yield other signatures, times and tokens; nothing else is covered."""
        said = json.loads(message.body)["signature"]
        for name, value in said.items():
            at = dice.randrange(len(value))
            digit = dice.choice([each for each in "0123456789" if each != value[at]])
            for changed in (value[:at] + digit + value[at + 1 :], value[:at], value + "0"):
                yield _message(message, {**said, name: changed}), secret
            yield _message(message, {each: said[each] for each in said if each != name}), secret
        yield message, self.secret(dice)


def _message(message: Signed, signature: dict[str, str]) -> Signed:
    event = json.loads(json_body(Random(signature.get("token"))))
    body = json.dumps({"signature": signature, "event-data": event}).encode()
    return replace(message, body=body, headers=_JSON)
