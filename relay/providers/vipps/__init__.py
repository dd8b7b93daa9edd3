"""Vipps MobilePay: webhooks, and callbacks that carry a token; the hosts that both come from."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from relay.providers import Environment

#: The environments of every Vipps product.
# Vipps: "Vipps servers". Disaster recovery is as important as production, and addresses are
# published by DNS alone.
ENVIRONMENTS: Final[Mapping[str, Environment]] = MappingProxyType(
    {
        "production": Environment(
            hosts=(
                "callback-1.vipps.no",
                "callback-2.vipps.no",
                "callback-3.vipps.no",
                "callback-4.vipps.no",
                "callback-dr-1.vipps.no",
                "callback-dr-2.vipps.no",
                "callback-dr-3.vipps.no",
                "callback-dr-4.vipps.no",
            )
        ),
        "test": Environment(hosts=("callback-mt-1.vipps.no", "callback-mt-2.vipps.no")),
    }
)
