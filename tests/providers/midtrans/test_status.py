import hashlib
import json
from datetime import timedelta
from typing import Any

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
    NotYet,
    Transaction,
    Unlinked,
    as_notification,
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
SECRETS = (SECRET,)

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
    assert compare(now, now, (key,)) == Agrees("pending")


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
        (200, {"status_code": 404}, NotFound()),
        (200, {"status_code": [404]}, NoAnswer("malformed answer")),
        (200, [MESSAGE], NoAnswer("malformed answer")),
        (200, {**MESSAGE, "gross_amount": [10000]}, NoAnswer("status_code 200")),
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
    assert compare(transaction(), transaction(), SECRETS) == Agrees("settlement")


def test_it_may_have_moved_on() -> None:
    pending = transaction(status_code="201", transaction_status="pending")
    assert compare(pending, transaction(), SECRETS) == Agrees("settlement")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"transaction_id": "tx-2"}, "transaction_id differs"),
        ({"order_id": "order-2"}, "order_id differs"),
        ({"order_id": "tx-2"}, "order_id differs"),
        ({"gross_amount": "10000.01"}, "gross_amount differs"),
        ({"gross_amount": "99.00"}, "gross_amount differs"),
        ({"gross_amount": "10.000"}, "gross_amount differs"),
        ({"gross_amount": "10,000.00"}, "gross_amount differs"),
        ({"gross_amount": ""}, "gross_amount differs"),
        ({"transaction_status": "cancel"}, "settlement was said, and it is cancel"),
        ({"transaction_status": "expire"}, "settlement was said, and it is expire"),
    ],
)
def test_any_difference_is_a_disagreement(changes: dict[str, str], reason: str) -> None:
    now = transaction(**signed({**MESSAGE, **changes}))
    for by_order in (False, True):
        found = compare(transaction(), now, SECRETS, by_order=by_order)
        assert found == Disagrees(reason)


@pytest.mark.parametrize(
    "changes",
    [
        {"gross_amount": "10000"},
        {"gross_amount": 10000},
        {"gross_amount": 10000.0},
        {"status_code": 200},
        {"signature_key": MESSAGE["signature_key"].upper()},
        {"signature_key": ""},
        {"signature_key": None},
        {"transaction_id": ""},
        {"transaction_id": None},
        {"currency": None},
    ],
)
def test_what_the_api_spells_otherwise_is_the_same(changes: dict[str, object]) -> None:
    answer = parse_answer(200, json.dumps(MESSAGE | changes).encode())
    assert isinstance(answer, Transaction)
    assert compare(transaction(), answer, SECRETS) == Agrees("settlement")


def test_a_number_is_signed_as_it_is_written_or_as_a_notification_would_write_it() -> None:
    for amount in ("10000", "10000.00"):
        message = signed({**MESSAGE, "gross_amount": amount}) | {"gross_amount": 10000}
        answer = parse_answer(200, json.dumps(message).encode())
        assert isinstance(answer, Transaction)
        assert compare(transaction(), answer, SECRETS) == Agrees("settlement")


@pytest.mark.parametrize(
    ("said", "now", "reason"),
    [
        ({}, {"transaction_status": "pending", "status_code": "201"}, "and it is pending"),
        ({"transaction_status": "deny", "status_code": "202"}, {}, "and it is settlement"),
        ({"transaction_status": "refund"}, {}, "refund was said, and it is settlement"),
        ({"transaction_status": "expire"}, {"transaction_status": "pending"}, "it is pending"),
        ({}, {"transaction_status": "capture"}, "settlement was said, and it is capture"),
        (
            {"transaction_status": "capture", "fraud_status": "accept"},
            {"transaction_status": "capture", "fraud_status": "challenge", "status_code": "201"},
            "fraud_status accept was said, and it is challenge",
        ),
    ],
)
def test_an_earlier_state_is_one_that_the_api_may_be_late_with(
    said: dict[str, str], now: dict[str, str], reason: str
) -> None:
    notified = transaction(**signed({**MESSAGE, **said}))
    found = compare(notified, transaction(**signed({**MESSAGE, **now})), SECRETS)
    assert isinstance(found, NotYet)
    assert reason in found.reason


