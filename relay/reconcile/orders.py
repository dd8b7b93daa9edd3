"""Order ids as an operator hands them in: one a line."""

import unicodedata
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import Final

from relay.errors import RelayError

LONGEST: Final = 255

# What an editor leaves around an id. Other blanks are part of it: they can stand in order ids.
_AROUND: Final = b" \t\r"


class BadOrders(RelayError):
    """The list cannot be meant as it stands; nothing was asked.

    problems: the number of each line that is wrong, from 1, and what is wrong with it.
    """

    def __init__(self, *problems: tuple[int, str]) -> None:
        super().__init__("\n".join(f"line {number}: {message}" for number, message in problems))
        self.problems = problems


def read(content: bytes) -> tuple[str, ...]:
    """Return the order or transaction ids, each once, in the order given.

    Blanks and tabs around an id do not count, and empty lines are passed over. There are no
    comments: an order id may begin with a number sign. Any character may stand in one but control
    characters: no id holds those, and a table with several columns does.

    Raises:
        BadOrders: with every line that is wrong.
    """
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise BadOrders((1, "the list is UTF-16; save it as UTF-8"))
    found: dict[str, None] = {}
    wrong = []
    for number, line in enumerate(content.removeprefix(BOM_UTF8).split(b"\n"), 1):
        try:
            order = line.strip(_AROUND).decode()
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            wrong.append((number, f"not UTF-8: it holds byte 0x{byte:02x}; save it as UTF-8"))
            continue
        problem = _problem(order)
        if problem is not None:
            wrong.append((number, problem))
        elif order:
            found[order] = None
    if wrong:
        raise BadOrders(*wrong)
    return tuple(found)


def _problem(order: str) -> str | None:
    if len(order) > LONGEST:
        return f"longer than {LONGEST} characters; write one id a line"
    for at, character in enumerate(order, 1):
        if unicodedata.category(character) == "Cc":
            return (
                f"character {at} is the control character U+{ord(character):04X};"
                " write one id a line and nothing else"
            )
    return None
