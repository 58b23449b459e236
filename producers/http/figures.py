"""What a server counts, and its metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from headrace.producers.http.door import Door

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Figures:
    """Counts of one server.

    Attributes:
        requests: (pipeline, status) -> requests answered.
        events: (pipeline, outcome) -> events: sent, repeated or refused.
        octets: pipeline -> bytes of bodies.
        under_way: requests under way.
    """

    def __init__(self, doors: Mapping[str, Door]) -> None:
        self._doors = doors
        self.requests: Counter[tuple[str, int]] = Counter()
        self.events: Counter[tuple[str, str]] = Counter()
        self.octets: Counter[str] = Counter()
        self.under_way = 0
        self._seconds = 0.0
        self._buckets = [0] * (len(BOUNDS_S) + 1)

    def answered(self, pipeline: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self.requests[pipeline, status] += 1
        self._seconds += seconds
        self._buckets[bisect_left(BOUNDS_S, seconds)] += 1

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus_client at each scrape."""
        requests = CounterMetricFamily(
            "headrace_http_requests", "Requests answered, by status.", labels=["pipeline", "status"]
        )
        for (pipeline, status), n in self.requests.items():
            requests.add_metric([pipeline, str(status)], n)
        events = CounterMetricFamily(
            "headrace_http_events", "Events that came, by outcome.", labels=["pipeline", "outcome"]
        )
        for labels, n in self.events.items():
            events.add_metric(list(labels), n)
        octets = CounterMetricFamily("headrace_http_body_bytes", "Bytes of bodies.", labels=["pipeline"])
        for pipeline, n in self.octets.items():
            octets.add_metric([pipeline], n)
        yield from (requests, events, octets)
        under_way = GaugeMetricFamily(
            "headrace_http_requests_under_way", "Requests not answered yet.", value=self.under_way
        )
        yield under_way
        seconds = HistogramMetricFamily("headrace_http_request_seconds", "Time from a request's head to its answer.")
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        counts = accumulate(self._buckets)
        seconds.add_metric([], [(b, float(n)) for b, n in zip(bounds, counts, strict=True)], self._seconds)
        yield seconds
        yield from self._of_doors()

    def _of_doors(self) -> Iterable[Metric]:
        gauges: dict[str, tuple[str, Callable[[Door], float]]] = {
            "waiting": ("Records that Kafka does not have yet.", lambda door: door.waiting),
            "remembered_ids": ("Ids whose repeats are recognised.", lambda door: len(door.ids)),
            "away_seconds": ("Seconds for which Kafka has taken nothing of what waits; 0: it takes.", Door.away_s),
        }
        for name, (doc, value) in gauges.items():
            family = GaugeMetricFamily(f"headrace_http_{name}", doc, labels=["pipeline"])
            for pipeline, door in self._doors.items():
                family.add_metric([pipeline], value(door))
            yield family
        delivered = CounterMetricFamily("headrace_http_delivered", "Records that Kafka has taken.", labels=["pipeline"])
        for pipeline, door in self._doors.items():
            delivered.add_metric([pipeline], door.delivered)
        yield delivered