@pytest.mark.parametrize(
    "said",
    [
        {"transaction_status": "settlement"},
        {"transaction_status": "Settlement"},
        {"transaction_status": "capture", "fraud_status": "accept"},
        {"transaction_status": "capture"},
    ],
)
def test_a_state_that_the_signed_code_contradicts_is_not_waited_for(said: dict[str, str]) -> None:
    pending = signed({**MESSAGE, "transaction_status": "pending", "status_code": "201"})
    found = compare(transaction(**(pending | said)), transaction(**pending), SECRETS)
    assert isinstance(found, Disagrees)


# ---- the transaction id for an order id -----------------------------------------------------


def named_twice(**changes: str) -> Transaction:
    return transaction(**signed({**MESSAGE, "order_id": "tx-1", **changes}))


def test_an_order_id_that_is_the_transaction_id_ties_nothing_to_the_order() -> None:
    assert compare(transaction(), named_twice(), SECRETS) == Unlinked()
    assert compare(transaction(), named_twice(transaction_id=""), SECRETS) == Unlinked()
    unsigned = transaction(order_id="tx-1", signature_key="")
    assert compare(transaction(), unsigned, SECRETS) == Unlinked()


def test_unless_the_answer_is_signed_over_the_order_or_was_asked_for_by_it() -> None:
    over_the_order = transaction(order_id="tx-1")
    assert compare(transaction(), over_the_order, SECRETS) == Agrees("settlement")
    agrees = compare(transaction(), named_twice(), SECRETS, by_order=True)
    assert agrees == Agrees("settlement")


def test_asked_by_the_order_the_answer_names_the_transaction() -> None:
    nameless = transaction(transaction_id="")
    assert compare(transaction(), nameless, SECRETS, by_order=True) == Unlinked()
    other = named_twice(order_id="tx-2", transaction_id="tx-2")
    found = compare(transaction(), other, SECRETS, by_order=True)
    assert found == Disagrees("transaction_id differs")


def test_a_notification_without_a_transaction_id_is_about_its_order() -> None:
    notified = transaction(transaction_id="")
    for now in (transaction(), named_twice(), transaction(transaction_id="")):
        assert compare(notified, now, SECRETS, by_order=True) == Agrees("settlement")
    other = transaction(order_id="tx-9")
    assert compare(notified, other, SECRETS, by_order=True) == Disagrees("order_id differs")


def test_an_order_that_is_named_like_its_transaction_is_never_tied() -> None:
    assert compare(named_twice(), named_twice(), SECRETS) == Unlinked()


# ---- an answer as a notification ------------------------------------------------------------


def learnt(asked: str, changes: dict[str, Any], used: str = KEY) -> dict[str, object] | None:
    """Return what is made of this answer; None where it is about another order."""
    answer = parse_answer(200, json.dumps(MESSAGE | changes).encode())
    assert isinstance(answer, Transaction)
    body = as_notification(answer, asked, secrets=SECRETS, used=Secret(used))
    return None if body is None else json.loads(body)


def test_an_answer_that_is_spelled_as_a_notification_keeps_its_bytes() -> None:
    body = json.dumps(MESSAGE, indent=1).encode()
    answer = parse_answer(200, body)
    assert isinstance(answer, Transaction)
    for asked in ("order-1", "tx-1"):
        assert as_notification(answer, asked, secrets=SECRETS, used=SECRET) == body


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ("order-1", {"gross_amount": 10000}),
        ("order-1", {"gross_amount": "10000"}),
        ("order-1", {"status_code": 200}),
        ("order-1", {"signature_key": MESSAGE["signature_key"].upper()}),
        ("order-1", {"signature_key": None}),
        ("order-1", {"order_id": "tx-1"}),
        ("order-1", signed({**MESSAGE, "order_id": "tx-1"})),
        ("order-1", {"order_id": "tx-1", "signature_key": ""}),
        ("order-1", {"order_id": "tx-1", "transaction_id": ""}),
        ("tx-1", {"transaction_id": ""}),
    ],
)
def test_an_answer_that_is_spelled_otherwise_is_put_right(
    asked: str, changes: dict[str, object]
) -> None:
    assert learnt(asked, changes) == MESSAGE


