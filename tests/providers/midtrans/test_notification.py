import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.errors import Reason, Refusal
from relay.core.request import (
    Headers,
    IngestResult,
    OnConflict,
    OnReplay,
    Verdict,
    Verification,
)
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Inspector, Sample, SampleOrder
from relay.providers.midtrans.notification import PROVIDER
from tests.contracts.provider import delivery_of, outcome
from tests.harness.deliveries import AnswerContext

KEY = Secret("SB-Mid-server-canary")
PAYMENT_FIELDS = ("order_id", "status_code", "gross_amount")
ACCOUNT_FIELDS = ("account_id", "account_status", "status_code")
NOW = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
PAYMENT = {
    "transaction_id": "9aed5972-5b6a-401e-894b-a32c91ed1a3a",
    "transaction_status": "settlement",
    "status_code": "200",
    "order_id": "order-1",
    "gross_amount": "20000.00",
    "fraud_status": "accept",
}
ACCOUNT = {"account_id": "00000269-7836", "account_status": "ENABLED", "status_code": "200"}


def bind(pattern: str | None = None, *, signed: bool = True) -> Inspector:
    return PROVIDER.bind(
        EndpointOptions(secrets=(KEY,) if signed else (), order_id_pattern=pattern)
    )


def sign(message: Mapping[str, object], *fields: str) -> dict[str, object]:
    names = fields or ("order_id", "status_code", "gross_amount")
    covered = "".join(str(message.get(name, "")) for name in names).encode()
    return {**message, "signature_key": hashlib.sha512(covered + KEY.reveal()).hexdigest()}


def inspected(message: object, inspector: Inspector | None = None) -> Verification | Reason:
    body = json.dumps(message).encode()
    return outcome(inspector or bind(), delivery_of(Sample("POST", "", Headers(), body)))


def accepted(message: Mapping[str, object], inspector: Inspector | None = None) -> Verification:
    found = inspected(message, inspector)
    assert isinstance(found, Verification)
    return found


def payment(**changes: object) -> Verification:
    return accepted(sign({**PAYMENT, **changes}))


def account(**changes: object) -> Verification:
    return accepted(sign({**ACCOUNT, **changes}, *ACCOUNT))


# ---- what is found --------------------------------------------------------------------------


def test_a_payment() -> None:
    verification = payment()
    assert verification.key == "9aed5972-5b6a-401e-894b-a32c91ed1a3a:settlement:200:accept"
    assert verification.subject == f"{PAYMENT['transaction_id']}:{PAYMENT['order_id']}"
    assert verification.signed == ("order_id", "status_code", "gross_amount")
    assert verification.secret == 0
    assert (verification.is_initial, verification.test, verification.ambiguous) == (
        False,
        False,
        False,
    )
    assert verification.on_conflict is OnConflict.DELIVER


def test_a_transaction_that_another_order_claims_is_another_subject() -> None:
    first, again = payment(), payment(transaction_status="refund")
    other = payment(order_id="order-2")
    assert first.subject == again.subject
    assert first.subject != other.subject
    # However the two are put together.
    shifted = payment(transaction_id="tx-1:order", order_id="1")
    assert shifted.subject != payment(transaction_id="tx-1", order_id="order:1").subject


@pytest.mark.parametrize("status", ["pending", "PENDING", "Pending"])
def test_pending_opens_a_transaction(status: str) -> None:
    verification = payment(transaction_status=status, status_code="201")
    assert verification.is_initial
    assert ":pending:201:" in verification.key


def test_the_order_stands_in_for_a_transaction_that_is_not_named() -> None:
    for missing in ("", None):
        verification = payment(transaction_id=missing)
        assert verification.subject == "order-1"
        assert verification.key == "order-1:settlement:200:accept"


def test_no_missing_identity_field_refuses() -> None:
    bare = {name: PAYMENT[name] for name in ("order_id", "status_code", "gross_amount")}
    assert accepted(sign(bare)).key == "order-1::200:"


def test_fields_that_are_not_text_still_tell_events_apart() -> None:
    odd: tuple[object, ...] = (1, 1.0, True, None, [], {}, ["a"])
    keys = {payment(transaction_status=value).key for value in odd}
    assert len(keys) == 7


