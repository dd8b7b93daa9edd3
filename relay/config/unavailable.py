"""What a configuration can say already and this version cannot do yet.

Refused, so that nothing is silently ignored. Making a feature available removes a line here.
"""

from collections.abc import Iterator

from relay.config.places import Fault
from relay.config.settings import PostgresSpool, Settings


def refusals(settings: Settings) -> Iterator[Fault]:
    """Yield a fault for everything that is not available."""
    if isinstance(settings.spool, PostgresSpool):
        message = "PostgreSQL is not available in this version; write kind: sqlite"
        yield Fault(("spool", "kind"), message)
