"""The demo from beginning to end: a stack, the processors, two months and a first model, then the rest of the year."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headrace.config import Settings
from headrace.embedded import control
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.examples.flights.data import flight_events, month_starts
from headrace.examples.flights.demo import report, screen
from headrace.examples.flights.demo.account import Account, dead_by_code, draw_up
from headrace.examples.flights.demo.damage import BAD_ROWS, damaged_events
from headrace.examples.flights.demo.feed import Feed
from headrace.examples.flights.demo.monthly import by_month
from headrace.examples.flights.demo.processes import MemoryWatch, Processors
from headrace.examples.flights.demo.settle import read_through, wait_until
from headrace.examples.flights.demo.watch import ControlWatch, Event
from headrace.examples.flights.pipeline import flights
from headrace.governance.decisions import order_approval, order_training, shown_evidence
from headrace.kafka.cluster import KafkaLog
from headrace.producers.files import push_file
from headrace.query.models import model_view
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

APPROVER = "demo operator"
DAMAGE_AT = datetime(2013, 2, 15, 17, tzinfo=UTC)
REFERENCE = "headrace.examples.flights.pipeline:flights"


class Demo:
    """One run of the demo.

    Args:
        settings: where the stack's state folder is.
        months: how many months of the year.
        out: folder of the report.
    """

    def __init__(self, settings: Settings, months: int, out: Path) -> None:
        self._settings = settings
        self._months = months
        self._out = out
        self._console = Console(soft_wrap=not Console().is_terminal)
        self._began = time.monotonic()
        self._planted: Counter[str] = Counter()
        self._first_model = ""

    def run(self) -> bool:
        """Everything, and the report; True where the account balances."""
        control.down(self._settings.state)
        self._say("starting a real Kafka and a schema registry")
        with (
            ThreadPoolExecutor(1) as beside,
            Stack(self._settings.state, fresh=True, layout=Layout(quick=True)) as stack,
        ):
            events = beside.submit(flight_events, self._months)
            self._say(f"Kafka at {stack.bootstrap}, registry at {stack.registry_url}")
            here = self._settings.model_copy(update={"bootstrap": stack.bootstrap, "registry_url": stack.registry_url})
            self._log = KafkaLog(here, "headrace-demo")
            self._topics = PipelineTopics(flights, self._log, ConfluentRegistry(here))
            created = self._topics.init()
            self._say(f"{len(created)} topics created, schemas registered; starting the processors")
            processors = Processors(stack, REFERENCE, stack.state / "logs")
            memory = MemoryWatch({**_servers(stack), "demo": os.getpid(), **processors.pids})
            self._processors, self._stack = processors, stack
            try:
                self._year(events.result())
                account = draw_up(self._topics)
            finally:
                memory.stop()
                processors.stop()
            return self._finish(account, memory)

    def _year(self, events: pl.DataFrame) -> None:
        """Push the events, train the first model on January and February, and follow what happens."""
        march = [*month_starts(events), events["at"][-1] + timedelta(seconds=1)][2]
        self._watch = ControlWatch(self._topics)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as bar:
            task = bar.add_task("events pushed", total=events.height, rate="")
            began = time.monotonic()

            def progress(n: int) -> None:
                bar.advance(task, n)
                clock = f"{feed.clock:%d %b}" if feed.clock else ""
                bar.update(task, rate=f"{feed.sent / (time.monotonic() - began):,.0f}/s, it is {clock}")

            feed = Feed(self._topics, events)
            self._say("pushing January and February")
            feed.all_before(DAMAGE_AT, progress)
            self._plant(events.head(feed.sent))
            feed.all_before(march, progress)
            self._say(f"{feed.sent:,} events in; waiting for features, labels and examples")
            self._settled(("preprocess", ("raw",)), ("join", ("features", "labels")))
            order_training(self._topics, APPROVER, "the first model, on January and February")
            wait_until(lambda: bool(self._watch.state.activations), "the first activation", 90, self._turn)
            if not feed.done:
                self._say("the first model rules; the rest of the year follows, as a time lapse")
                feed.lapse(self._watch.making, self._turn, progress)
            self._say("all events are in; waiting until everything is scored, joined and counted")
            wait_until(lambda: not self._watch.making(), "the last model", 90, self._turn)
            self._settled(("preprocess", ("raw",)), ("infer", ("features",)))
            self._settled(("join", ("features", "labels", "predictions")))
        self._watch.close()

    def _turn(self) -> None:
        """Between slices: say what happened, play the person who approves, see that all processors live."""
        for event in self._watch.poll():
            self._tell(event)
        for model in self._watch.waiting():
            if not self._first_model:
                self._first_model = model
            shadows = [] if model == self._first_model else [self._first_model]
            shown = shown_evidence(self._topics, model)
            order_approval(self._topics, model, APPROVER, evidence=shown.hash, shadows=shadows, note="gates passed")
            for event in self._watch.poll(0.2):
                self._tell(event)
        self._processors.check()
        self._stack.check()

    def _settled(self, *stages: tuple[str, tuple[str, ...]]) -> None:
        for stage, inputs in stages:
            wait_until(
                lambda s=stage, i=inputs: read_through(self._topics, self._log, s, i),  # type: ignore[misc]
                f"{stage} reading through {', '.join(inputs)}",
                120,
                self._turn,
            )

    def _plant(self, events: pl.DataFrame) -> None:
        """Slip in damaged events, and a file with rows that do not fit."""
        damaged = damaged_events(self._topics, events)
        sender = self._log.sender("demo-damage")
        sender.send(self._topics.topic("raw"), [d.key for d in damaged], [d.value for d in damaged])
        sender.flush()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bad_rows.csv"
            path.write_text(BAD_ROWS)
            refused = push_file(self._topics, path).bad
        self._planted = Counter(d.code for d in damaged)
        self._planted["bad_row"] += refused
        self._say(f"{self._planted.total()} damaged events slipped in")

    def _finish(self, account: Account, memory: MemoryWatch) -> bool:
        damage_ok = dead_by_code(account.dead) == self._planted
        figures: dict[str, Any] = {
            "events": account.lines[0].records_in,
            "features": account.lines[1].records_in,
            "predictions": account.tables["predictions"].height,
            "dead_letters": len(account.dead),
            "models": [self._model(m) for m in self._watch.models],
            "monthly": by_month(account.tables["outcomes"], self._first_model),
            "account_ok": account.ok,
            "damage_ok": damage_ok,
            "account": [
                {"input": x.what, "records": x.records_in, "became": x.outcomes, "ok": x.ok} for x in account.lines
            ],
            "memory": memory.peaks,
            "cpu_s": {name: round(used, 1) for name, used in memory.cpu.items()},
            "memory_together": memory.peak_together,
            "state": str(self._settings.state),
            "html": str(self._out / "report.html"),
        }
        figures["wall_s"] = round(time.monotonic() - self._began, 1)
        report.write(figures, account, self._out)
        screen.final(self._console, figures, account)
        return account.ok and damage_ok

    def _model(self, model_id: str) -> dict[str, Any]:
        manifest = self._watch.models[model_id].manifest
        row = model_view(manifest, self._watch.state).plain()
        trigger = self._watch.triggers[manifest.lineage.trigger_id]
        activated = [a for a in self._watch.state.activations.values() if a.policy.champion == model_id]
        markers = {m.partition: m.offset for a in activated[:1] for m in a.markers}
        return {**row, "detail": trigger.detail, "markers": markers}

    def _tell(self, event: Event) -> None:
        self._say(screen.line(event))

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._began:6.1f} s[/]  {text}", highlight=False)


def _servers(stack: Stack) -> dict[str, int]:
    """Process ids of the stack's servers."""
    described = stack.describe()
    return {
        name: int(d["pid"]) for name, d in (("kafka", described["kafka"]), ("registry", described["registry"])) if d
    }
