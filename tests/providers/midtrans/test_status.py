import json
from datetime import timedelta

import pytest

from relay.core.secret import Secret
from relay.providers.midtrans.status import (
    NEXT,
    Agrees,
    Answer,
    Disagrees,
    Limited,
    NoAnswer,
    NotFound,
    Transaction,
    can_become,
    compare,
    fraud_can_become,
    notified_transaction,
    parse_answer,
)
from tests.harness.upstream import KEY, NOT_FOUND, signed

MESSAGE = signed(
    {
        "order_id": "order-1",
        "transaction_id": "tx-1",
        "gross_amount": "10000.00",
        "status_code": "200",
        "transaction_status": "settlement",
    }
)
SECRET = Secret(KEY)

#: Signed by the gateway itself, under a sandbox key that the vendor published.
GATEWAY = {
    "status_code": "201",
    "status_message": "Success, transaction is found",
    "transaction_id": "365ea37f-db35-4b24-9a93-b1fa3fde4780",
    "order_id": "2016-10-20 12:39:16 +0700",
    "gross_amount": "100000.00",
    "transaction_status": "pending",
    "signature_key": (
        "bbdb81aead6f9262e6c184fa4fabf615189e92619c654895b8adee538bd1b110"
        "0688bc54fd3fd5b26a78ef56175cd5946daefcea41e5fe0abd575c60d9f196fd"
    ),
}


def transaction(**changes: str) -> Transaction:
    found = notified_transaction(json.dumps({**MESSAGE, **changes}).encode())
    assert found is not None
    return found


def test_an_answer_of_the_gateway_is_read_and_its_signature_holds() -> None:
    now = parse_answer(200, json.dumps(GATEWAY).encode())
    assert isinstance(now, Transaction)
    key = Secret("VT-server-9Htb-RxXkg7-7hznSCCjxvoY")
    assert now.signer((SECRET, key)) == 1
    assert compare(now, now, key) == Agrees("pending")


def test_a_key_on_its_own_does_not_prove_another_transaction() -> None:
    assert transaction(order_id="order-2").signer((SECRET,)) is None


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, NOT_FOUND, NotFound()),
        (404, {}, NotFound()),
        (429, {}, Limited(timedelta(seconds=7))),
        (200, {"status_code": "429"}, Limited(timedelta(seconds=7))),
        (401, {}, NoAnswer("http 401", refused=True)),
        (200, {"status_code": "401"}, NoAnswer("status_code 401", refused=True)),
        (500, MESSAGE, NoAnswer("http 500")),
        (302, MESSAGE, NoAnswer("http 302")),
        (204, {}, NoAnswer("http 204")),
        (200, {"status_code": "500"}, NoAnswer("status_code 500")),
        (200, {}, NoAnswer("malformed answer")),
        (200, {"status_code": 404}, NoAnswer("malformed answer")),
        (200, [MESSAGE], NoAnswer("malformed answer")),
        (200, {**MESSAGE, "gross_amount": 10000}, NoAnswer("status_code 200")),
        (200, {**MESSAGE, "transaction_status": "paid\n"}, NoAnswer("status_code 200")),
    ],
)
def test_answers_without_a_transaction(status: int, body: object, answer: Answer) -> None:
    assert parse_answer(status, json.dumps(body).encode(), timedelta(seconds=7)) == answer


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"status_code": "404', b"\xff"])
def test_garbage_is_no_answer(body: bytes) -> None:
    assert parse_answer(200, body) == NoAnswer("malformed answer")


def test_a_repeated_key_is_no_answer() -> None:
    twice = json.dumps(MESSAGE)[:-1] + ', "transaction_status": "settlement"}'
    assert parse_answer(200, twice.encode()) == NoAnswer("malformed answer")


def test_a_notice_of_an_account_names_no_transaction() -> None:
    assert (
        notified_transaction(
            b'{"account_id": "a", "account_status": "ENABLED", "status_code": "200"}'
        )
        is None
    )
    assert notified_transaction(b"garbage") is None


def test_the_transaction_is_asked_for_where_there_is_one() -> None:
    assert transaction().query_id == "tx-1"
    assert transaction(transaction_id="").query_id == "order-1"


def test_states_compare_without_case() -> None:
    assert transaction(transaction_status="PENDING").state == "pending"


