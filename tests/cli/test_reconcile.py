"""`relay reconcile`, as an operator calls it, against a stand-in for the status API."""

import asyncio
import json
import os
import signal
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.node import Node
from tests.harness.upstream import NOT_FOUND, StatusApi, Upstream, answer, hang, says, status_of
from tests.harness.wire import exchange


@pytest.fixture
async def api() -> AsyncIterator[StatusApi]:
    async with StatusApi() as running:
        yield running


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, upstream: Upstream, api: StatusApi) -> Path:
    confirm = f'    confirm: {{on_error: deliver, url: "{api.url}", rate: 1000}}\n'
    path = tmp_path / "relay.yaml"
    text = configuration(upstream.url)
    path.write_text(
        text.replace("    environment: sandbox\n", f"    environment: sandbox\n{confirm}")
    )
    return path


async def relay(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", *arguments),
        env=ENVIRON,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate(stdin.encode())
    assert ENVIRON["MIDTRANS_SERVER_KEY"] not in (out + err).decode()
    return process.returncode or 0, out.decode(), err.decode()


async def reconcile(config: Path, listed: str, *more: str) -> tuple[int, dict[str, Any], str]:
    arguments = ("reconcile", "--endpoint", "midtrans", "-c", str(config), "--format", "json")
    code, out, err = await relay(*arguments, *more, stdin=listed)
    return code, json.loads(out), err


def counts(report: dict[str, Any]) -> dict[str, int]:
    names = ("orders", "skipped", "found", "new", "known", "not_found", "errors", "left")
    return {name: report[name] for name in names if report[name]}


async def test_what_never_came_is_delivered_while_the_relay_runs(
    config: Path, upstream: Upstream, api: StatusApi
) -> None:
    came = midtrans_body(order_id="order-came", transaction_status="settlement")
    lost = midtrans_body(order_id="order-lost", transaction_status="settlement")
    async with Node(config, ENVIRON) as node:
        api.behave(says(status_of(came)))
        await exchange(node.public[0], midtrans_request(came))
        await upstream.has_received(1)
        api.behave(says(status_of(came)), says(status_of(lost)), says(NOT_FOUND), says(NOT_FOUND))
        code, report, err = await reconcile(config, "order-came\norder-lost\norder-none\n")
        assert (code, err) == (0, "")
        assert counts(report) == {
            "orders": 3,
            "found": 2,
            "new": 1,
            "known": 1,
            "not_found": 1,
        }
        api.behave(says(status_of(lost)))
        await upstream.has_received(2)
        # The notification comes after all.
        await exchange(node.public[0], midtrans_request(lost))
        await node.wait_for(event="delivery", verdict="duplicate")
        asked = len(api.asked)
        code, report, _ = await reconcile(config, "order-came\norder-lost\norder-none\n")
        assert (code, counts(report)) == (0, {"orders": 3, "skipped": 3})
        assert len(api.asked) == asked
        code, out, _ = await relay(
            *("events", "show", await _event(config), "-c", str(config), "--format", "json")
        )
        assert json.loads(out)["reconciled"] is True
        assert await node.end() == 0
    first, second = upstream.received
    assert first.values("Relay-Reconciled") == []
    assert second.values("Relay-Reconciled") == ["true"]
    assert second.values("Relay-Event-Key")[0].startswith(json.loads(lost)["transaction_id"])
    assert json.loads(second.body)["order_id"] == "order-lost"
    assert len(upstream.received) == 2


async def _event(config: Path) -> str:
    """Return the id of the newest event."""
    _, out, _ = await relay("events", "list", "-c", str(config), "--format", "json")
    newest: str = json.loads(out)["events"][0]["id"]
    return newest


async def _with_a_spool(config: Path) -> None:
    assert (await relay("migrate", "-c", str(config)))[0] == 0


async def test_it_goes_on_where_it_was_cut_short(config: Path, api: StatusApi) -> None:
    await _with_a_spool(config)
    found = [midtrans_body(order_id=f"order-{at}") for at in range(3)]
    api.behave(says(status_of(found[0])), answer(401))
    code, report, err = await reconcile(config, "order-0\norder-1\norder-2\n")
    assert code == 1
    assert counts(report) == {"orders": 3, "found": 1, "new": 1, "left": 2}
    assert err == (
        "relay reconcile: midtrans: the status API takes none of its secrets; 2 orders are left;"
        " run it again with the same list to go on, and what was answered within the last day is"
        " not asked about again\n"
    )
    api.behave(says(status_of(found[1])), says(status_of(found[2])))
    code, report, _ = await reconcile(config, "order-0\norder-1\norder-2\n")
    assert (code, counts(report)) == (0, {"orders": 3, "skipped": 1, "found": 2, "new": 2})
    api.behave(*(says(status_of(each)) for each in found))
    code, report, _ = await reconcile(config, "order-0\norder-1\norder-2\n", "--again")
    assert (code, counts(report)) == (0, {"orders": 3, "found": 3, "known": 3})


async def test_an_error_is_told_and_asked_about_again(config: Path, api: StatusApi) -> None:
    await _with_a_spool(config)
    body = midtrans_body(order_id="order-1")
    api.behave(says(status_of(body, order_id="other", transaction_id="another")))
    code, out, err = await relay(
        *("reconcile", "--endpoint", "midtrans", "-c", str(config)), stdin="order-1\n"
    )
    assert code == 1
    assert out.splitlines()[1].split("\t") == ["midtrans", "1", *("0" * 5), "1", "0"]
    assert err == "order-1: the answer is about another order\n"
    api.behave(says(status_of(body)))
    code, report, _ = await reconcile(config, "order-1\n")
    assert (code, report["new"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--endpoint", "nobody"), 'no endpoint named "nobody"; there are: midtrans, vipps'),
        (("--endpoint", "vipps"), "vipps cannot be asked for a status"),
        (("--endpoint", "midtrans", "/nowhere/orders"), "cannot read /nowhere/orders"),
        (("--endpoint", "midtrans"), "standard input:1: character 2 is the control character"),
    ],
)
async def test_mistakes_in_the_call(config: Path, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = await relay("reconcile", *arguments, "-c", str(config), stdin="a\tb\n")
    assert code == 2
    assert said in " ".join(err.replace("│", " ").split())


async def test_without_a_spool_nothing_is_asked(config: Path, api: StatusApi) -> None:
    code, _, err = await reconcile(config, "order-1\n")
    assert code == 1
    assert "there is no spool" in err
    assert api.asked == []


async def test_a_file_is_read(config: Path, tmp_path: Path, api: StatusApi) -> None:
    await _with_a_spool(config)
    (tmp_path / "orders").write_text("order-1\n")
    code, report, _ = await reconcile(config, "", str(tmp_path / "orders"))
    assert (code, counts(report)) == (0, {"orders": 1, "not_found": 1})


async def test_every_line_that_is_wrong_is_named_and_nothing_is_asked(
    config: Path, tmp_path: Path, api: StatusApi
) -> None:
    await _with_a_spool(config)
    orders = tmp_path / "orders"
    orders.write_bytes(b"order-1\na\tb\n\xff\n" + b"x\ty\n" * 60)
    code, out, err = await relay(
        "reconcile", "--endpoint", "midtrans", "-c", str(config), str(orders)
    )
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert lines[0].startswith(f"{orders}:2: character 2 is the control character U+0009; write")
    assert lines[1] == f"{orders}:3: not UTF-8: it holds byte 0xff; save it as UTF-8"
    assert len(lines) == 52
    assert lines[-2:] == [
        f"{orders}: 12 more lines are wrong",
        "relay reconcile: nothing was asked; mend these lines and run it again",
    ]
    assert api.asked == []


async def test_order_ids_of_any_script_are_asked_for(config: Path, api: StatusApi) -> None:
    await _with_a_spool(config)
    order = "\u3000注文 #1/é\u3000"
    api.behave(says(status_of(midtrans_body(order_id=order))))
    code, report, err = await reconcile(config, f"{order}\n")
    assert (code, report["new"], err) == (0, 1, "")
    assert unquote(api.asked[0].target) == f"/v2/{order}/status"


# ---- Ctrl-C -------------------------------------------------------------------------------------


async def started(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", *arguments),
        env=ENVIRON,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("form", ["json", "text"])
async def test_an_interrupt_tells_what_was_done_and_the_next_run_goes_on(
    config: Path, tmp_path: Path, api: StatusApi, form: str
) -> None:
    await _with_a_spool(config)
    orders = tmp_path / "orders"
    orders.write_text("order-0\norder-1\norder-2\n")
    found = [midtrans_body(order_id=f"order-{at}") for at in range(3)]
    api.behave(says(status_of(found[0])), hang)
    arguments = ("reconcile", "--endpoint", "midtrans", "-c", str(config), str(orders))
    process = await started(*arguments, "--format", form)
    await api.server.has_received(2)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode == 130
    assert err.decode() == (
        "relay reconcile: interrupted; 2 orders are left; run it again with the same list to go"
        " on, and what was answered within the last day is not asked about again\n"
    )
    if form == "json":
        assert counts(json.loads(out)) == {"orders": 3, "found": 1, "new": 1, "left": 2}
    else:
        assert out.decode().splitlines()[1].split("\t") == [
            *("midtrans", "3", "0", "1", "1", "0", "0", "0", "2")
        ]
    api.behave(says(status_of(found[1])), says(status_of(found[2])))
    before = len(api.asked)
    code, report, _ = await reconcile(config, "", str(orders))
    assert (code, counts(report)) == (0, {"orders": 3, "skipped": 1, "found": 2, "new": 2})
    assert [each.target for each in api.asked[before:]] == [
        *("/v2/order-1/status", "/v2/order-2/status")
    ]


async def test_an_interrupt_before_the_list_is_whole_asks_nothing(
    config: Path, tmp_path: Path, api: StatusApi
) -> None:
    await _with_a_spool(config)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = await started("reconcile", "--endpoint", "midtrans", "-c", str(config), str(pipe))
    # Opened from both ends: the list is being read.
    async with asyncio.timeout(30):
        with await asyncio.to_thread(pipe.open, "wb") as writing:
            writing.write(b"order-1\n")
            writing.flush()
            # It may come just before the list is waited for: then the end of the list wakes it.
            process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out) == (130, b"")
    assert err == b"relay reconcile: interrupted; nothing was asked\n"
    assert api.asked == []


# ---- secrets ------------------------------------------------------------------------------------


async def test_the_key_is_sent_to_the_api_and_stands_nowhere_else(
    config: Path, tmp_path: Path, api: StatusApi
) -> None:
    await _with_a_spool(config)
    key = ENVIRON["MIDTRANS_SERVER_KEY"]
    header = b64encode(f"{key}:".encode()).decode()
    body = midtrans_body(order_id="order-0")
    said = f"no access for {key}, Basic {header}"
    api.behave(
        says(status_of(body)),
        says({**NOT_FOUND, "status_message": said}),
        answer(401, [("WWW-Authenticate", f'Basic realm="{header}"')], said.encode()),
    )
    code, report, told = await reconcile(config, "order-0\norder-1\norder-2\n")
    assert (code, counts(report)) == (
        *(1, {"orders": 3, "found": 1, "new": 1, "not_found": 1, "left": 1}),
    )
    assert all(each.values("Authorization") == [f"Basic {header}"] for each in api.asked)
    printed = [*(await relay("events", "list", "-c", str(config)))[1:]]
    printed += (await relay("events", "export", "-c", str(config)))[1:]
    printed += [json.dumps(report), told]
    written = [each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()]
    assert len(written) > 2
    haystack = b"".join(written) + "".join(printed).encode()
    assert b"order-0" in haystack
    for canary in (key.encode(), header.encode(), b64encode(key.encode())):
        assert canary not in haystack