@pytest.mark.parametrize(
    ("first", "second"),
    tuple(
        combinations(
            [
                {},
                {"transaction_status": "capture"},
                {"status_code": "202"},
                {"fraud_status": "challenge"},
                {"fraud_status": None},
                {"transaction_id": "another"},
                {"refund_amount": "10.00"},
                {"refund_amount": "20.00"},
                {"refund_amount": 20.00},
                {"refunds": [{"refund_chargeback_id": 1}]},
                {"refunds": [{"refund_chargeback_id": 2}]},
                {"refunds": [{"refund_chargeback_id": 1}, {"refund_chargeback_id": 2}]},
                {"refunds": [{"refund_chargeback_uuid": "u"}]},
                {"refunds": [{"refund_key": "k"}]},
                {"refunds": [{"refund_key": "k", "bank_confirmed_at": "2026-01-05 12:00:00"}]},
                {"refunds": [{"amount": "1.00"}]},
                {"refunds": [{"amount": "2.00"}]},
                {"refunds": "odd"},
                {"bank_confirmed_at": "2026-01-05 12:00:00"},
            ],
            2,
        )
    ),
)
def test_no_state_and_no_refund_is_swallowed(
    first: dict[str, object], second: dict[str, object]
) -> None:
    assert payment(**first).key != payment(**second).key


def test_the_order_of_refunds_and_their_repetition_do_not_matter() -> None:
    one, two = {"refund_chargeback_id": 1, "x": 1}, {"refund_chargeback_id": 2}
    keys = {payment(refunds=refunds).key for refunds in ([one, two], [two, one], [one, two, one])}
    assert len(keys) == 1


def test_a_field_that_says_nothing_of_identity_changes_the_content_alone() -> None:
    first, second = payment(), payment(status_message="new wording")
    assert first.key == second.key
    assert first.content != second.content


# ---- an unsigned status against the signed code ---------------------------------------------


@pytest.mark.parametrize("code", ["201", "202", "300", "407", "500"])
@pytest.mark.parametrize(
    ("status", "fraud"),
    [
        ("settlement", "accept"),
        ("settlement", None),
        ("settlement", "deny"),
        ("SETTLEMENT", "challenge"),
        ("Settlement ", ""),
        ("\u017fettlement", "accept"),
        ("capture", "accept"),
        ("CAPTURE", "ACCEPT"),
        ("capture", None),
        ("capture", ""),
    ],
)
def test_a_status_that_is_paid_under_another_code_is_held(
    code: str, status: str, fraud: str | None
) -> None:
    found = payment(status_code=code, transaction_status=status, fraud_status=fraud)
    assert found.hold == "status_contradicts_code"
    assert found.replay_digest is None


@pytest.mark.parametrize(
    ("code", "status", "fraud"),
    [
        ("200", "settlement", "accept"),
        ("200", "SETTLEMENT", "accept"),
        ("200", "capture", "accept"),
        ("201", "capture", "challenge"),
        ("201", "pending", "accept"),
        ("201", "authorize", "accept"),
        ("202", "deny", "accept"),
        ("202", "deny", "deny"),
        ("200", "cancel", "accept"),
        ("200", "refund", "accept"),
        ("200", "partial_refund", "accept"),
        ("200", "chargeback", "accept"),
        ("407", "expire", "accept"),
        ("202", "capture", "deny"),
        ("201", "failure", "accept"),
        ("201", "unheard_of", "accept"),
        ("201", "", "accept"),
    ],
)
def test_what_the_documents_know_or_leave_open_is_not_held(
    code: str, status: str, fraud: str
) -> None:
    assert payment(status_code=code, transaction_status=status, fraud_status=fraud).hold is None


def test_without_a_signature_nothing_is_signed_that_a_status_could_contradict() -> None:
    found = accepted({**PAYMENT, "status_code": "201"}, bind(signed=False))
    assert (found.hold, found.replay_digest) == (None, None)


def test_a_signature_that_is_paid_is_known_again_under_another_transaction() -> None:
    first = payment()
    assert first.replay_digest is not None
    assert first.on_replay is OnReplay.CONFLICT
    for other in (
        payment(transaction_id="another"),
        payment(transaction_status="capture"),
        payment(transaction_status="Settlement", fraud_status=None),
    ):
        assert other.replay_digest == first.replay_digest
    for other in (payment(order_id="order-2"), payment(gross_amount="20000.01")):
        assert other.replay_digest != first.replay_digest
    for status in ("pending", "refund", "deny", "cancel", "expire"):
        assert payment(transaction_status=status).replay_digest is None
    assert payment(transaction_status="capture", fraud_status="challenge").replay_digest is None


