"""A processor as a service: /health and /metrics over HTTP, structured log lines, a clean end on SIGTERM."""

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
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from pythonjsonlogger.json import JsonFormatter

from headrace.log.loop import ExactlyOnceLoop, LoopStatus

log = logging.getLogger("headrace.service")

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
    """The loop's status as metrics."""

    def __init__(self, status: LoopStatus, labels: dict[str, str]) -> None:
        self._status = status
        self._labels = labels

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus_client at each scrape."""
        s = self._status
        names, values = list(self._labels), list(self._labels.values())
        for name, doc, counts in (
            ("headrace_records_in", "Records processed, by topic.", dict(s.records_in)),
            ("headrace_records_out", "Records written, by topic.", dict(s.records_out)),
        ):
            family = CounterMetricFamily(name, doc, labels=[*names, "topic"])
            for topic, n in counts.items():
                family.add_metric([*values, topic], n)
            yield family
        for name, doc, n in (
            ("headrace_commits", "Transactions committed.", s.commits),
            ("headrace_aborts", "Transactions given up.", s.aborts),
            ("headrace_failures", "Records on which the processor's own code failed.", s.failures),
        ):
            family = CounterMetricFamily(name, doc, labels=names)
            family.add_metric(values, n)
            yield family
        gauge = GaugeMetricFamily("headrace_ready", "1 when partitions are assigned and flowing.", labels=names)
        gauge.add_metric(values, float(s.ready and not s.paused))
        yield gauge
        positions = GaugeMetricFamily(
            "headrace_position", "Offset to be read next.", labels=[*names, "topic", "partition"]
        )
        for tp, at in dict(s.positions).items():
            positions.add_metric([*values, tp.topic, str(tp.partition)], at)
        yield positions


def health(status: LoopStatus) -> dict[str, str]:
    """What /health says: ``ready``, ``starting``, or ``paused`` and why."""
    if status.paused:
        return {"status": "paused", "why": status.paused}
    return {"status": "ready" if status.ready else "starting", "why": ""}


def serve_status(status: LoopStatus, labels: dict[str, str], host: str, port: int) -> ThreadingHTTPServer:
    """Serve /health (200 when ready, else 503) and /metrics (OpenMetrics) in a thread. Port 0: any free one."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(status, labels))

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))  # type: ignore[no-untyped-call]
            elif self.path == "/health":
                said = health(status)
                self._answer(
                    200 if said["status"] == "ready" else 503, "application/json", json.dumps(said | labels).encode()
                )
            else:
                self._answer(404, "text/plain", b"there is /health and /metrics\n")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((host, port), Endpoint)
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
    return server


def run_service(loop: ExactlyOnceLoop, labels: dict[str, str], host: str, port: int) -> None:
    """Run a loop until SIGTERM or Ctrl-C, with its status served beside it."""

    def stop(signum: int, frame: FrameType | None) -> None:
        loop.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if hasattr(faulthandler, "register"):  # kill -USR1: where every thread stands, on standard error
        faulthandler.register(signal.SIGUSR1)
    server = serve_status(loop.status, labels, host, port)
    log.info("serving /health and /metrics on http://%s:%d", *server.server_address[:2])
    # Imports leave half a million objects that never go: keep the collector from walking them again and again.
    gc.collect()
    gc.freeze()
    # A message read is an object the collector tracks, and goes by itself.
    gc.set_threshold(YOUNG)
    try:
        loop.run()
    finally:
        server.shutdown()
    log.info("stopped cleanly")
