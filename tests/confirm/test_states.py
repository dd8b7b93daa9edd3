import pytest

from relay.confirm.states import NEXT, can_become

#: Every state, and all that it can be found in later; from the vendor's page, written out.
LATER = {
    "authorize": {
        *("authorize", "capture", "cancel", "expire", "settlement", "deny", "refund"),
        *("partial_refund", "chargeback", "partial_chargeback"),
    },
    "pending": {
        *("pending", "settlement", "expire", "cancel", "deny", "refund", "partial_refund"),
        *("chargeback", "partial_chargeback", "capture", "authorize", "failure"),
    },
    "capture": {
        *("capture", "settlement", "cancel", "deny", "refund", "partial_refund", "chargeback"),
        "partial_chargeback",
    },
    "settlement": {
        *("settlement", "refund", "partial_refund", "chargeback", "partial_chargeback", "deny"),
    },
    "partial_refund": {"partial_refund", "refund"},
    "partial_chargeback": {"partial_chargeback", "chargeback"},
    "deny": {"deny"},
    "cancel": {"cancel"},
    "expire": {"expire"},
    "failure": {"failure"},
    "refund": {"refund"},
    "chargeback": {"chargeback"},
}


def test_every_state_is_judged() -> None:
    assert set(NEXT) == set(LATER)
    assert set().union(*NEXT.values()) <= set(NEXT)


@pytest.mark.parametrize("earlier", LATER)
@pytest.mark.parametrize("later", LATER)
def test_a_state_can_become_what_follows_it_and_nothing_else(earlier: str, later: str) -> None:
    assert can_become(earlier, later) == (later in LATER[earlier])


def test_an_unknown_state_can_only_be_itself() -> None:
    assert can_become("frozen", "frozen")
    assert not can_become("frozen", "settlement")
    assert not can_become("settlement", "frozen")