def test_the_signature_is_in_no_key() -> None:
    message = sign(PAYMENT)
    assert str(message["signature_key"])[:16] not in accepted(message).key


def test_a_key_is_safe_to_log_whatever_the_order_is_called() -> None:
    order_id = "2016-10-20 12:39\n\x1b[31m\u202e" + "x" * 10_000
    verification = payment(
        order_id=order_id, transaction_id="a:b\n", transaction_status="s" * 10_000
    )
    for text in (verification.key, verification.subject or ""):
        assert text.isprintable()
        assert text.isascii()
        assert len(text) < 600


def test_a_recurring_payment_is_a_payment() -> None:
    verification = payment(order_id="SUBS-order-1")
    assert verification.signed == ("order_id", "status_code", "gross_amount")


def test_the_test_message_of_the_dashboard_is_told() -> None:
    test = payment(order_id="payment_notif_test_M004123_1")
    assert test.test
    assert not payment(order_id="x_payment_notif_test_").test
    forged = {**PAYMENT, "order_id": "payment_notif_test_1", "signature_key": "0" * 128}
    assert inspected(forged) is Reason.SIGNATURE_MISMATCH


# ---- linked accounts ------------------------------------------------------------------------


def test_a_linked_account() -> None:
    verification = account()
    assert re.fullmatch("00000269-7836:ENABLED:200:[0-9a-f]{32}", verification.key)
    assert verification.signed == ("account_id", "account_status", "status_code")
    assert verification.subject == "00000269-7836"
    assert not verification.ambiguous


def test_an_account_enabled_again_is_another_event_when_anything_differs() -> None:
    first, again = account(metadata={"at": "1"}), account(metadata={"at": "2"})
    assert first.key != again.key
    assert account(metadata={"at": "1"}) == first


def test_an_account_status_that_could_be_split_otherwise_is_flagged() -> None:
    assert account(account_id="1", account_status="xENABLED").ambiguous
    assert account(account_id="1DISA", account_status="BLED").ambiguous
    assert not account(account_status="DISABLED", status_code="204").ambiguous


def test_a_payment_with_an_account_is_a_payment() -> None:
    assert payment(account_id="1").signed == ("order_id", "status_code", "gross_amount")


def test_the_signature_of_a_payment_fits_no_account_and_the_other_way_round() -> None:
    """Both join their fields without a separator: only the shapes keep them apart."""
    signed = sign({"order_id": "accENABLED", "status_code": "200", "gross_amount": "200"})
    joined = "accENABLED200200"
    for end in range(2, len(joined)):
        for start in range(1, end):
            message = {
                "account_id": joined[:start],
                "account_status": joined[start:end],
                "status_code": joined[end:],
                "signature_key": signed["signature_key"],
            }
            assert inspected(message) is Reason.FIELD_INVALID
    joined, signed = "accENABLED200", sign({**ACCOUNT, "account_id": "acc"}, *ACCOUNT)
    for end in range(2, len(joined)):
        for start in range(1, end):
            message = {
                "order_id": joined[:start],
                "status_code": joined[start:end],
                "gross_amount": joined[end:],
                "signature_key": signed["signature_key"],
            }
            assert inspected(message) is Reason.FIELD_INVALID


@pytest.mark.parametrize("name", [*ACCOUNT])
@pytest.mark.parametrize("value", [None, 1, "", [], {}])
def test_the_signed_fields_of_an_account_are_text(name: str, value: object) -> None:
    message = {**sign(ACCOUNT, *ACCOUNT), name: value}
    assert inspected(message) is Reason.FIELD_INVALID


# ---- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", 1, True, ["x"], {"a": "b"}])
def test_without_a_signature_nothing_passes(value: object) -> None:
    assert inspected({**PAYMENT, "signature_key": value}) is Reason.SIGNATURE_MISSING
    assert inspected(PAYMENT) is Reason.SIGNATURE_MISSING


