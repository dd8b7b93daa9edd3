"""Where acts and strangers name what events are found by, and masking it there.

A filter of a requeue is on record with the act, and the path that a stranger asked for may hold an
order id.
"""

from collections.abc import Collection
from typing import Any, Final

import apsw
import orjson

from relay.core.secret import MASK
from relay.spool.sqlite.events import fetch

#: The filters of an act that name events; the others hold what the configuration names, and times.
_NAMING: Final = ("find", "key")

_ACTS: Final = """
SELECT n, detail FROM audit
WHERE CASE WHEN json_valid(detail)
    THEN json_extract(detail, '$.filter.find') IN (SELECT value FROM json_each(:texts))
        OR json_extract(detail, '$.filter.key') IN (SELECT value FROM json_each(:texts))
    ELSE 0 END
"""

_WRITE: Final = "UPDATE audit SET detail = ? WHERE n = ?"

# As a whole part of the path: a short id stands in many by chance.
_BLANK_PATHS: Final = """
UPDATE strangers SET path = printf('%*s', length(CAST(path AS BLOB)), '')
WHERE EXISTS (
    SELECT 1 FROM json_each(:texts) WHERE instr('/' || strangers.path || '/', '/' || value || '/')
)
"""
_MASK_PATHS: Final = "UPDATE strangers SET path = :mask WHERE trim(path) = '' AND path <> ''"


def mask(connection: apsw.Connection, texts: Collection[str]) -> None:
    """Mask these texts, which are whole ones, wherever acts and strangers name them."""
    named = {"texts": orjson.dumps([text for text in texts if text]).decode()}
    for number, detail in fetch(connection, _ACTS, named):
        connection.execute(_WRITE, (_without(detail, texts), number))
    connection.execute(_BLANK_PATHS, named)
    connection.execute(_MASK_PATHS, {"mask": MASK})


def _without(detail: str, texts: Collection[str]) -> str:
    """Return the JSON of an act without these texts, and no shorter, so that it stays in place."""
    told: dict[str, Any] = orjson.loads(detail)
    filters = told["filter"]
    told["filter"] = {
        name: MASK if name in _NAMING and value in texts else value
        for name, value in filters.items()
    }
    written = orjson.dumps(told).decode()
    return written + " " * (len(detail.encode()) - len(written.encode()))
