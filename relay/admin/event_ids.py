"""Ids of events as people write them: whole, or by a beginning that is that of one alone."""

from typing import Final

from relay.spool import Spool

#: The letters that a beginning has at least, and the ids that are named where several begin so.
_MIN_BEGINNING: Final = 4
_NAMED: Final = 6


class AmbiguousId(ValueError):
    """Several ids begin like this; the message names some of them."""


async def whole_id(spool: Spool, written: str) -> str:
    """Return the id of the one event whose id this is, or begins like this; else what was written.

    Raises:
        AmbiguousId: those of several begin like this.
    """
    if len(written) < _MIN_BEGINNING:
        return written
    ids = await spool.starting_with(written, _NAMED)
    # One that is whole comes before all that go on.
    if not ids or ids[0] == written or len(ids) == 1:
        return ids[0] if ids else written
    more = ", ..." if len(ids) == _NAMED else ""
    raise AmbiguousId(f"several events begin with {written}: {', '.join(ids[: _NAMED - 1])}{more}")