@pytest.mark.parametrize("name", ["order_id", "status_code", "gross_amount"])
@pytest.mark.parametrize("value", [None, 200, 200.00, True, "", ["200"], {"a": "200"}])
def test_a_signed_field_that_is_no_text_is_refused(name: str, value: object) -> None:
    assert inspected(sign({**PAYMENT, name: value})) is Reason.FIELD_INVALID
    missing = {key: item for key, item in sign(PAYMENT).items() if key != name}
    assert inspected(missing) is Reason.FIELD_INVALID


@pytest.mark.parametrize(
    "value", ["100", "600", "20", "2000", " 200", "200 ", "200\n", "2x0", "20\u0660", "+20", "-20"]
)
def test_a_status_code_has_its_shape(value: str) -> None:
    assert inspected(sign({**PAYMENT, "status_code": value})) is Reason.FIELD_INVALID


@pytest.mark.parametrize(
    "value",
    [
        "00",
        "01.00",
        "1.",
        ".50",
        "1.000",
        "1,00",
        "-1.00",
        "+1",
        "1e5",
        " 1",
        "1\n",
        "1.00 ",
        "\u0661",
        "1.0\u0660",
        "0x1",
        "1.00.00",
        "1_000",
        "NaN",
    ],
)
def test_an_amount_has_its_shape(value: str) -> None:
    assert inspected(sign({**PAYMENT, "gross_amount": value})) is Reason.FIELD_INVALID


@pytest.mark.parametrize("value", ["0", "0.00", "0.5", "2700", "10000.00", "9" * 30 + ".99"])
def test_every_amount_that_was_seen_passes(value: str) -> None:
    payment(order_id="order", gross_amount=value)


@pytest.mark.parametrize("order_id", ["2016-10-20 12:39:16 +0700", "#1", "é", "a\nb", "😀", " "])
def test_an_order_may_be_called_anything(order_id: str) -> None:
    payment(order_id=order_id)


@pytest.mark.parametrize("control", ["\x00", "\n", "\x1f"])
@pytest.mark.parametrize("base", [PAYMENT, ACCOUNT], ids=["payment", "account"])
def test_no_control_character_stands_in_a_shape(base: dict[str, object], control: str) -> None:
    first, *others = ACCOUNT_FIELDS if base is ACCOUNT else PAYMENT_FIELDS
    for name in others:
        value = str(base[name])
        for at in range(len(value) + 1):
            odd = {**base, name: value[:at] + control + value[at:]}
            assert inspected(sign(odd, first, *others)) is Reason.FIELD_INVALID
    named = {**base, first: f"a{control}b"}
    assert isinstance(inspected(sign(named, first, *others)), Verification)


@pytest.mark.parametrize("pattern", [None, "INV-[0-9]+"])
def test_no_character_moves_a_signature_to_other_fields(pattern: str | None) -> None:
    genuine = sign({**PAYMENT, "order_id": "INV-7\x002009", "gross_amount": "10000.00"})
    moved = {"order_id": "INV-7", "status_code": "\x00200", "gross_amount": "920010000.00"}
    assert inspected({**genuine, **moved}, bind(pattern)) is Reason.FIELD_INVALID
    junk = {**PAYMENT, "status_code": "junk", "gross_amount": "5\x00200\x0010000.00"}
    assert inspected(sign(junk), bind(pattern)) is Reason.FIELD_INVALID
    enabled = sign({**ACCOUNT, "account_id": "A\x00"}, *ACCOUNT_FIELDS)
    shifted = {**enabled, "account_id": "A", "account_status": "\x00ENABLED"}
    assert inspected(shifted) is Reason.FIELD_INVALID


def test_a_double_encoded_message_is_malformed() -> None:
    assert inspected(json.dumps(sign(PAYMENT))) is Reason.BODY_MALFORMED


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        (None, True),
        ("text/plain", True),
        ("application/json", True),
        ("application/x-www-form-urlencoded", False),
        ("application/json; charset=utf-7", False),
    ],
)
def test_no_content_type_makes_something_else_of_it(said: str | None, taken: bool) -> None:
    body = json.dumps({**sign(PAYMENT), "x": "&order_id=another&"}).encode()
    fields = () if said is None else (("Content-Type", said),)
    found = outcome(bind(), delivery_of(Sample("POST", "", Headers(fields), body)))
    assert isinstance(found, Verification) is taken
    assert taken or found is Reason.FIELD_INVALID