def test_numbers_elsewhere_stay_as_they_are_written() -> None:
    answer = parse_answer(
        200, json.dumps(MESSAGE | {"gross_amount": 1}).encode()[:-1] + b',"n":1.10}'
    )
    assert isinstance(answer, Transaction)
    body = as_notification(answer, "order-1", secrets=SECRETS, used=SECRET)
    assert body is not None
    assert body.endswith(b'"n":1.10}')


def test_what_another_key_has_signed_is_signed_with_the_endpoints_own() -> None:
    covered = b"order-120010000.00merchant"
    merchant = {"signature_key": hashlib.sha512(covered).hexdigest()}
    assert learnt("order-1", merchant, "merchant") == MESSAGE


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ("order-2", {}),
        ("order-2", {"order_id": "order-1", "transaction_id": "tx-2"}),
        # Asked for by the transaction id, nothing says which order it is.
        ("tx-1", {"order_id": "tx-1"}),
    ],
)
def test_an_answer_about_another_order_is_none(asked: str, changes: dict[str, object]) -> None:
    assert learnt(asked, changes) is None


def test_a_wrong_signature_stays_wrong() -> None:
    wrong = learnt("order-1", {"order_id": "tx-1", "signature_key": "0" * 128})
    assert wrong is not None
    assert wrong["signature_key"] == "0" * 128


@pytest.mark.parametrize(
    "changes",
    [
        {"signature_key": "0" * 128},
        {"signature_key": "0"},
        {"signature_key": "\N{LATIN SMALL LETTER E WITH ACUTE}"},
        {"status_code": "201"},
    ],
)
def test_the_answer_has_to_be_signed_itself(changes: dict[str, str]) -> None:
    disagrees = Disagrees("signature_key of the answer is wrong")
    assert compare(transaction(), transaction(**changes), SECRETS) == disagrees
    assert compare(transaction(), transaction(), (Secret("another"),)) == disagrees


def test_without_a_transaction_id_the_order_has_to_do() -> None:
    assert compare(transaction(transaction_id=""), transaction(), SECRETS) == Agrees("settlement")


@pytest.mark.parametrize(
    ("said", "now", "reason"),
    [
        ({"fraud_status": "accept"}, "frozen", "accept was said, and it is frozen"),
        ({"fraud_status": "ACCEPT"}, "deny", "accept was said, and it is deny"),
        ({"fraud_status": "deny"}, "accept", "deny was said, and it is accept"),
        ({}, "frozen", "nothing was said, and it is frozen"),
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
    assert compare(notification, answer, SECRETS) == Disagrees(f"fraud_status {reason}")


@pytest.mark.parametrize("said", ["accept", "ACCEPT", "", None])
@pytest.mark.parametrize("now", [{"fraud_status": "accept"}, {"fraud_status": "Accept"}, {}])
def test_what_is_not_said_of_fraud_is_no_difference(said: str | None, now: dict[str, str]) -> None:
    notification = notified_transaction(json.dumps({**MESSAGE, "fraud_status": said}).encode())
    assert notification is not None
    assert compare(notification, transaction(**now), SECRETS) == Agrees("settlement")


def test_a_challenged_card_may_have_been_approved() -> None:
    said = transaction(transaction_status="capture", fraud_status="challenge")
    now = transaction(transaction_status="capture", fraud_status="accept")
    assert compare(said, now, SECRETS) == Agrees("capture")


@pytest.mark.parametrize("fraud", [["accept"], 1, "accept ", "a\nb"])
def test_a_fraud_status_that_is_none_names_no_transaction(fraud: object) -> None:
    assert notified_transaction(json.dumps({**MESSAGE, "fraud_status": fraud}).encode()) is None


@pytest.mark.parametrize(
    ("said", "now", "agrees"),
    [("IDR", "IDR", True), ("IDR", "USD", False), ("IDR", "", True), ("", "IDR", True)],
)
def test_an_amount_is_one_of_its_currency(said: str, now: str, agrees: bool) -> None:
    verdict = compare(transaction(currency=said), transaction(currency=now), SECRETS)
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
