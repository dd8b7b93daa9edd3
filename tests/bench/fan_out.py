"""`python -m tests.bench fan-out`: what several upstreams cost, routes, and keys and TLS to them.

Each lane takes the same messages and sends each to one upstream or to several, or to one in another
way. All of them lead to the same nginx, so that a lane differs from the first in nothing else. Of
each further upstream is said what part it costs of the whole that a delivery to one does.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench import messages
from tests.bench.lanes import Lane
from tests.bench.load import Generator
from tests.bench.machine import description
from tests.bench.node import Onward, write_node
from tests.bench.output import show, show_table
from tests.bench.processes import Program, free_port
from tests.bench.report import Ratio, Results, cpu, p99, rate
from tests.bench.slices import Track
from tests.bench.upstream import Upstream, upstream_program
from tests.harness.wire import self_signed

#: The name in the certificate of the upstream, and the file that it is trusted by.
_NAME: Final = "upstream.internal"
_CA: Final = "ca.pem"

#: What a further upstream may cost of the whole of the first.
FURTHER: Final = 0.6

#: What one upstream may cost beside the relay of another checkout.
AS_BEFORE: Final = 1.03

_ROUTES: Final = (
    "[{when: {json: /payment_type, is: none}, upstreams: []},"
    " {when: {json: /transaction_status, in: [none, never]}, upstreams: []},"
    " {when: {json: /order_id, is: none}, upstreams: []}]"
)
_KEYS: Final = 'headers: {X-Api-Key: "0123456789abcdef"}, auth: {bearer: "0123456789abcdef"}'


@dataclass(frozen=True, slots=True)
class Way:
    """One lane: where its events go. before: the relay of the other checkout."""

    name: str
    title: str
    onward: Onward
    before: bool = False

    @property
    def lane(self) -> Lane:
        """Return it as a run has it."""
        return Lane(self.name, self.title, self.name, True, destinations=len(self.onward.names))


ONE, TWIN, BEFORE = "one", "twin", "before"

WAYS: Final = (
    Way(ONE, "one upstream", Onward()),
    Way(TWIN, "its twin, the control", Onward()),
    Way(BEFORE, "one upstream, relay before", Onward(), before=True),
    Way("two", "two upstreams", Onward(("billing", "ledger"))),
    Way("three", "three upstreams", Onward(("billing", "ledger", "audit"))),
    Way("routes", "one upstream, three routes by JSON", Onward(routes=_ROUTES)),
    Way("keys", "one upstream, a header and a bearer token", Onward(keys=_KEYS)),
    Way("tls", "one upstream, TLS", Onward(tls=True)),
    Way("tls-keys", "one upstream, TLS, a header and a bearer token", Onward(keys=_KEYS, tls=True)),
)


def ways_named(names: Sequence[str], *, against: bool) -> list[Way]:
    """Return these ways and the first, in the order of the table; all when none is named.

    against: there is another checkout to measure, too.

    Raises:
        ValueError: a name is none of a way.
    """
    known = [way for way in WAYS if against or not way.before]
    if unknown := sorted(set(names) - {way.name for way in known}):
        there = ", ".join(way.name for way in known)
        raise ValueError(f"no {', '.join(unknown)}; there are: {there}")
    return [way for way in known if not names or way.name in {ONE, *names}]


@dataclass(frozen=True, slots=True)
class FanOutPlan:
    """What to run. against: the checkout whose relay is the one before."""

    ways: Sequence[Way]
    rounds: int
    seconds: int
    connections: Sequence[int]
    against: Path | None = None


def measure_fan_out(plan: FanOutPlan, directory: Path) -> None:
    """Run everything and print the tables. directory: for spools, on a disk, and empty.

    Raises:
        NotInstalled: wrk or nginx is missing.
    """
    stock = messages.midtrans(directory)
    tls = _tls(directory)
    with ExitStack() as stack:
        receiver = stack.enter_context(upstream_program(directory))
        servers = {
            way.name: stack.enter_context(_relay(way, directory, receiver.port, tls, plan.against))
            for way in plan.ways
        }
        lanes = [way.lane for way in plan.ways]
        generators = {name: Generator(stock, server.port) for name, server in servers.items()}
        track = Track(lanes, servers, generators, Upstream(receiver.port))
        results = Results(track.run(plan.rounds, plan.seconds, plan.connections))
    show(f"{description(directory)}.")
    show(f"{plan.rounds} rounds, slices of {plan.seconds} s.")
    show()
    for connections in plan.connections:
        show_ways(results, lanes, connections)


def _tls(directory: Path) -> int:
    """Write what makes the upstream speak TLS as well, on the port that is returned."""
    self_signed(directory, _NAME)
    port, pem = free_port(), directory / "certificate.pem"
    _, begin, certificate = pem.read_text().partition("-----BEGIN CERTIFICATE-----")
    (directory / _CA).write_text(begin + certificate)
    (directory / "upstream-tls.conf").write_text(
        f"server {{ listen 127.0.0.1:{port} ssl backlog=4096; ssl_certificate {pem};"
        f' ssl_certificate_key {pem}; location / {{ return 200 "OK"; }} }}'
    )
    return port


def _relay(way: Way, directory: Path, upstream: int, tls: int, against: Path | None) -> Program:
    onward = way.onward
    if onward.tls:
        trust = f'tls: {{ca: "{directory / _CA}", server_name: {_NAME}}}'
        keys = ", ".join(filter(None, (onward.keys, trust)))
        onward = Onward(onward.names, keys, onward.routes, tls=True)
    node = write_node(
        way.name,
        directory,
        mode="store",
        upstream=tls if onward.tls else upstream,
        snap_key=None,
        onward=onward,
    )
    if way.before:
        assert against is not None
        # Without -P, Python would take relay from where this runs.
        return node.program(prefix=(against / ".venv/bin/python", "-P"))
    return node.program()


# ---- what is printed ------------------------------------------------------------------------


def show_ways(results: Results, lanes: Sequence[Lane], connections: int) -> None:
    """Print a row for each lane: medians, what it costs of the first, and of each further one."""
    show(f"### {connections} connection{'s' if connections > 1 else ''}")
    head = ["", "events/s", "p99 ms", "CPU us/event", "CPU of one", "each further, of the first"]
    rows = []
    for lane in lanes:
        if not (samples := results.of(lane.name, connections)):
            continue
        whole = results.ratio(lane.name, ONE, connections, cpu)
        further = further_of(results, lane, connections)
        rows.append(
            [
                lane.title,
                f"{median(map(rate, samples)):.0f}",
                f"{median(map(p99, samples)) * 1e3:.2f}",
                f"{median(map(cpu, samples)) * 1e6:.0f}",
                str(whole or "-"),
                "" if further is None else f"{further}: {_verdict(further.median, FURTHER)}",
            ]
        )
    show_table(head, rows)
    show(f"Each further upstream may cost {FURTHER:g} of the first.")
    twin = results.ratio(TWIN, ONE, connections, cpu)
    apart = 0.0 if twin is None else max(abs(twin.most - 1), abs(1 - twin.least))
    if (paired := results.ratio(ONE, BEFORE, connections, cpu)) is not None:
        show(
            f"One upstream costs {paired} of what it did before:"
            f" {_verdict(paired.median, AS_BEFORE, apart)}, at most {AS_BEFORE:g}."
        )
    if twin is not None:
        show(f"Two relays that differ in nothing came out as {twin}.")
    if spoiled := sorted({each.lane for each in results.all(connections) if each.bad}):
        show(f"**Not clean, so worth nothing:** {', '.join(spoiled)}.")
    others = [each.others for each in results.all(connections)]
    show(
        f"Programs that are no part of the run had {median(others):.0%} of the server's core "
        f"in the median slice, and {max(others):.0%} in the worst."
    )
    show()


def further_of(results: Results, lane: Lane, connections: int) -> Ratio | None:
    """Return what each further upstream of a lane costs of the first; None where it has one."""
    further = lane.destinations - 1
    whole = results.ratio(lane.name, ONE, connections, cpu)
    if whole is None or not further:
        return None
    return Ratio(*((each - 1) / further for each in (whole.median, whole.least, whole.most)))


def _verdict(found: float, bound: float, apart: float = 0.0) -> str:
    """Say whether this is met. apart: how far two came out that differ in nothing."""
    noise = ", within the noise" if abs(found / bound - 1) < apart else ""
    return f"{'met' if found <= bound else 'MISSED'}{noise}"
