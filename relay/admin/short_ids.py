"""Ids as people write them: whole, or by a beginning that is that of one alone."""

from typing import Final, Protocol

#: The letters that a beginning has at least, and the ids that are named where several begin so.
_MIN_BEGINNING: Final = 4
_NAMED: Final = 6


class Ids(Protocol):
    """Events, or refusals."""

    async def starting_with(self, beginning: str, limit: int) -> tuple[str, ...]:
        """Return up to `limit` ids that begin like this, in their order."""


class AmbiguousId(ValueError):
    """Several ids begin like this; the message names some of them."""


async def whole_id(among: Ids, written: str, of: str = "events") -> str:
    """Return the one id that this is, or that begins like this; else what was written.

    of: what they are the ids of, in the message.

    Raises:
        AmbiguousId: those of several begin like this.
    """
    if len(written) < _MIN_BEGINNING:
        return written
    ids = await among.starting_with(written, _NAMED)
    # One that is whole comes before all that go on.
    if not ids or ids[0] == written or len(ids) == 1:
        return ids[0] if ids else written
    more = ", ..." if len(ids) == _NAMED else ""
    raise AmbiguousId(f"several {of} begin with {written}: {', '.join(ids[: _NAMED - 1])}{more}")
