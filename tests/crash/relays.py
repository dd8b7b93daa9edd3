"""The relay that proofs are about: one endpoint of Midtrans for each upstream."""

from collections.abc import Iterator, Mapping
from hashlib import sha512
from pathlib import Path
from random import Random

import orjson

from tests.crash.lengths import parts
from tests.harness.deliveries import ENVIRON, MIDTRANS, STRANGER, midtrans_body
from tests.harness.restarts import Messages, Restarts, path_of
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange, request

_HEAD = """
listen: [{bind: "127.0.0.1:0"}]
trusted_proxies: ["127.0.0.1/32"]
admin: {bind: "127.0.0.1:0", token: "${env:RELAY_ADMIN_TOKEN}"}
spool: {path: relay.db}
shutdown_grace: 5s
"""

_UPSTREAM = """
  {name}:
    url: "{url}"
    timeout: {timeout}
    concurrency: {concurrency}
    retry: {{schedule: [{retry}], give_up_after: {give_up_after}}}
    rate: {rate}
"""

_ENDPOINT = """
  - name: {name}
    path: /{name}
    provider: midtrans
    environment: sandbox
    secrets: ["${{env:MIDTRANS_SERVER_KEY}}"]
    upstream: {name}
"""


def lives(
    directory: Path,
    upstreams: Mapping[str, str],
    *,
    timeout: str = "5s",
    concurrency: int = 32,
    retry: str = "50ms",
    give_up_after: str = "72h",
    rate: str = "null",
) -> Restarts:
    """Return relays-to-be with these upstreams (URL by name); `/name` is the endpoint of each."""

    def text(life: int) -> str:
        parts = [_HEAD, "upstreams:"]
        parts += [
            _UPSTREAM.format(
                name=name,
                url=url + path_of(life),
                timeout=timeout,
                concurrency=concurrency,
                retry=retry,
                give_up_after=give_up_after,
                rate=rate,
            )
            for name, url in upstreams.items()
        ]
        parts += ["endpoints:", *(_ENDPOINT.format(name=name) for name in upstreams)]
        return "".join(parts)

    return Restarts(directory, ENVIRON, text)


def on_fresh_spools(
    times: int, on_one: int, tmp_path: Path, upstream: Upstream
) -> Iterator[tuple[int, Restarts]]:
    """Yield so many times in all, at most `on_one` with the same spool, and their relays.

    The upstream has received nothing from the relays of a spool before its turn.
    """
    for number, share in enumerate(parts(times, on_one)):
        directory = tmp_path / str(number)
        directory.mkdir()
        upstream.received.clear()
        yield share, lives(directory, {"billing": upstream.url})


def message(body: bytes, endpoint: str = "billing", client: str = MIDTRANS) -> bytes:
    """Return the request that brings this body through a trusted proxy."""
    headers = [("Content-Type", "application/json"), ("X-Forwarded-For", client)]
    return request("POST", f"/{endpoint}", headers, body)


async def accepted(address: tuple[str, int], body: bytes, endpoint: str = "billing") -> None:
    """Send this body.

    Raises:
        AssertionError: it is not acknowledged.
    """
    reply = await exchange(address, message(body, endpoint))
    assert reply.status == 200, reply


def _forged(dice: Random) -> tuple[bytes, bytes]:
    body = midtrans_body()
    fields = orjson.loads(body)
    match dice.randrange(4):
        case 0:
            return body, message(body, client=STRANGER)
        case 1:
            fields["gross_amount"] = "99999.00"
        case 2:
            signed = fields["order_id"] + fields["status_code"] + fields["gross_amount"] + "guess"
            fields["signature_key"] = sha512(signed.encode()).hexdigest()
        case _:
            del fields["signature_key"]
    body = orjson.dumps(fields)
    return body, message(body)


MESSAGES = Messages(fresh=midtrans_body, forged=_forged, request=message)
