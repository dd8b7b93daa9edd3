from relay.core.errors import Reason
from relay.spool.refusals import OVERHEAD, RELEASABLE
from tests.contracts.refusals import refused


def test_a_refusal_counts_with_all_that_is_stored_of_it() -> None:
    fields = len("Host" + "pay.example" + "X-Odd" + "café")
    assert refused(body=b"12345").size == OVERHEAD + len("/hook?a=b") + fields + 5


def test_nothing_that_is_refused_before_the_body_is_read_can_be_mended() -> None:
    unread = {Reason.SOURCE_NOT_ALLOWED, Reason.SOURCE_UNKNOWN, Reason.FORWARDING_UNTRUSTED}
    assert not RELEASABLE & (unread | {Reason.BODY_TOO_LARGE, Reason.OVERLOAD})
