"""Warnings about keys that serve many merchants, where a message is taken whoever it is for."""

from collections.abc import Iterator

from relay.config.inline_provider import InlineProvider
from relay.config.lint_topology import Advice
from relay.config.settings import Endpoint
from relay.config.snap_sender import SnapSender
from relay.config.yaml_document import Location


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
