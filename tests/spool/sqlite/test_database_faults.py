import errno

import apsw
import pytest

from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolBroken
from relay.spool.sqlite.database import StoreHealth, passes


def fault(code: int) -> apsw.Error:
    error = apsw.exception_for(code)
    assert isinstance(error, apsw.Error)
    return error


@pytest.mark.parametrize(
    "code",
    [
        apsw.SQLITE_BUSY,
        apsw.SQLITE_LOCKED,
        apsw.SQLITE_FULL,
        apsw.SQLITE_NOMEM,
        apsw.SQLITE_IOERR_NOMEM,
        apsw.SQLITE_CONSTRAINT_UNIQUE,
        apsw.SQLITE_TOOBIG,
        apsw.SQLITE_CANTOPEN,
    ],
)
def test_these_pass(code: int) -> None:
    assert passes(fault(code), 0)


@pytest.mark.parametrize(
    "code",
    [
        apsw.SQLITE_IOERR,
        apsw.SQLITE_IOERR_READ,
        apsw.SQLITE_IOERR_WRITE,
        apsw.SQLITE_IOERR_FSYNC,
        apsw.SQLITE_CORRUPT,
        apsw.SQLITE_NOTADB,
        apsw.SQLITE_READONLY_DBMOVED,
    ],
)
def test_these_do_not(code: int) -> None:
    assert not passes(fault(code), errno.EIO)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_write_that_finds_no_room_passes_and_a_sync_does_not(number: int) -> None:
    assert passes(fault(apsw.SQLITE_IOERR_WRITE), number)
    assert not passes(fault(apsw.SQLITE_IOERR_FSYNC), number)
    assert not passes(fault(apsw.SQLITE_IOERR_DIR_FSYNC), number)


def test_the_first_reason_stays(connection: apsw.Connection) -> None:
    health = StoreHealth()
    health.check()
    assert not isinstance(health.classify(fault(apsw.SQLITE_BUSY), connection), SpoolBroken)
    health.check()
    assert isinstance(health.classify(apsw.CorruptError("first"), connection), SpoolBroken)
    health.mark_broken("something else")
    with pytest.raises(SpoolBroken, match="needs a restart: first"):
        health.check()
    assert issubclass(SpoolBroken, SpoolUnavailable)
