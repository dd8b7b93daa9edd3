"""Types of metrics: counter, timestamp and histogram with labels, as prometheus_client shows them.

Those of the client library take a lock and validate at every increment. Here one thread alone
increments, in plain dictionaries; a scrape, which may run in another thread, makes the library's
families of them.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

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


class Counter(_LabelledMetric):
    """A counter with labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        super().__init__(name, text, labels)
        self._series: dict[Labels, int] = {}

    def init(self, *labels: str | int) -> None:
        """Initialise a series to zero, unless it exists."""
        self._series.setdefault(labels, 0)

    def inc(self, *labels: str | int) -> None:
        """Increment a series by one."""
        self._series[labels] = self._series.get(labels, 0) + 1

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in self._series.copy().items():
            family.add_metric(_shown(labels), count)
        yield family


class Timestamp(_LabelledMetric):
    """The time of the last occurrence, with labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        super().__init__(name, text, labels)
        self._series: dict[Labels, datetime] = {}

    def set(self, at: datetime, *labels: str | int) -> None:
        """Set the time of a series."""
        self._series[labels] = at

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, at in self._series.copy().items():
            family.add_metric(_shown(labels), at.timestamp())
        yield family


class _Distribution:
    """One series of a histogram: a count for each bucket, and the sum of the values."""

    __slots__ = ("counts", "total")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.total = 0.0


class Histogram(_LabelledMetric):
    """A histogram with labels; `bounds` are the upper bounds of its buckets."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        super().__init__(name, text, labels)
        self._bounds = tuple(bounds)
        self._bound_labels = (*map(floatToGoString, bounds), "+Inf")
        self._series: dict[Labels, _Distribution] = {}

    def init(self, *labels: str | int) -> None:
        """Initialise a series without values, unless it exists."""
        if labels not in self._series:
            self._series[labels] = _Distribution(len(self._bounds))

    def observe(self, value: float, *labels: str | int) -> None:
        """Add one value to a series."""
        if labels not in self._series:
            self.init(*labels)
        series = self._series[labels]
        series.counts[bisect_left(self._bounds, value)] += 1
        series.total += value

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for labels, series in self._series.copy().items():
            buckets = zip(self._bound_labels, accumulate(tuple(series.counts)), strict=True)
            family.add_metric(_shown(labels), list(buckets), series.total)
        yield family


def _shown(labels: Iterable[str | int]) -> list[str]:
    return [str(label) for label in labels]
