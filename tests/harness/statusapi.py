"""A stand-in for Midtrans' status API: it tells of the transactions it was given, or misbehaves."""

import hashlib
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.harness.upstream import Behaviour, Received, Upstream, answer

KEY = "SB-Mid-server-TOq1a2AVuiyhhOjvfs3U_KeO"

#: As a gateway once answered, with HTTP 200.
NOT_FOUND = {
    "status_code": "404",
    "status_message": "Transaction doesn't exist.",
    "id": "e12f60bc-fbc7-4fa7-a457-5d822ac61cd5",
}


def signed(message: Mapping[str, str], key: str = KEY) -> dict[str, str]:
    """Return a message with the signature that its fields should have."""
    covered = message["order_id"] + message["status_code"] + message["gross_amount"] + key
    return {**message, "signature_key": hashlib.sha512(covered.encode()).hexdigest()}


def status_of(notification: bytes, **changes: str) -> dict[str, str]:
    """Return what the API says of a notified transaction; `changes` is what it says otherwise."""
    said = json.loads(notification)
    said["status_message"] = "Success, transaction is found"
    found = signed(said | changes)
    return found | {name: changes[name] for name in ("signature_key",) if name in changes}


def says(message: object, status: int = 200) -> Behaviour:
    """Answer with this, as JSON."""
    return answer(status, (("Content-Type", "application/json"),), json.dumps(message).encode())


class StatusApi:
    """A status API on loopback. It knows nothing at first; `behave` overrides what it knows."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.server = Upstream(*(behaviours or (says(NOT_FOUND),)))

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.server.__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def asked(self) -> list[Received]:
        return self.server.received

    def behave(self, *behaviours: Behaviour) -> None:
        """Answer so from the next question on; the last one stays."""
        self.server.behave(*behaviours)
