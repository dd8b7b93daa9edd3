"""Warnings about keys that serve many merchants, where a message is taken whoever it is for."""

from collections.abc import Iterator

from relay.config.inline_provider import InlineProvider
from relay.config.lint_topology import Advice
from relay.config.settings import Endpoint
from relay.config.snap_sender import SnapSender
from relay.config.yaml_document import Location
from relay.providers.inline import SignatureRule


def merchant_advice(endpoint: Endpoint, location: Location) -> Iterator[Advice]:
    """Yield that a key which serves all customers of a sender says nothing of whose message it is.

    An RSA key is such a key as a rule.
    """
    if not endpoint.secrets or endpoint.must or endpoint.merchant_id is not None:
        return
    described = endpoint.provider
    if described == "midtrans-snap":
        message = (
            "the signature does not say whose payment it is: where Midtrans' key serves several"
            " merchants, anybody's message is taken; set merchant_id"
        )
        yield Advice((*location, "provider"), "any-merchant", message)
    elif isinstance(described, SnapSender) and described.snap.signature == "asymmetric":
        message = (
            "the sender's key signs for all of its customers, and anybody's message is taken; set"
            " merchant_id, or must to a field that names you"
        )
        yield Advice((*location, "provider"), "any-merchant", message)
    elif (
        isinstance(described, InlineProvider)
        and described.signature.scheme == "rsa"
        and not described.must
    ):
        message = (
            "the sender's key signs for all of its customers, and anybody's message is taken; set"
            " must to a field that names yours"
        )
        yield Advice((*location, "provider"), "any-merchant", message)
    elif isinstance(described, InlineProvider) and _takes_any_audience(described.signature.rule()):
        message = (
            "the sender's key signs tokens for all of its customers, and anybody's token is taken;"
            " set audience to what names you in it"
        )
        yield Advice((*location, "provider"), "any-merchant", message)


def _takes_any_audience(rule: SignatureRule) -> bool:
    """Return whether a token by a public key covers no body, and may be for anybody."""
    token = rule.jwt
    if token is None or token.audience is not None or not rule.is_token:
        return False
    return any(not name.startswith("HS") for name in token.algorithms)
