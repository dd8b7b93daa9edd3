"""What a configuration can say already and this version cannot do yet.

Refused, so that nothing is silently ignored. Making a feature available removes a line here.
"""

from collections.abc import Iterator

from relay.config.places import Fault
from relay.config.settings import PostgresSpool, Settings


def refusals(settings: Settings) -> Iterator[Fault]:
    """Yield a fault for everything that is not available."""
    for at, listener in enumerate(settings.listen):
        if listener.proxy_protocol:
            message = "the PROXY protocol is not available in this version; leave the key out"
            yield Fault(("listen", at, "proxy_protocol"), message)
    if isinstance(settings.spool, PostgresSpool):
        message = "PostgreSQL is not available in this version; write kind: sqlite"
        yield Fault(("spool", "kind"), message)
    for at, endpoint in enumerate(settings.endpoints):
        place = ("endpoints", at)
        if endpoint.confirm is not None:
            message = "confirmation is not available in this version; leave the key out"
            yield Fault((*place, "confirm"), message)
