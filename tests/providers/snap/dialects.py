"""Providers of two dialects, and what their senders hold."""

from dataclasses import replace
from datetime import datetime, timedelta

from relay.core.secret import Secret
from relay.providers import (
    AddressList,
    EndpointOptions,
    Environment,
    Inspector,
    Sample,
    SampleOrder,
    TokenRules,
)
from relay.providers.snap import ACCESS, Dialect
from relay.providers.snap.access_tokens import AccessTokens, EndpointTokens
from relay.providers.snap.provider import SnapProvider, described
from tests.contracts.provider import NOW, Keys, new_rsa_keys

CLIENT = "BRN-0211-1696919651918"
LIFE = timedelta(minutes=15)
ENVIRONMENTS = {"live": Environment((AddressList("Bank, 2026-11-30", ("192.0.2.0/24",)),))}

ASYMMETRIC = described("bank", ENVIRONMENTS, Dialect())
SYMMETRIC = described("gateway", ENVIRONMENTS, Dialect(symmetric=True, token_path=ACCESS))
KEYS: Keys = new_rsa_keys()


def rules(client_id: str = CLIENT, life: timedelta = LIFE) -> TokenRules:
    return TokenRules(client_id, (KEYS.verifying,), life)


def new_tokens() -> EndpointTokens:
    return AccessTokens().of("gateway", CLIENT, LIFE)


class WithToken:
    """The symmetric provider, of which each endpoint has issued the token of each sample."""

    def __init__(self, at: datetime = NOW, provider: SnapProvider = SYMMETRIC) -> None:
        self._provider = provider
        self.info = provider.info
        self.issued = new_tokens()
        self.token = Secret(self.issued.issue(at))

    def bind(self, options: EndpointOptions) -> Inspector:
        return self._provider.bind(replace(options, tokens=rules(), issued=self.issued))

    def sample(self, order: SampleOrder) -> Sample:
        return self._provider.sample(replace(order, token=self.token))
