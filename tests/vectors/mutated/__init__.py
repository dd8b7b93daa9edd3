"""Messages of each provider, mutated by a seed, and the recorded verdict on each one.

Message `n` of a sender depends on its name and `n` alone. `verdicts/` holds the outcomes of the
code before verification was rebuilt for speed: a line for 100 messages, with three characters for
each (a letter for accepted or the reason, two of a digest of the whole outcome) and at its end a
digest of all 100. `python -m tests.vectors.mutated` records them anew; a change there has to be
wanted and explained.
"""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Final

from relay.core.errors import Reason, Refusal
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.providers import Inspector
from relay.signatures import SignedText

VERDICTS: Final = Path(__file__).parent / "verdicts"
MESSAGES: Final = 5000
CHUNK: Final = 100

AT: Final = datetime(2026, 1, 5, 12, 0, 0, 250_000, tzinfo=UTC)
HOST: Final = "pay.example.com"

Fields = list[tuple[str, str]]


@dataclass(frozen=True)
class Message:
    """One request and the inspector that verifies it; what is not named is usual."""

    inspector: Inspector
    body: bytes
    fields: Fields
    target: str = "/hook"
    remainder: str = ""
    method: str = "POST"


#: Writes one message of a sender, signed or not.
Writer = Callable[[Random], Message]


# ---- mutations ------------------------------------------------------------------------------

_BODY_BYTES: Final = b'0123456789.,:"{}[]\\/ \n\tabcxuE-+\xc3\x00'
_FIELD_CHARACTERS: Final = "0123456789.,:=; \tabcxZ/+-\xe9"
_FIELD_NAMES: Final = ("Content-Type", "User-Agent", "X-Extra", "Accept")


def mutate(dice: Random, message: Message) -> Message:
    """Return the message as it is half of the time, and otherwise with something changed."""
    kind = dice.random()
    body, fields = message.body, message.fields
    if kind < 0.2:
        body = _changed_body(dice, body)
    elif kind < 0.4 and fields:
        fields = _changed_fields(dice, fields)
    elif kind < 0.5:
        body, fields = _changed_body(dice, body), _changed_fields(dice, fields)
    return Message(
        message.inspector, body, fields, message.target, message.remainder, message.method
    )


def _changed_body(dice: Random, body: bytes) -> bytes:
    at = dice.randrange(len(body) + 1)
    match dice.randrange(4):
        case 0:
            return body[:at] + bytes([dice.choice(_BODY_BYTES)]) + body[at + 1 :]
        case 1:
            return body[:at] + body[at + dice.randrange(1, 9) :]
        case 2:
            return body[:at] + bytes([dice.choice(_BODY_BYTES)]) + body[at:]
        case _:
            return (
                dice.choice((b"", b" ", b"\xef\xbb\xbf", b"\n"))
                + body
                + dice.choice((b"", b" ", b"\r\n", b"x", b"{}"))
            )


def _changed_fields(dice: Random, fields: Fields) -> Fields:
    changed = list(fields)
    at = dice.randrange(len(changed) + 1)
    kind = dice.randrange(5)
    if at == len(changed) or kind == 0:
        changed.insert(at, (dice.choice(_FIELD_NAMES), "x"))
        return changed
    name, value = changed[at]
    place = dice.randrange(len(value) + 1)
    match kind:
        case 1:
            changed[at] = (name.swapcase(), value)
        case 2:
            changed[at] = (name, value[:place] + dice.choice(_FIELD_CHARACTERS) + value[place:])
        case 3:
            changed[at] = (
                name,
                value[:place] + dice.choice(_FIELD_CHARACTERS) + value[place + 1 :],
            )
        case _:
            again = [[], [(name, "")], [(name, value), (name.lower(), value)]]
            changed[at : at + 1] = dice.choice(again)
    return changed


# ---- messages -------------------------------------------------------------------------------


def message(sender: str, writer: Writer, number: int) -> tuple[Inspector, Delivery]:
    """Return message `number` of this sender, and the inspector that verifies it."""
    dice = Random(f"{sender} {number}")
    made = mutate(dice, writer(dice))
    fields = (("Host", HOST), *made.fields)
    peer = ip_address("192.0.2.1")
    head = RequestHead(made.method, made.target, Headers(fields), peer, AT)
    client = ClientAddress(peer, Via.PEER)
    return made.inspector, Delivery("endpoint", head, client, made.remainder, made.body)


# ---- outcomes -------------------------------------------------------------------------------

_LETTERS: Final[Mapping[str, str]] = {
    "accepted": "A",
    Reason.UNKNOWN_ENDPOINT: "E",
    Reason.BODY_MALFORMED: "B",
    Reason.FIELD_INVALID: "F",
    Reason.SIGNATURE_MISSING: "N",
    Reason.SIGNATURE_MISMATCH: "S",
    Reason.TIMESTAMP_INVALID: "T",
    Reason.TIMESTAMP_OUTSIDE_WINDOW: "W",
}


def outcome(inspector: Inspector, delivery: Delivery) -> tuple[str, str]:
    """Return the letter of the verdict, and all of the outcome as text that can be compared."""
    texts: list[SignedText] = []
    try:
        found = inspector.verify(delivery, texts.append)
    except Refusal as refusal:
        verdict = str(refusal.reason)
        told: list[object] = [_lasting(refusal.detail)]
    else:
        verdict = "accepted"
        told = [
            found.key,
            found.content.hex(),
            found.replay_digest.hex() if found.replay_digest is not None else None,
            list(found.signed),
            found.ambiguous,
            found.secret,
            found.subject,
            found.is_initial,
            found.test,
            found.on_conflict,
        ]
    shown = [[text.joined(b"<secret>").decode("latin-1"), text.signature] for text in texts]
    return _LETTERS[verdict], json.dumps([verdict, told, shown])


def _lasting(detail: str) -> str:
    """Return a refusal's detail without the standard library's words, which vary by version."""
    return detail.partition(":")[0] if detail.startswith("not JSON: ") else detail


def outcomes(sender: str, writer: Writer, numbers: range) -> Iterator[tuple[str, str]]:
    """Yield the outcome of each of these messages."""
    for number in numbers:
        yield outcome(*message(sender, writer, number))


def line(found: list[tuple[str, str]]) -> str:
    """Return the line of the record for these outcomes."""
    marks = (letter + _digest(text)[:2] for letter, text in found)
    return f"{''.join(marks)} {_digest(''.join(text for _, text in found))[:20]}"


def recorded(sender: str) -> list[str]:
    """Return the lines recorded for a sender."""
    return (VERDICTS / f"{sender}.txt").read_text("ascii").splitlines()


def _digest(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
