"""The counters and histograms of relay, and all its metrics as they are exposed.

Label values come from the configuration or from a closed list, never from a request.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from relay import __version__
from relay.core.errors import Reason
from relay.core.request import Verdict
from relay.telemetry.gauges import Gauges, Snapshot

# ---- types ----------------------------------------------------------------------------------
# Those of the client library take a lock and validate at every increment. Here one thread alone
# increments, in plain dictionaries; a scrape, which may run in another thread, makes the library's
# families of them.

#: Label values of one series; their text is shown. The values of one label are all of one type: 0
#: and "0" would be two series.
Labels = tuple[str | int, ...]


class _LabelledMetric(Collector):
    """One metric: its name, its help text and its label names."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name = f"relay_{name}"
        self._text = text
        self._labels = tuple(labels)

    def describe(self) -> Iterator[Metric]:
        return iter(())


class Count:
    """One series of a counter: a number. Its owner adds to it without a call."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class Counter(_LabelledMetric):
    """A counter with labels. series: the counts by labels; one that is looked up exists then."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        super().__init__(name, text, labels)
        self.series: defaultdict[Labels, Count] = defaultdict(Count)

    def init(self, *labels: str | int) -> Count:
        """Return a series; it is initialised to zero unless it exists."""
        return self.series[labels]

    def inc(self, *labels: str | int) -> None:
        """Increment a series by one."""
        self.series[labels].number += 1

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in self.series.copy().items():
            family.add_metric(_shown(labels), count.number)
        yield family


class Timestamp(_LabelledMetric):
    """The time of the last occurrence, with one label. series: the time by its value."""

    def __init__(self, name: str, text: str, label: str) -> None:
        super().__init__(name, text, (label,))
        self.series: dict[str, datetime] = {}

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for label, at in self.series.copy().items():
            family.add_metric([label], at.timestamp())
        yield family


class Level(_LabelledMetric):
    """A number that goes up and down, with one label. series: the number by its value."""

    def __init__(self, name: str, text: str, label: str) -> None:
        super().__init__(name, text, (label,))
        self.series: dict[str, int] = {}

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for label, number in self.series.copy().items():
            family.add_metric([label], number)
        yield family