def test_an_order_has_to_match_the_whole_pattern() -> None:
    inspector = bind(r"order-\d+")
    accepted(sign(PAYMENT), inspector)
    for order_id in ("order-1x", "xorder-1", "order-1\n", "order-", "ORDER-1"):
        message = sign({**PAYMENT, "order_id": order_id})
        assert inspected(message, inspector) is Reason.FIELD_INVALID


# ---- unsigned endpoints ---------------------------------------------------------------------


def test_unsigned_messages_need_no_field_at_all() -> None:
    inspector = bind(signed=False)
    verification = accepted({"hello": "world"}, inspector)
    assert verification.key == "sha256:" + hashlib.sha256(b'{"hello": "world"}').hexdigest()
    assert verification.subject is None
    assert accepted({"order_id": 7, "gross_amount": 1}, inspector).subject == "7"
    assert accepted({"account_id": None}, inspector).subject is None


#: As published, with values of the test.
SUBSCRIPTION = {
    "id": "d98a63b8-97e4-4059-825f-0f62340407e9",
    "name": "MONTHLY_2026",
    "amount": "14000",
    "currency": "IDR",
    "created_at": "2026-01-05T09:11:01",
    "schedule": {"interval": 1, "interval_unit": "month", "next_execution_at": "2026-02-05"},
    "status": "active",
    "payment_type": "credit_card",
    "transaction_ids": [],
}


def test_a_message_about_a_subscription_is_taken_where_nothing_is_signed() -> None:
    unsigned = bind(signed=False)
    found = accepted(SUBSCRIPTION, unsigned)
    assert (found.signed, found.secret, found.subject) == ((), None, None)
    # Each state is an event of its own, and the same message again is not.
    assert accepted(SUBSCRIPTION, unsigned).key == found.key
    assert accepted({**SUBSCRIPTION, "status": "inactive"}, unsigned).key != found.key


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            SUBSCRIPTION,
            (
                "signature_key is missing, empty or no string; Midtrans signs nothing about"
                " subscriptions: give them an unsigned endpoint"
            ),
        ),
        (PAYMENT, "signature_key is missing, empty or no string"),
        ({**SUBSCRIPTION, "order_id": "order-1"}, "signature_key is missing, empty or no string"),
    ],
)
def test_where_something_is_it_is_told_why_it_is_refused(
    message: dict[str, object], said: str
) -> None:
    sample = Sample("POST", "", Headers(), json.dumps(message).encode())
    with pytest.raises(Refusal) as caught:
        bind().verify(delivery_of(sample))
    assert (caught.value.reason, caught.value.detail) == (Reason.SIGNATURE_MISSING, said)


def test_unsigned_messages_still_match_the_pattern() -> None:
    inspector = bind(r"order-\d+", signed=False)
    accepted(PAYMENT, inspector)
    assert inspected({"hello": "world"}, inspector) is Reason.FIELD_INVALID


# ---- the three fields have no separator -----------------------------------------------------

STATUS = re.compile(r"[2-5][0-9][0-9]")
AMOUNT = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]{1,2})?")


def other_splits(order_id: str, status_code: str, gross_amount: str) -> set[tuple[str, str, str]]:
    """Return the other readings of the joined text, found by trying every one."""
    joined = order_id + status_code + gross_amount
    splits = {
        (joined[:first], joined[first:second], joined[second:])
        for first, second in combinations(range(1, len(joined)), 2)
    }
    return {
        split for split in splits if STATUS.fullmatch(split[1]) and AMOUNT.fullmatch(split[2])
    } - {(order_id, status_code, gross_amount)}


order_ids = st.text("0123456789.a-", min_size=1, max_size=12)
status_codes = st.from_regex(STATUS, fullmatch=True)
amounts = st.from_regex(AMOUNT, fullmatch=True).filter(lambda amount: len(amount) < 20)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(order_ids, status_codes, amounts)
def test_a_split_is_flagged_exactly_when_there_is_another(
    order_id: str, status_code: str, gross_amount: str
) -> None:
    message = sign(
        {**PAYMENT, "order_id": order_id, "status_code": status_code, "gross_amount": gross_amount}
    )
    others = other_splits(order_id, status_code, gross_amount)
    assert accepted(message).ambiguous is bool(others)
    for split in others:
        # Whoever shifts a captured message passes under its signature, and is flagged too.
        shifted = dict(zip(("order_id", "status_code", "gross_amount"), split, strict=True))
        assert accepted({**message, **shifted}).ambiguous


