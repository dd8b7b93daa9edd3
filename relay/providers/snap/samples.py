"""Samples of BI-SNAP messages, as documentation shows them, with references of their own."""

from collections.abc import Mapping
from datetime import datetime
from secrets import token_hex
from typing import Final

from relay.providers.snap import (
    ACCOUNT_SERVICE,
    DEBIT_SERVICE,
    INQUIRY_SERVICE,
    LINK_SERVICE,
    QRIS_SERVICE,
    SIGNATURE,
    TIMESTAMP,
    stamp,
)

Message = dict[str, object]


def message(service: str, at: datetime, changes: Mapping[str, str]) -> Message:
    """Return the body of a message of a service, with these fields set.

    changes: by name; dots lead into an object, as in `amount.value`.

    Raises:
        ValueError: a change names what is no field of text.
    """
    made = _BODIES.get(service, _qris)(f"relay-{token_hex(8)}-sample", stamp(at))
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


def _payment(reference: str, at: str) -> Message:
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


def _link(reference: str, at: str) -> Message:  # noqa: ARG001 - this kind tells no time
    return {
        "additionalInfo": {
            "accessToken": reference,
            "merchantId": "G059876677",
            "subMerchantId": "pop-id",
            "paymentType": "gopay",
            "accountStatus": "ENABLED",
            "statusMessage": "Account linked",
        }
    }


def _inquiry(reference: str, at: str) -> Message:
    return {
        "partnerServiceId": "  088899",
        "customerNo": "12345678901234567890",
        "virtualAccountNo": "  08889912345678901234567890",
        "trxDateInit": at,
        "inquiryRequestId": reference,
        "additionalInfo": {},
    }


#: By service code; a service of which nothing is known is shown the first.
_BODIES: Final = {
    QRIS_SERVICE: _qris,
    DEBIT_SERVICE: _debit,
    ACCOUNT_SERVICE: _payment,
    INQUIRY_SERVICE: _inquiry,
    LINK_SERVICE: _link,
}
