"""Genuine messages that can be known again, and who was told what about them."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from uuid import UUID

from tests.harness.deliveries import midtrans_body, midtrans_request
from tests.harness.wire import Reply, exchange

NAME = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Message:
    """A notification about a transaction that no other message is about; `name` is its id."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one message. `seconds` is how long the answer took; status 0 is none."""

    message: Message
    status: int
    seconds: float

    @property
    def acknowledged(self) -> bool:
        return 200 <= self.status < 300


def messages(number: int, sizes: Sequence[int] = (0,), seed: int = 1) -> list[Message]:
    """Return so many messages; `sizes` are bytes of ballast in their bodies, in turn."""
    dice = Random(seed)
    made = []
    for turn in range(number):
        name = str(UUID(int=dice.getrandbits(128), version=4))
        ballast = dice.randbytes(sizes[turn % len(sizes)] // 2).hex()
        made.append(Message(name, midtrans_body(transaction_id=name, custom_field1=ballast)))
    return made


async def send(address: tuple[str, int], message: Message) -> Answered:
    """Send one message; a connection that fails is an answer with status 0."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        reply = await exchange(address, midtrans_request(message.body))
    except (OSError, TimeoutError):
        reply = Reply(0, "", b"")
    return Answered(message, reply.status, loop.time() - began)


async def send_all(
    address: tuple[str, int], wanted: Sequence[Message], at_once: int = 4
) -> list[Answered]:
    """Send these messages, some at a time; return what became of each, in any order."""
    left = iter(wanted)
    answers: list[Answered] = []

    async def sender() -> None:
        answers.extend([await send(address, message) for message in left])

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(sender())
    return answers


def some(number: int, seed: int = 1) -> list[Message]:
    """Return messages of the sizes that there are: mostly small, now and then a large one."""
    return messages(number, (0, 600, 0, 3000, 0, 0, 12_000, 0, 0, 40_000), seed)