@settings(derandomize=True, deadline=None, max_examples=300)
@given(order_ids, status_codes, amounts)
def test_with_a_pattern_only_orders_that_match_it_count(
    order_id: str, status_code: str, gross_amount: str
) -> None:
    # A pattern with a fixed end leaves one reading.
    order_id += "-z"
    inspector = bind(r"[0-9.a-]+-z")
    message = sign(
        {**PAYMENT, "order_id": order_id, "status_code": status_code, "gross_amount": gross_amount}
    )
    assert not accepted(message, inspector).ambiguous
    for split in other_splits(order_id, status_code, gross_amount):
        shifted = dict(zip(("order_id", "status_code", "gross_amount"), split, strict=True))
        assert inspected({**message, **shifted}, inspector) is Reason.FIELD_INVALID


def test_the_published_shift_is_flagged() -> None:
    first = payment(order_id="A", status_code="200", gross_amount="20010000.00")
    second = payment(order_id="A200", status_code="200", gross_amount="10000.00")
    assert first.ambiguous
    assert second.ambiguous
    refused = sign({"order_id": "1111", "status_code": "200", "gross_amount": "100000.00"})
    refused |= {"order_id": "111", "status_code": "120", "gross_amount": "0100000.00"}
    assert inspected(refused) is Reason.FIELD_INVALID


@pytest.mark.timeout(2)
def test_long_digits_cost_no_more_than_their_length() -> None:
    verification = payment(order_id="1" * 50_000, gross_amount="1" * 50_000)
    assert not verification.ambiguous


@pytest.mark.timeout(5)
def test_with_a_pattern_long_digits_cost_no_more_either() -> None:
    inspector = bind("ORDER-[0-9]{4}")
    message = sign(
        {**PAYMENT, "order_id": "ORDER-2001", "gross_amount": "1" + "2001" * 60_000 + ".00"}
    )
    assert not accepted(message, inspector).ambiguous
    longest = sign({**PAYMENT, "order_id": "1" * 257})
    assert inspected(longest, bind("[0-9]+")) is Reason.FIELD_INVALID


# ---- configuration, answers, samples --------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EndpointOptions(secrets=(KEY, Secret(" \n"))), "secrets.1: "),
        (EndpointOptions(secrets=(KEY,), order_id_pattern="("), "order_id_pattern: "),
        (EndpointOptions(secrets=(KEY,), partner_id="x"), "partner_id: "),
    ],
)
def test_an_unusable_term_is_named(options: EndpointOptions, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}"):
        PROVIDER.bind(options)


def test_the_answer_to_a_success_is_ok() -> None:
    ack = bind().answer(IngestResult(Verdict.ACCEPTED), AnswerContext("", b"", NOW))
    assert (ack.status, ack.body) == (200, b"OK")
    refused = bind().answer(
        IngestResult(Verdict.REFUSED, Reason.METHOD_NOT_ALLOWED), AnswerContext("", b"", NOW)
    )
    assert refused.headers == (("Allow", "POST"),)


def sample(**changes: str) -> Sample:
    return PROVIDER.sample(SampleOrder("https://x.example/", KEY, NOW, changes))


def test_a_sample_is_dated_in_jakarta() -> None:
    assert json.loads(sample().body)["transaction_time"] == "2026-01-06 06:30:00"


@pytest.mark.parametrize(
    ("status", "code"), [("settlement", "200"), ("pending", "201"), ("deny", "202")]
)
def test_a_sample_takes_changes_and_signs_them(status: str, code: str) -> None:
    changed = sample(order_id="mine", transaction_status=status, gross_amount="1.00", new="x")
    message = json.loads(changed.body)
    assert (message["order_id"], message["gross_amount"]) == ("mine", "1.00")
    assert (message["status_code"], message["new"]) == (code, "x")
    assert isinstance(outcome(bind(), delivery_of(changed)), Verification)


def test_no_sample_is_ambiguous_by_chance() -> None:
    for _ in range(500):
        verification = outcome(bind(), delivery_of(sample()))
        assert isinstance(verification, Verification)
        assert not verification.ambiguous


