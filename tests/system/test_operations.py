"""Upgrade, rollback, backup, restore and moving, typed as they stand in deploy/README.md."""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from relay import __version__
from relay.spool.sqlite import database
from tests.harness.clock import wait_until
from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.node import install, listening
from tests.harness.ports import free_port
from tests.harness.spool_audit import Row, audit_running
from tests.harness.upstream import Upstream, answer
from tests.harness.wire import exchange
from tests.repository import pages

OLD, NEW = "relay-0.1.0", "relay-0.2.0"


class Machine:
    """A machine with relay as a service, whose files lie below `root`; see `systemctl`."""

    def __init__(self, root: Path, upstream: str) -> None:
        self.root = root
        for each in ("opt", "bin", "etc/relay", "etc/systemd/system", "var/backups"):
            (root / each).mkdir(parents=True)
        shutil.copy(pages.ROOT / "deploy/relay.service", root / "etc/systemd/system")
        text = configuration(upstream).replace("path: relay.db", f"path: {self.spool}")
        (root / "etc/relay/relay.yaml").write_text(text)
        install(root / "bin/systemctl", pages.ROOT, "tests.harness.systemctl", str(root))

    @property
    def spool(self) -> Path:
        return self.root / "var/lib/relay/relay.db"

    def install(self, name: str, tree: Path) -> None:
        """Install the relay in this tree as /opt/NAME."""
        (self.root / "opt" / name / "bin").mkdir(parents=True)
        install(self.root / "opt" / name / "bin/relay", tree, "relay")

    async def enter(self, script: str, *, fails: bool = False) -> str:
        """Type this as root's shell on that machine; return what was printed."""
        # This project may lie in /opt itself.
        there = rf"(?<![\w.])(?!{re.escape(str(pages.ROOT))}/?)/(opt|etc|var)/"
        here = re.sub(there, rf"{self.root}/\1/", script)
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-euc", here),
            cwd=self.root,
            env={**os.environ, **ENVIRON, "PATH": f"{self.root}/bin:{os.environ['PATH']}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await shell.communicate()
        assert bool(shell.returncode) == fails, said.decode()
        return said.decode()

    async def version(self) -> str:
        return (await self.enter("/opt/relay/bin/relay --version")).strip()

    def kill(self) -> None:
        """Kill the relay, if one runs."""
        pid = self.root / "pid"
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)
            pid.unlink()

    async def order(self, number: int) -> bool:
        """Send an order as its provider does; return whether it was acknowledged."""
        address = await listening(self.root / "log")
        raw = midtrans_request(midtrans_body(order_id=f"order-{number}"))
        try:
            return (await exchange(address, raw)).status == 200
        except (OSError, asyncio.IncompleteReadError):
            return False

    def stored(self) -> dict[int, Row]:
        """Return the events of the spool by the number of their order."""
        return {number_of(row.body): row for row in audit_running(self.spool).rows}


def number_of(body: bytes) -> int:
    return int(orjson.loads(body)["order_id"].removeprefix("order-"))


def delivered(upstream: Upstream) -> dict[int, set[str]]:
    """Return under which ids each order has come."""
    found: dict[int, set[str]] = {}
    for each in upstream.received:
        found.setdefault(number_of(each.body), set()).update(each.values("webhook-id"))
    return found


def script(heading: str) -> str:
    """Return all that is to be typed in this section of deploy/README.md."""
    blocks = pages.steps("deploy/README.md", heading)
    assert {block.language for block in blocks} == {"sh"}
    return "".join(block.text for block in blocks)


@pytest.fixture
def machine(tmp_path: Path, upstream: Upstream) -> Iterator[Machine]:
    made = Machine(tmp_path / "machine", upstream.url)
    made.install(OLD, pages.ROOT)
    (made.root / "opt/relay").symlink_to(made.root / "opt" / OLD)
    made.spool.parent.mkdir(parents=True)
    yield made
    made.kill()


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """Give the tree of a version to come, which has migrated the tables once more."""
    tree = tmp_path / "newer"
    shutil.copytree(pages.ROOT / "relay", tree / "relay", ignore=shutil.ignore_patterns("*.pyc"))
    front = tree / "relay/__init__.py"
    front.write_text(re.sub(r'__version__ = ".*"', '__version__ = "0.2.0"', front.read_text()))
    number = database.newest_of(database.scripts()) + 1
    schema = tree / "relay/spool/sqlite/schema" / f"{number:04}_later.sql"
    schema.write_text("CREATE TABLE of_a_later_version (one INTEGER) STRICT;\n")
    return tree


