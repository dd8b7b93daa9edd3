"""Order ids as an operator hands them in: one a line."""

from typing import Final

from relay.errors import RelayError

LONGEST: Final = 255


class BadOrders(RelayError):
    """The list cannot be meant as it stands; nothing was asked."""


def read(content: bytes) -> tuple[str, ...]:
    """Return the order or transaction ids, each once, in the order given.

    Blanks around an id do not count, and empty lines are passed over. There are no comments: an
    order id may begin with a number sign.

    Raises:
        BadOrders: with every line that is wrong.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = content[: error.start].count(b"\n") + 1
        raise BadOrders(f"line {bad}: not UTF-8; save the list as UTF-8") from None
    found: dict[str, None] = {}
    wrong = []
    for number, line in enumerate(text.split("\n"), 1):
        order = line.strip()
        if len(order) > LONGEST:
            wrong.append(f"line {number}: longer than {LONGEST} characters; write one id a line")
        elif not order.isprintable():
            wrong.append(f"line {number}: holds a control character; write one id a line")
        elif order:
            found[order] = None
    if wrong:
        raise BadOrders("\n".join(wrong))
    return tuple(found)