def test_what_was_said_is_so() -> None:
    assert compare(transaction(), transaction(), SECRET) == Agrees("settlement")


def test_it_may_have_moved_on() -> None:
    pending = transaction(status_code="201", transaction_status="pending")
    assert compare(pending, transaction(), SECRET) == Agrees("settlement")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"transaction_id": "tx-2"}, "transaction_id differs"),
        ({"transaction_id": ""}, "transaction_id differs"),
        ({"order_id": "order-2"}, "order_id differs"),
        ({"gross_amount": "10000"}, "gross_amount differs"),
        ({"gross_amount": "99.00"}, "gross_amount differs"),
        ({"transaction_status": "cancel"}, "settlement was said, and it is cancel"),
        ({"transaction_status": "pending"}, "settlement was said, and it is pending"),
    ],
)
def test_any_difference_is_a_disagreement(changes: dict[str, str], reason: str) -> None:
    now = transaction(**signed({**MESSAGE, **changes}))
    assert compare(transaction(), now, SECRET) == Disagrees(reason)


@pytest.mark.parametrize(
    "changes",
    [
        {"signature_key": "0" * 128},
        {"signature_key": ""},
        {"signature_key": MESSAGE["signature_key"].upper()},
        {"status_code": "201"},
    ],
)
def test_the_answer_has_to_be_signed_itself(changes: dict[str, str]) -> None:
    disagrees = Disagrees("signature_key of the answer is wrong")
    assert compare(transaction(), transaction(**changes), SECRET) == disagrees
    assert compare(transaction(), transaction(), Secret("another")) == disagrees


def test_without_a_transaction_id_the_order_has_to_do() -> None:
    assert compare(transaction(transaction_id=""), transaction(), SECRET) == Agrees("settlement")


@pytest.mark.parametrize(
    ("said", "now", "reason"),
    [
        ({"fraud_status": "accept"}, "challenge", "accept was said, and it is challenge"),
        ({"fraud_status": "ACCEPT"}, "deny", "accept was said, and it is deny"),
        ({"fraud_status": "deny"}, "accept", "deny was said, and it is accept"),
        ({}, "challenge", "nothing was said, and it is challenge"),
        ({"fraud_status": None}, "deny", "nothing was said, and it is deny"),
    ],
)
def test_a_card_is_paid_for_only_if_fraud_detection_says_so(
    said: dict[str, str | None], now: str, reason: str
) -> None:
    card = {**MESSAGE, "transaction_status": "capture"}
    notification = notified_transaction(json.dumps(card | said).encode())
    assert notification is not None
    answer = transaction(transaction_status="capture", fraud_status=now)
    assert compare(notification, answer, SECRET) == Disagrees(f"fraud_status {reason}")


@pytest.mark.parametrize("said", ["accept", "ACCEPT", "", None])
@pytest.mark.parametrize("now", [{"fraud_status": "accept"}, {"fraud_status": "Accept"}, {}])
def test_what_is_not_said_of_fraud_is_no_difference(said: str | None, now: dict[str, str]) -> None:
    notification = notified_transaction(json.dumps({**MESSAGE, "fraud_status": said}).encode())
    assert notification is not None
    assert compare(notification, transaction(**now), SECRET) == Agrees("settlement")


def test_a_challenged_card_may_have_been_approved() -> None:
    said = transaction(transaction_status="capture", fraud_status="challenge")
    now = transaction(transaction_status="capture", fraud_status="accept")
    assert compare(said, now, SECRET) == Agrees("capture")


@pytest.mark.parametrize("fraud", [["accept"], 1, "accept ", "a\nb"])
def test_a_fraud_status_that_is_none_names_no_transaction(fraud: object) -> None:
    assert notified_transaction(json.dumps({**MESSAGE, "fraud_status": fraud}).encode()) is None


@pytest.mark.parametrize(
    ("said", "now", "agrees"),
    [("IDR", "IDR", True), ("IDR", "USD", False), ("IDR", "", True), ("", "IDR", True)],
)
def test_an_amount_is_one_of_its_currency(said: str, now: str, agrees: bool) -> None:
    verdict = compare(transaction(currency=said), transaction(currency=now), SECRET)
    assert verdict == (Agrees("settlement") if agrees else Disagrees("currency differs"))


# ---- states ---------------------------------------------------------------------------------

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