# ---- backup and restore ---------------------------------------------------------------------


@pytest.mark.proof
@pytest.mark.timeout(120)
async def test_a_restore_loses_nothing_from_before_the_backup(
    machine: Machine, upstream: Upstream
) -> None:
    await machine.enter("systemctl start relay")
    for number in range(20):
        assert await machine.order(number)
    await upstream.has_received(20)
    assert await wait_until(
        lambda: {row.status for row in machine.stored().values()} == {"delivered"}, 20
    )
    # From now on nothing goes out, so that what is stored waits; and orders keep coming.
    upstream.behave(answer(503))
    acknowledged: list[int] = []
    over = asyncio.Event()

    async def customers(lane: int) -> None:
        number = 1000 * lane
        while not over.is_set():
            if await machine.order(number):
                acknowledged.append(number)
            number += 1

    async with asyncio.TaskGroup() as group:
        for lane in range(1, 9):
            group.create_task(customers(lane))
        assert await wait_until(lambda: len(acknowledged) >= 100, 20)
        before = set(acknowledged)
        await machine.enter(script("## Backup"))
        during = set(acknowledged) - before
        assert await wait_until(lambda: len(acknowledged) >= 100 + len(before | during), 20)
        over.set()
    assert during, "nothing came while the copy was made: this has proven little"

    # Some of it is still delivered; then the machine and the spool are damaged.
    upstream.received.clear()
    upstream.behave(*[answer(200)] * 50, answer(503))
    assert await wait_until(lambda: len(upstream.received) > 60, 20)
    once = {number_of(each.body) for each in upstream.received[:50]}
    machine.kill()
    machine.spool.write_bytes(b"no spool any more")
    # What was under way is read before anything is counted anew.
    await upstream.is_left_alone()
    upstream.behave(answer(200))
    ids = {number: set(found) for number, found in delivered(upstream).items()}
    upstream.received.clear()

    await machine.enter(script("## Restore"))
    stored = machine.stored()
    assert before - set(stored) == set(), "acknowledged before the backup, and lost"
    assert await wait_until(
        lambda: {row.status for row in machine.stored().values()} == {"delivered"}, 30
    )
    again = delivered(upstream)
    assert set(again) == set(stored) - set(range(20)), "all that waited, and nothing else"
    assert again.keys() >= once & set(stored), "delivered since the backup: it comes again"
    assert [number for number in again if len(again[number] | ids.get(number, set())) > 1] == []
    # What came after the backup is taken for new.
    late = max(set(acknowledged) - set(stored))
    assert await machine.order(late)
    assert (machine.spool.parent / "aside/relay.db").read_bytes() == b"no spool any more"
    await machine.enter("systemctl stop relay")


# ---- upgrade and rollback -------------------------------------------------------------------


@pytest.mark.proof
@pytest.mark.timeout(120)
async def test_an_upgrade_and_the_way_back(
    machine: Machine, newer: Path, upstream: Upstream
) -> None:
    upstream.behave(answer(503))
    machine.install(NEW, newer)
    await machine.enter("systemctl start relay")
    assert await machine.order(1)
    before = await machine.version()
    await machine.enter(script("## Upgrade"))
    assert await machine.version() == "relay 0.2.0"
    assert await machine.order(2)
    assert set(machine.stored()) == {1, 2}

    # The schema is a newer one: the version before refuses the spool, and says what to do.
    told = await machine.enter(script("## Rollback"), fails=True)
    assert "this spool was written by a newer relay" in told
    restore = script("## Restore").replace("relay.db /", "relay-before-0.2.0.db /", 1)
    assert "/var/backups/relay-before-0.2.0.db" in restore
    await machine.enter(restore)
    assert await machine.version() == before
    assert set(machine.stored()) == {1}
    upstream.behave(answer(200))
    assert await wait_until(lambda: machine.stored()[1].status == "delivered", 20)
    # What came in between lies aside, where the newer version can read it.
    aside = machine.root / "etc/relay/aside.yaml"
    text = (machine.root / "etc/relay/relay.yaml").read_text()
    aside.write_text(text.replace(str(machine.spool), f"{machine.spool.parent}/aside/relay.db"))
    exported = await machine.enter(f"/opt/{NEW}/bin/relay events export -c /etc/relay/aside.yaml")
    assert len(exported.splitlines()) == 2
    await machine.enter("systemctl stop relay")


