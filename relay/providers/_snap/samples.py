"""Messages as Midtrans BI-SNAP's documentation shows them, with references of their own."""

from collections.abc import Mapping
from datetime import datetime
from secrets import token_hex

from relay.providers._snap import ACCOUNT, DEBIT, QRIS, SIGNATURE, TIMESTAMP, stamp

Message = dict[str, object]


def message(path: str, at: datetime, changes: Mapping[str, str]) -> Message:
    """Return the body for one of the paths, with these fields set.

    changes: by name; dots lead into an object, as in `amount.value`.

    Raises:
        ValueError: a change names what is no field of text, or the path is none of Midtrans'.
    """
    bodies = {QRIS: _qris, DEBIT: _debit, ACCOUNT: _account}
    if path not in bodies:
        raise ValueError(f"path: there are: {', '.join(bodies)}")
    made = bodies[path](f"relay-{token_hex(8)}-sample", stamp(at))
    for name, value in changes.items():
        if name in {TIMESTAMP, SIGNATURE}:
            raise ValueError(f"{name}: cannot be set; it is made for each sample")
        _set(made, name, value)
    return made


def _set(inside: Message, name: str, value: str) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        inner = inside.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{name}: cannot be set; {parent} is no object in this message")  # noqa: TRY004 - a bad value
        inside = inner
    if not all((*parents, last)) or not isinstance(inside.get(last, ""), str):
        raise ValueError(f"{name}: cannot be set; it is no field of text in this message")
    inside[last] = value


def _qris(reference: str, at: str) -> Message:  # noqa: ARG001 - this kind tells no time
    return {
        "originalReferenceNo": reference,
        "originalPartnerReferenceNo": "2020102900000000000001",
        "latestTransactionStatus": "00",
        "transactionStatusDesc": "success",
        "amount": {"value": "12345678.00", "currency": "IDR"},
        "externalStoreID": "124928924949487",
        "additionalInfo": {
            "qris": {
                "issuerName": "gopay",
                "acquirerName": "gopay",
                "transactionType": "ON-US",
            }
        },
    }


def _debit(reference: str, at: str) -> Message:
    return {
        "createdTime": at,
        "latestTransactionStatus": "00",
        "originalReferenceNo": reference,
        "finishedTime": at,
        "originalPartnerReferenceNo": "merchant-order-id",
        "transactionStatusDesc": "desc",
        "originalExternalId": "merchant-order-id",
        "additionalInfo": {
            "userPaymentDetails": [{"payMethod": "gopay", "payOption": "GOPAY_WALLET"}],
        },
    }


def _account(reference: str, at: str) -> Message:
    return {
        "partnerServiceId": "  088899",
        "customerNo": "12345678901234567890",
        "virtualAccountNo": "  08889912345678901234567890",
        "virtualAccountName": "Jokul Doe",
        "trxId": reference,
        "paymentRequestId": "abcdef-123456-abcdef",
        "paidAmount": {"value": "12345678.00", "currency": "IDR"},
        "referenceNo": "123456789012345",
        "additionalInfo": {
            "bank": "BCA",
            "paymentFlagStatus": "00",
            "merchantId": "G059876677",
            "paidTime": at,
        },
    }