def test_the_signature_of_a_sample_is_computed() -> None:
    with pytest.raises(ValueError, match=r"^signature_key: "):
        sample(signature_key="0" * 128)


# ---- splits ---------------------------------------------------------------------------------
# Midtrans joins three fields without a mark: every other way to split them is found and flagged.
#
# The brute force knows nothing of how relay looks: it tries every pair of places.

RAW_KEY = b"SB-Mid-server-canary"
TRIPLES = 10_000

Triple = tuple[str, str, str]


def every_split(joined: str) -> set[Triple]:
    """Return every way to read three fields of their usual shapes."""
    return {
        (joined[:first], joined[first:second], joined[second:])
        for first, second in combinations(range(1, len(joined)), 2)
        if STATUS.fullmatch(joined[first:second]) and AMOUNT.fullmatch(joined[second:])
    }


def triple(dice: Random) -> Triple:
    """Return fields as orders have them, half of them with ids that end in digits."""
    letters = dice.choice(("0123456789", "0123456789.-", "ABC-0245", "0123456789abcdef"))
    order_id = "".join(dice.choices(letters, k=dice.randint(1, 14)))
    if dice.random() < 0.3:
        order_id += dice.choice(("-a", "x", ".", "-"))
    amount = str(dice.choice((dice.randint(0, 9), dice.randint(100, 10**8), 20_000)))
    cents = dice.choice(("", ".0", ".00", ".00", f".{dice.randint(0, 99)}"))
    return order_id, str(dice.randint(200, 599)), amount + cents


def flagged(inspector: Inspector, fields: Triple) -> bool:
    """Say whether a genuine message with these fields is marked as ambiguous."""
    order_id, status_code, gross_amount = fields
    message = {
        "order_id": order_id,
        "status_code": status_code,
        "gross_amount": gross_amount,
        "signature_key": hashlib.sha512("".join(fields).encode() + RAW_KEY).hexdigest(),
        "transaction_id": "9aed5972-5b6a-401e-894b-a32c91ed1a3a",
        "transaction_status": "settlement",
    }
    body = json.dumps(message).encode()
    verification = outcome(inspector, delivery_of(Sample("POST", "", Headers(), body)))
    assert not isinstance(verification, str), (fields, verification)
    return verification.ambiguous


def test_every_alternative_split_of_random_triples_is_flagged() -> None:
    dice, inspector = Random(20260105), PROVIDER.bind(EndpointOptions(secrets=(Secret(RAW_KEY),)))
    seen = Counter[bool]()
    for _ in range(TRIPLES):
        fields = triple(dice)
        splits = every_split("".join(fields))
        assert fields in splits
        ambiguous = len(splits) > 1
        seen[ambiguous] += 1
        # Whoever shifts digits passes under the same signature, and is flagged all the same.
        for split in splits:
            assert flagged(inspector, split) is ambiguous, (fields, split)
    assert min(seen[True], seen[False]) > TRIPLES // 10, seen


@pytest.mark.parametrize(
    "name",
    [
        *("Order_Id", "ORDER_ID", "Transaction_Status", "Status_Code", "Gross_Amount"),
        *("Transaction_Id", "Fraud_Status", "Refunds", "transaction_\u017ftatus"),
    ],
)
@pytest.mark.parametrize("signed", [True, False])
def test_no_field_stands_beside_another_spelling_of_its_name(name: str, signed: bool) -> None:
    forged = {**sign({**PAYMENT, "status_code": "201"}), name: "settlement"}
    assert inspected(forged, bind(signed=signed)) is Reason.FIELD_INVALID


def test_names_that_are_not_read_are_spelled_as_anybody_likes() -> None:
    assert isinstance(inspected({**sign(PAYMENT), "Custom_Field1": "x", "naïve": 1}), Verification)


@pytest.mark.parametrize(
    "said",
    [
        {"transaction_status": ["settlement"]},
        {"transaction_status": [["Settlement"]]},
        {"transaction_status": "capture", "fraud_status": ["accept"]},
    ],
)
def test_a_list_of_one_is_held_as_what_it_holds(said: dict[str, object]) -> None:
    assert accepted(sign({**PAYMENT, "status_code": "201", **said})).hold is not None
    other = {**PAYMENT, "status_code": "201", "transaction_status": [[]]}
    assert accepted(sign(other)).hold is None