# ---- installation ---------------------------------------------------------------------------


@pytest.mark.pypi
@pytest.mark.proof
@pytest.mark.timeout(300)
async def test_what_is_installed_serves(tmp_path: Path, upstream: Upstream) -> None:
    machine = Machine(tmp_path / "machine", upstream.url)
    config = machine.root / "etc/relay/relay.yaml"
    ours = config.read_text()
    machine.spool.parent.mkdir(parents=True)
    [block] = [
        each
        for each in pages.steps("deploy/README.md", "## Install it as a service")
        if "venv" in each.text
    ]
    try:
        await machine.enter(f"cd {pages.ROOT}\n{block.text}")
    except AssertionError as error:
        if "Could not find a version" in str(error) or "Connection" in str(error):
            pytest.skip(f"NOT INSTALLED: {str(error)[-300:]}")
        raise
    assert config.read_text() == (pages.ROOT / "config/relay.minimal.yaml").read_text()
    assert (machine.root / "etc/relay/relay.env").stat().st_mode & 0o777 == 0o600
    config.write_text(ours)
    await machine.enter("systemctl enable --now relay")
    try:
        assert await machine.version() == f"relay {__version__}"
        assert await machine.order(1)
        await upstream.has_received(1)
        await machine.enter("systemctl stop relay")
    finally:
        machine.kill()


# ---- reload ---------------------------------------------------------------------------------


async def test_a_reload_says_what_is_wrong(machine: Machine) -> None:
    config = machine.root / "etc/relay/relay.yaml"
    text = config.read_text().replace(
        'admin: {bind: "127.0.0.1:0"', f'admin: {{bind: "127.0.0.1:{free_port()}"'
    )
    config.write_text(text)
    await machine.enter("systemctl start relay")
    config.write_text(text.replace("path: /midtrans/notification", "path: /elsewhere"))
    assert "in force" in await machine.enter("systemctl reload relay")
    assert not await machine.order(1)
    config.write_text(text + "nonsense: 1\n")
    told = await machine.enter("systemctl reload relay", fails=True)
    assert f"{config}:" in told
    assert 'unknown key "nonsense"' in told
    assert "reload failed with 2" in told
    config.write_text(text)
    await machine.enter("systemctl reload relay")
    assert await machine.order(1)
    await machine.enter("systemctl stop relay")


# ---- another machine ------------------------------------------------------------------------


@pytest.mark.timeout(120)
async def test_a_move_loses_nothing_and_delivers_nothing_twice(
    machine: Machine, tmp_path: Path, upstream: Upstream
) -> None:
    await machine.enter("systemctl start relay")
    assert await machine.order(1)
    await upstream.has_received(1)
    assert await wait_until(lambda: machine.stored()[1].status == "delivered", 20)
    upstream.behave(answer(503))
    assert await machine.order(2)
    leave, arrive = pages.steps("deploy/README.md", "## Move to another machine")
    await machine.enter(leave.text)
    assert not await machine.order(3)

    other = Machine(tmp_path / "other", upstream.url)
    other.install("relay", pages.ROOT)
    shutil.copytree(machine.root / "var/backups", other.root / "var/backups", dirs_exist_ok=True)
    upstream.received.clear()
    upstream.behave(answer(200))
    try:
        await other.enter(arrive.text)
        assert await wait_until(lambda: other.stored()[2].status == "delivered", 20)
        assert set(delivered(upstream)) == {2}
        assert len(upstream.received) == 1
        # It knows what the old one had delivered: a copy is a duplicate.
        assert await other.order(3)
        await other.enter("systemctl stop relay")
    finally:
        other.kill()
