"""A processor as a service: its state and metrics over HTTP, structured log lines, a clean end on SIGTERM."""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from pythonjsonlogger.json import JsonFormatter

from headrace.errors import ConfigError
from headrace.kafka.log import TopicPartition
from headrace.worker.health import STALL_S, Watchdog, health, not_ready, stalled
from headrace.worker.loop import ExactlyOnceLoop
from headrace.worker.processor import Figure
from headrace.worker.renewal import Renewal
from headrace.worker.status import Histogram, LoopStatus

log = logging.getLogger("headrace.worker.service")

YOUNG = 50_000
"""New objects before the collector looks at them."""


def worker_name(processor: str) -> str:
    """A name no other live worker has: processor, host and process."""
    return f"{processor}-{socket.gethostname()}-{os.getpid()}"


def log_lines(worker: str) -> None:
    """Send log lines to standard error, one JSON object a line, with the worker's name."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            static_fields={"worker": worker},
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("httpx2", "httpcore2", "elastic_transport"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class StatusCollector:
    """A loop's status and its processor's figures as metrics.

    Args:
        status: of the loop.
        labels: on every metric.
        figures: gives the processor's own.
    """

    def __init__(
        self, status: LoopStatus, labels: dict[str, str], figures: Callable[[], Iterable[Figure]] = lambda: ()
    ) -> None:
        self._status = status
        self._labels = labels
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus_client at each scrape."""
        s = self._status
        yield self._counter("records_in", "Records processed, by topic.", "topic", s.records_in)
        yield self._counter("records_out", "Records written, by topic.", "topic", s.records_out)
        yield self._counter("dead_letters", "Dead letters written, by code.", "code", s.dead)
        yield self._counter("commits", "Transactions committed.", "", {"": s.commits})
        yield self._counter("aborts", "Transactions given up.", "", {"": s.aborts})
        yield self._counter("failures", "Records on which the processor's own code failed.", "", {"": s.failures})
        yield self._gauge("ready", "1 when partitions are assigned and flowing.", float(s.ready and not s.paused))
        yield self._waiting()
        yield self._partitions("position", "Offset to be read next.", s.positions)
        yield self._partitions("lag", "Records still to come; while there are some, with transaction markers.", s.lag())
        yield self._histogram("batch_records", "Records of a batch.", s.batches)
        yield self._histogram("process_seconds", "Time on a batch.", s.process_s)
        yield self._histogram("commit_seconds", "Time of a commit.", s.commit_s)
        yield from self._own()

    def _counter(self, name: str, doc: str, label: str, counts: dict[str, int]) -> Metric:
        family = CounterMetricFamily(f"headrace_{name}", doc, labels=[*self._labels, *([label] if label else [])])
        for value, n in dict(counts).items():
            family.add_metric([*self._labels.values(), *([value] if label else [])], n)
        return family

    def _gauge(self, name: str, doc: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"headrace_{name}", doc, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def _partitions(self, name: str, doc: str, offsets: dict[TopicPartition, int]) -> Metric:
        family = GaugeMetricFamily(f"headrace_{name}", doc, labels=[*self._labels, "topic", "partition"])
        for tp, at in dict(offsets).items():
            family.add_metric([*self._labels.values(), tp.topic, str(tp.partition)], at)
        return family

    def _waiting(self) -> Metric:
        doc = "How long a partition's records have waited for what the processor lacks."
        family = GaugeMetricFamily("headrace_waiting_seconds", doc, labels=[*self._labels, "topic", "partition", "why"])
        for tp, waiting in dict(self._status.waiting).items():
            where = [*self._labels.values(), tp.topic, str(tp.partition), waiting.why]
            family.add_metric(where, time.monotonic() - waiting.since)
        return family

    def _histogram(self, name: str, doc: str, histogram: Histogram) -> Metric:
        family = HistogramMetricFamily(f"headrace_{name}", doc, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), histogram.cumulative(), histogram.total)
        return family

    def _own(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for figure in self._figures():
            made = CounterMetricFamily if figure.counts else GaugeMetricFamily
            family = families.setdefault(
                figure.name, made(f"headrace_{figure.name}", figure.doc, labels=[*self._labels, *figure.labels])
            )
            family.add_metric([*self._labels.values(), *figure.labels.values()], figure.value)
        return families.values()


def serve_status(
    loop: ExactlyOnceLoop, labels: dict[str, str], host: str, port: int, stall_s: float = STALL_S
) -> ThreadingHTTPServer:
    """Serve in a thread, on port 0 on any free one:

    - ``/livez``: 200 while the loop goes round, 503 once it has not for ``stall_s`` seconds;
    - ``/readyz``: 200 while records flow, 503 while none can;
    - ``/health``: 200 when all is well, 503 when not, and what waits for what and since when, as JSON;
    - ``/metrics``: OpenMetrics.

    Raises:
        ConfigError: the port is taken, or there is no such host.
    """
    status, registry = loop.status, CollectorRegistry()
    registry.register(StatusCollector(status, labels, loop.figures))

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))  # type: ignore[no-untyped-call]
            elif self.path == "/health":
                said = health(status)
                well = said["status"] == "ready"
                self._answer(200 if well else 503, "application/json", json.dumps(said | labels).encode())
            elif self.path in ("/livez", "/readyz"):
                fault = stalled(status, stall_s) if self.path == "/livez" else not_ready(status)
                self._answer(503 if fault else 200, "text/plain", f"{fault or 'ok'}\n".encode())
            else:
                self._answer(404, "text/plain", b"there is /livez, /readyz, /health and /metrics\n")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    try:
        server = ThreadingHTTPServer((host, port), Endpoint)
    except OSError as e:
        why = f"port {port} of {host}, for /health and /metrics: {e.strerror or e}; give another --port"
        raise ConfigError(why) from None
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
    return server


def run_service(
    loop: ExactlyOnceLoop, labels: dict[str, str], host: str, port: int, credentials: Iterable[Path] = ()
) -> bool:
    """Run a loop until SIGTERM or Ctrl-C, with its status served beside it.

    Args:
        loop: to run.
        labels: of its metrics.
        host, port: where its status is served.
        credentials: files that its clients have read (certificates, keys): when one changes, the loop ends.

    Returns:
        Whether it ended because a file of ``credentials`` has changed, and is to be made again with new clients.
    """
    renewed = Renewal(credentials, loop.stop)
    asked: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        asked.append(signum)  # nothing here may wait: a signal can come while another is handled
        loop.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if hasattr(faulthandler, "register"):  # kill -USR1: where every thread stands, on standard error
        faulthandler.register(signal.SIGUSR1)
    server = serve_status(loop, labels, host, port)
    log.info("serving /health and /metrics on http://%s:%d", *server.server_address[:2])
    watchdog = Watchdog(loop.status, STALL_S)
    watchdog.start()
    renewed.start()
    # Imports leave half a million objects that never go: keep the collector from walking them again and again.
    gc.collect()
    gc.freeze()
    # A message read is an object the collector tracks, and goes by itself.
    gc.set_threshold(YOUNG)
    try:
        loop.run()
    finally:
        renewed.end()
        watchdog.stop()
        server.shutdown()
        server.server_close()
    log.info("stopped cleanly")
    return renewed.seen and not asked
