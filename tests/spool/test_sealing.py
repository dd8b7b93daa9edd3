"""What waits for a key is taken for nothing worse than a store that cannot do its work now."""

from relay.core.errors import SpoolUnavailable
from relay.spool import SpoolBroken
from relay.spool.sealing import KeyMissing


def test_a_key_that_is_missing_breaks_no_spool() -> None:
    assert issubclass(KeyMissing, SpoolUnavailable)
    assert not issubclass(KeyMissing, SpoolBroken)
