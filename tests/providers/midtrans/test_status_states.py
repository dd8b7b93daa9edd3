import pytest

from relay.providers.midtrans.status import NEXT, can_become, fraud_can_become

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
    # Of an amount that went back in part, the rest can go back either way.
    "partial_refund": {"partial_refund", "refund", "partial_chargeback", "chargeback"},
    "partial_chargeback": {"partial_refund", "refund", "partial_chargeback", "chargeback"},
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


@pytest.mark.parametrize("later_state", ["capture", "settlement"])
@pytest.mark.parametrize(
    ("fraud", "later", "can"),
    [
        ("accept", "accept", True),
        ("accept", "challenge", False),
        ("accept", "deny", False),
        ("accept", "", True),
        # A person approves it or denies it, or time does.
        ("challenge", "accept", True),
        ("challenge", "challenge", True),
        ("challenge", "deny", True),
        ("challenge", "", True),
        ("deny", "accept", False),
        ("deny", "challenge", False),
        ("deny", "deny", True),
        ("deny", "", True),
        ("", "accept", True),
        ("", "challenge", False),
        ("", "deny", False),
        ("", "", True),
        ("frozen", "frozen", True),
        ("frozen", "accept", False),
        ("accept", "frozen", False),
        ("challenge", "frozen", False),
    ],
)
def test_what_fraud_detection_says_of_a_payment(
    later_state: str, fraud: str, later: str, can: bool
) -> None:
    assert fraud_can_become("capture", fraud, later_state, later) is can


def test_what_was_accepted_can_be_cancelled_as_fraud() -> None:
    for said in ("accept", ""):
        for later in ("cancel", "deny"):
            assert fraud_can_become("capture", said, later, "deny")
            assert not fraud_can_become("capture", said, later, "challenge")


def test_before_a_payment_nothing_is_judged() -> None:
    for said in ("pending", "authorize"):
        assert fraud_can_become(said, "accept", "capture", "challenge")
        assert not fraud_can_become(said, "accept", said, "challenge")
