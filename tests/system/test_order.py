"""Events of one subject go out one after the other, through `relay run` and a real upstream."""

import hashlib
import hmac
import json
from base64 import b64encode
from pathlib import Path

from tests.harness.deliveries import (
    ENVIRON,
    VIPPS,
    VIPPS_PATH,
    configuration,
    midtrans_body,
    midtrans_request,
)
from tests.harness.node import Node
from tests.harness.upstream import Upstream, answer
from tests.harness.wire import exchange, request

DATE = "Thu, 30 Mar 2023 08:38:32 GMT"


def vipps_event(message: dict[str, str]) -> bytes:
    """Return the request of an event of the Webhooks API."""
    body = json.dumps(message).encode()
    content = b64encode(hashlib.sha256(body).digest()).decode()
    signed = f"POST\n{VIPPS_PATH}\n{DATE};webhook.site;{content}".encode()
    mac = hmac.digest(ENVIRON["VIPPS_SECRET"].encode(), signed, "sha256")
    headers = [
        ("Host", "webhook.site"),
        ("x-ms-date", DATE),
        ("x-ms-content-sha256", content),
        (
            "Authorization",
            "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="
            + b64encode(mac).decode(),
        ),
        ("X-Forwarded-For", VIPPS),
    ]
    return request("POST", VIPPS_PATH, headers, body)


def written(directory: Path, upstream: str, schedule: str = "[300ms]") -> Path:
    """Write a configuration whose upstream is served in order."""
    text = configuration(upstream).replace(
        "retry: {schedule: [50ms]}", f"order_by_key: true\n    retry: {{schedule: {schedule}}}"
    )
    path = directory / "relay.yaml"
    path.write_text(text)
    return path


async def test_an_agreement_that_is_stopped_is_not_activated_again(tmp_path: Path) -> None:
    event = {"agreementId": "agr_5kSeqz", "msn": "123456", "occurred": "2026-01-01T10:00:00Z"}
    activated, stopped = (
        {**event, "eventType": f"recurring.agreement-{state}.v1"}
        for state in ("activated", "stopped")
    )
    async with Upstream(answer(500), answer(200)) as upstream:
        async with Node(written(tmp_path, upstream.url), ENVIRON) as node:
            assert (await exchange(node.public[0], vipps_event(activated))).status == 200
            await upstream.has_received(1)
            assert (await exchange(node.public[0], vipps_event(stopped))).status == 200
            await upstream.has_received(3)
        bodies = [json.loads(each.body) for each in upstream.received]
        assert bodies == [activated, activated, stopped]


async def test_a_notice_that_claims_anothers_transaction_does_not_hold_it_up(
    tmp_path: Path,
) -> None:
    settled = midtrans_body(order_id="order-paid", transaction_status="settlement")
    transaction = json.loads(settled)["transaction_id"]
    # Signed for its own order; the transaction id is not signed.
    poison = midtrans_body(order_id="order-mine", transaction_id=transaction)
    async with Upstream(answer(500), answer(200)) as upstream:
        async with Node(written(tmp_path, upstream.url, "[1h]"), ENVIRON) as node:
            assert (await exchange(node.public[0], midtrans_request(poison))).status == 200
            await upstream.has_received(1)
            assert (await exchange(node.public[0], midtrans_request(settled))).status == 200
            await upstream.has_received(2)
        assert [each.body for each in upstream.received] == [poison, settled]


async def test_a_poison_event_holds_its_subject_until_it_is_given_up(tmp_path: Path) -> None:
    poison = midtrans_body(order_id="order-1", transaction_status="pending", status_code="201")
    transaction = json.loads(poison)["transaction_id"]
    later = midtrans_body(
        order_id="order-1", transaction_id=transaction, transaction_status="settlement"
    )
    schedule = "[50ms], give_up_after: 1s"
    async with Upstream(answer(500)) as upstream:
        config = written(tmp_path, upstream.url, schedule)
        async with Node(config, ENVIRON) as node:
            await exchange(node.public[0], midtrans_request(poison))
            await upstream.has_received(1)
            await exchange(node.public[0], midtrans_request(later))
            await node.wait_for(2, event="attempt", decision="dead")
        bodies = [each.body for each in upstream.received]
        first = bodies.index(later)
        assert set(bodies[:first]) == {poison}
        assert set(bodies[first:]) == {later}
