"""Verification says of 5,000 mutated messages of each sender what it said when recorded."""

from collections import Counter

import pytest

from relay.providers.builtin import names
from tests.vectors.mutated import CHUNK, MESSAGES, Writer, line, message, outcomes, recorded
from tests.vectors.mutated.senders import SENDERS

#: Every tenth chunk by default.
_SHARE = 10
_CHUNKS = range(MESSAGES // CHUNK)

senders = pytest.mark.parametrize(("sender", "writer"), [*SENDERS.items()], ids=[*SENDERS])


def differences(sender: str, writer: Writer, chunks: range) -> list[str]:
    """Return a sentence for each message of these chunks with another outcome than recorded."""
    lines, found = recorded(sender), []
    for chunk in chunks:
        numbers = range(chunk * CHUNK, (chunk + 1) * CHUNK)
        now = [*outcomes(sender, writer, numbers)]
        before, here = lines[chunk], line(now)
        if before == here:
            continue
        named = [
            f"{sender} {number}: was {before[at : at + 3]}, is {here[at : at + 3]}: {told}"
            for at, number, (_, told) in zip(range(0, 3 * CHUNK, 3), numbers, now, strict=True)
            if before[at : at + 3] != here[at : at + 3]
        ]
        # Two characters of a digest may be the same by chance; those of the line are not.
        found += named or [f"{sender} {numbers}: one of them, under an equal short digest"]
    return found


@senders
def test_some_outcomes_are_as_recorded(sender: str, writer: Writer) -> None:
    assert differences(sender, writer, _CHUNKS[::_SHARE]) == []


@pytest.mark.proof
@senders
def test_all_outcomes_are_as_recorded(sender: str, writer: Writer) -> None:
    assert differences(sender, writer, _CHUNKS) == []


@senders
def test_the_record_is_whole_and_holds_every_verdict(sender: str, writer: Writer) -> None:
    lines = recorded(sender)
    letters = Counter("".join(each.partition(" ")[0][::3] for each in lines))
    assert letters.total() == MESSAGES
    # Enough are accepted and enough refused for a difference to show.
    assert 0.2 < letters["A"] / MESSAGES < 0.8
    wanted = {
        "midtrans": "ABFNS",
        "midtrans-snap": "ABFNSTW",
        "vipps": "ABNSTW",
        "vipps-callback": "ABEFNS",
        "described": "ABFNSTW",
    }
    assert all(letters[each] >= 10 for each in wanted[sender]), letters


def test_every_built_in_provider_is_among_them() -> None:
    assert {*names()} == SENDERS.keys() - {"described"}


@senders
def test_a_message_depends_on_its_number_alone(sender: str, writer: Writer) -> None:
    assert message(sender, writer, 7)[1] == message(sender, writer, 7)[1]