class Distribution:
    """One series of a histogram: a count for each bucket, and the sum of the values."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0


def add_values(*values: tuple[Distribution | None, float | None]) -> None:
    """Add a value to each of these series; None where there is none."""
    for series, value in values:
        if series is not None and value is not None:
            series.counts[bisect_left(series.bounds, value)] += 1
            series.total += value


class Histogram(_LabelledMetric):
    """A histogram with labels; `bounds` are the upper bounds of its buckets."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        super().__init__(name, text, labels)
        self._bounds = tuple(bounds)
        self._bound_labels = (*map(floatToGoString, bounds), "+Inf")
        self._series: dict[Labels, Distribution] = {}

    def init(self, *labels: str | int) -> Distribution:
        """Return a series; it is initialised without values unless it exists."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = Distribution(self._bounds)
        return series

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for labels, series in self._series.copy().items():
            buckets = zip(self._bound_labels, accumulate(tuple(series.counts)), strict=True)
            family.add_metric(_shown(labels), list(buckets), series.total)
        yield family


def _shown(labels: Iterable[str | int]) -> list[str]:
    return [str(label) for label in labels]


# ---- what is counted ------------------------------------------------------------------------

# In seconds.
_STAGE_BUCKETS = (
    *(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0),
)
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 4.0, 10.0)
_ATTEMPT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DELAY_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0, 86400.0)

CONFIRMATIONS = ("confirmed", "contradicted", "not_yet", "not_found", "limited", "error")

C = TypeVar("C", bound=Collector)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._gauges = self._registered(Gauges())
        self.deliveries = self._counter(
            "deliveries", "Deliveries by what became of them", "endpoint", "provider", "verdict"
        )
        self.refusals = self._counter(
            "refusals", "Deliveries refused, by reason", "endpoint", "reason"
        )
        self.would_refuse = self._counter(
            "would_refuse", "Deliveries an enforcing allowlist would refuse", "endpoint", "reason"
        )
        self.conflicts = self._counter(
            "conflicts", "Deliveries whose event key was known with other content", "endpoint"
        )
        self.repeats = self._counter(
            "repeats", "Deliveries whose signed bytes were known under another key", "endpoint"
        )
        self.revived = self._counter(
            "revived", "Dead or held events that a copy made due again", "endpoint"
        )
        self.unrouted = self._counter(
            "unrouted", "New events whose route leads to no upstream", "endpoint"
        )
        self.secret_used = self._counter(
            "secret_used", "Deliveries by position of the secret that matched", "endpoint", "secret"
        )
        self.request_time = self._histogram(
            "request_duration_seconds", "Time to the answer", _REQUEST_BUCKETS, "endpoint"
        )
        self.last_delivery = self._registered(
            Timestamp(
                "last_delivery_timestamp_seconds",
                "When the last delivery was accepted or recognised as a duplicate",
                "endpoint",
            )
        )
        #: Of a delivery: its body is read, verified, stored; then it queues, is sent, is settled.
        stages = self._histogram(
            "stage_seconds", "Time that deliveries take, by stage", _STAGE_BUCKETS, "stage"
        )
        self.read, self.verify, self.store, self.queue, self.send, self.settle = map(
            stages.init, ("read", "verify", "store", "queue", "send", "settle")
        )
        self.attempts = self._counter("attempts", "Tries upstream", "upstream", "outcome")
        self.attempt_time = self._histogram(
            "attempt_duration_seconds", "Time of one try upstream", _ATTEMPT_BUCKETS, "upstream"
        )
        self.delivery_delay = self._histogram(
            "delivery_delay_seconds", "Time from receipt to delivery", _DELAY_BUCKETS, "upstream"
        )
        self.confirmations = self._counter(
            "confirmations", "Events asked about before delivery, by result", "endpoint", "result"
        )
        self.dead_letters = self._counter(
            "dead_letters", "Events whose attempts are used up", "upstream"
        )
        self.undelivered_removed = self._counter(
            "undelivered_removed", "Bodies of dead and held events that were removed", "endpoint"
        )
        self.undelivered_expiring = self._registered(
            Level(
                "undelivered_expiring",
                "Dead and held events whose body is removed within a day",
                "endpoint",
            )
        )
        self.history_lost = self._counter(
            "history_lost", "Deliveries passed on whose history could not be kept", "endpoint"
        )
        self.dns_lookups = self._counter("dns_lookups", "DNS look-ups by result", "host", "result")
        self.allowlist_changes = self._counter(
            "allowlist_changes", "Addresses added and removed", "host", "change"
        )
        self.allowlist_growth = self._counter(
            "allowlist_growth",
            "Look-ups that made a host's addresses more than half as many again",
            "host",
        )
        self.knocks = self._counter(
            "allowlist_knocks", "Early look-ups caused by a refused address", "endpoint", "result"
        )
        self.unknown_but_signed = self._counter(
            "unknown_but_signed",
            "Deliveries whose signature fits, refused since their address is unknown",
            "endpoint",
        )
        self.connections_evicted = self._counter(
            "connections_evicted", "Idle connections of strangers that gave way to others"
        )
        self.connections_evicted.init()
        self.admin_refused = self._counter(
            "admin_refused", "Requests to the admin listener with a wrong token"
        )
        self.admin_refused.init()
        self.reload_success = Gauge(
            "relay_config_reload_success",
            "0 while the last reload was refused",
            registry=self._registry,
        )
        self.reloaded_at = Gauge(
            "relay_config_reload_timestamp_seconds",
            "When the configuration in force was read",
            registry=self._registry,
        )
        build = Gauge(
            "relay_build_info", "The running version", ("version",), registry=self._registry
        )
        build.labels(__version__).set(1)
        # `process_*`: processor time, memory, file descriptors, start.
        ProcessCollector(registry=self._registry)

    def init_series(self, endpoints: Mapping[str, str], upstreams: Iterable[str]) -> None:
        """Initialise every series to zero, so that the first refusal is seen as an increase.

        endpoints: provider by endpoint name.
        """
        for (endpoint, provider), verdict in product(endpoints.items(), Verdict):
            self.deliveries.init(endpoint, provider, verdict)
        self.deliveries.init("", "", Verdict.REFUSED)
        for endpoint, reason in product((*endpoints, ""), Reason):
            self.refusals.init(endpoint, reason)
        for endpoint in endpoints:
            self.conflicts.init(endpoint)
            self.repeats.init(endpoint)
            self.undelivered_removed.init(endpoint)
            self.undelivered_expiring.series.setdefault(endpoint, 0)
            self.revived.init(endpoint)
            self.unrouted.init(endpoint)
            self.history_lost.init(endpoint)
            self.unknown_but_signed.init(endpoint)
            for result in CONFIRMATIONS:
                self.confirmations.init(endpoint, result)
            self.request_time.init(endpoint)
        for upstream in upstreams:
            for outcome in ("delivered", "rejected", "unreachable"):
                self.attempts.init(upstream, outcome)
            self.dead_letters.init(upstream)

    def exposition(self, snapshot: Snapshot) -> bytes:
        """Return every metric in the Prometheus text format, with these gauges."""
        self._gauges.snapshot = snapshot
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return self._registered(Counter(name, text, labels))

    def _histogram(
        self, name: str, text: str, bounds: tuple[float, ...], *labels: str
    ) -> Histogram:
        return self._registered(Histogram(name, text, labels, bounds))

    def _registered(self, collector: C) -> C:
        self._registry.register(collector)
        return collector
