"""The senders whose messages are mutated: the built-in providers, and described ones."""

from collections.abc import Mapping
from typing import Final

from tests.vectors.mutated import Writer
from tests.vectors.mutated.described import described
from tests.vectors.mutated.midtrans import notified, snapped
from tests.vectors.mutated.vipps import callback, webhook

SENDERS: Final[Mapping[str, Writer]] = {
    "midtrans": notified,
    "midtrans-snap": snapped,
    "vipps": webhook,
    "vipps-callback": callback,
    "described": described,
}
