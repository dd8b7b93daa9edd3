"""Midtrans joins three fields without a mark: every other way to split them is found and flagged.

The brute force knows nothing of how relay looks: it tries every pair of places.
"""

import hashlib
import json
import re
from collections import Counter
from itertools import combinations
from random import Random

from relay.core.request import Headers
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Inspector, Sample
from relay.providers.midtrans.notification import PROVIDER
from tests.contracts.provider import delivery_of, outcome

KEY = b"SB-Mid-server-canary"
TRIPLES = 10_000

Triple = tuple[str, str, str]

STATUS = re.compile(r"[2-5][0-9][0-9]")
AMOUNT = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]{1,2})?")


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
        "signature_key": hashlib.sha512("".join(fields).encode() + KEY).hexdigest(),
        "transaction_id": "9aed5972-5b6a-401e-894b-a32c91ed1a3a",
        "transaction_status": "settlement",
    }
    body = json.dumps(message).encode()
    verification = outcome(inspector, delivery_of(Sample("POST", "", Headers(), body)))
    assert not isinstance(verification, str), (fields, verification)
    return verification.ambiguous


def test_every_alternative_split_of_random_triples_is_flagged() -> None:
    dice, inspector = Random(20260105), PROVIDER.bind(EndpointOptions(secrets=(Secret(KEY),)))
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
