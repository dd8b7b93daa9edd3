import re
from datetime import UTC, datetime

import pytest

from relay.providers.midtrans.snap_messages import ACCOUNT, DEBIT, QRIS, SERVICES, message

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize("path", SERVICES)
def test_a_reference_is_new_each_time(path: str) -> None:
    assert message(path, NOW, {}) != message(path, NOW, {})


def test_each_path_has_its_own_fields() -> None:
    assert "qris" in message(QRIS, NOW, {})["additionalInfo"]  # type: ignore[operator] # an object
    assert message(DEBIT, NOW, {})["finishedTime"] == "2026-01-05T19:00:00+07:00"
    assert message(ACCOUNT, NOW, {})["partnerServiceId"] == "  088899"


def test_fields_are_set_at_any_depth() -> None:
    changes = {
        "latestTransactionStatus": "03",
        "amount.value": "1.00",
        "additionalInfo.qris.issuerName": "é",
        "more.of.it": "x",
        "new": "y",
    }
    made = message(QRIS, NOW, changes)
    assert made["latestTransactionStatus"] == "03"
    assert made["amount"] == {"value": "1.00", "currency": "IDR"}
    assert made["additionalInfo"] == {
        "qris": {"issuerName": "é", "acquirerName": "gopay", "transactionType": "ON-US"}
    }
    assert made["more"] == {"of": {"it": "x"}}
    assert made["new"] == "y"


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "amount.", ".amount", "amount", "additionalInfo.qris"),
        *("latestTransactionStatus.x", "amount.value.x", "X-TIMESTAMP", "X-SIGNATURE"),
    ],
)
def test_what_cannot_be_set(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be set"):
        message(QRIS, NOW, {name: "x"})


def test_an_unknown_path_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match=re.escape(ACCOUNT)):
        message("/v1.0/debit/notify/", NOW, {})
