"""What flows while things are hurt: clicks at a steady rate, and among them probes that tell when all is well again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import polars as pl
from confluent_kafka import KafkaError, Message

from headrace.client.events import EventProducer
from headrace.errors import HeadraceError, Unavailable
from headrace.kafka.log import Reader, read_all
from headrace.testing.pipelines import BEGIN, USERS, clicks
from tests.integration.platform import Platform

PIECE = 100
"""Clicks pushed at a time."""
POLL_S = 0.2
CROWD = 4
"""Threads that share a producer."""
CROWD_S = 0.02
"""Seconds between two events of a thread."""


class Feeder:
    """Pushes clicks with their results until it is told to finish, and at least so many raw records.

    A piece whose delivery was not confirmed is pushed again: what then is there twice is for the platform to take.
    """

    def __init__(self, platform: Platform, records: int, per_second: float) -> None:
        self._platform = platform
        self._clicks = records // 2
        self._pause = PIECE * 2 / per_second
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._hurry = False
        self._probes: list[str] = []
        self.pushed = 0
        """Clicks pushed so far."""
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._thread.start()

    def probe(self, name: str) -> set[str]:
        """Put a click of every user, and its result, among what is pushed next; gives their ids."""
        self._probes.append(name)
        self._wake.set()
        return {_probe_id(name, user) for user in USERS}

    def finish(self) -> None:
        """Push what is left without waiting; returns when it is on the log."""
        self._hurry = True
        self._wake.set()
        self._thread.join()

    def close(self) -> None:
        self._stop.set()
        self.finish()

    def _run(self) -> None:
        while not self._stop.is_set() and (self.pushed < self._clicks or not self._hurry):
            probes, self._probes = self._probes, []
            at = self.pushed + PIECE
            self._push(pl.concat([clicks(self.pushed, PIECE), *(_probe_rows(name, at) for name in probes)]))
            self.pushed = at
            if not self._hurry:
                self._wake.wait(self._pause)
                self._wake.clear()

    def _push(self, rows: pl.DataFrame) -> None:
        while not self._stop.is_set():
            try:
                self._platform.push(rows)
            except Unavailable:
                continue
            return


class Crowd:
    """Threads that share one :class:`EventProducer` and send clicks of their own as long as things are hurt.

    What a callback says is on the log must be there once; what it says is lost may be there, and then once.
    """

    def __init__(self, platform: Platform, feeder: Feeder) -> None:
        self._platform = platform
        self._feeder = feeder
        self._producer = EventProducer(platform.topics, "crowd", wait=1.0)
        self._stop = threading.Event()
        self._told: set[str] = set()
        self._threads = [threading.Thread(target=self._send, args=(n,), name=f"crowd-{n}") for n in range(CROWD)]
        for thread in self._threads:
            thread.start()

    def finish(self) -> set[str]:
        """Send no more; gives the ids of the events that are on the log, as the callbacks say."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with suppress(Unavailable):  # what was given up has been told to its callback
            self._producer.flush(120)
        return set(self._told)

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with suppress(Unavailable):
            self._producer.close(1)

    def broken(self, told: set[str]) -> list[str]:
        """What is lost or doubled of the events: those dropped from raw since do not count."""
        topics = self._platform.topics
        found: Counter[str] = Counter()
        for chunk in read_all(topics.log, topics.topic("raw"), settled=True):
            ids = topics.codec("raw").decode(chunk.values).strings("click_id").to_list()
            found.update(i.decode() for i in ids if i is not None and i.startswith(b"crowd-"))
        whole = all(first == 0 for first, _ in topics.log.bounds(topics.topic("raw")).values())
        lost = sorted(told - found.keys()) if whole else []
        doubled = sorted(i for i, times in found.items() if times > 1)
        return [f"lost by a shared producer: {i}" for i in lost] + [
            f"doubled by a shared producer: {i}" for i in doubled
        ]

    def _send(self, number: int) -> None:
        sent = 0
        while not self._stop.wait(CROWD_S):
            name = f"crowd-{number}-{sent}"
            when = BEGIN + timedelta(seconds=10 * self._feeder.pushed)
            click = {"kind": "seen", "click_id": name, "user": USERS[sent % len(USERS)], "at": when, "price": 0.5}

            def delivered(error: KafkaError | None, _: Message, name: str = name) -> None:
                if error is None:
                    self._told.add(name)

            try:
                self._producer.send(click, on_delivery=delivered)
            except Unavailable:
                continue
            sent += 1


class Probes:
    """Knows which probes have come through preprocess, infer and join."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._seen: set[str] = set()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._reader = self._opened()
        self._thread = threading.Thread(target=self._follow, name="probes", daemon=True)
        self._thread.start()

    def back(self, ids: set[str]) -> bool:
        """Whether the outcomes of all these probes are there."""
        if self._failure is not None:
            raise self._failure
        return ids <= self._seen

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._reader.close()

    def _opened(self) -> Reader:
        topics = self._platform.topics
        return self._platform.log.reader({topics.tp("outcomes", p): 0 for p in range(topics.pipeline.partitions)})

    def _follow(self) -> None:
        codec = self._platform.topics.codec("outcomes")
        while not self._stop.is_set():
            try:
                for chunk in self._reader.poll(5000, POLL_S):
                    ids = codec.decode(chunk.values).strings("id").to_list()
                    self._seen |= {i.decode() for i in ids if i is not None and i.startswith(b"probe-")}
            except Unavailable:
                time.sleep(POLL_S)
            except HeadraceError as e:
                self._failure = e
                return


def _probe_id(name: str, user: str) -> str:
    return f"probe-{name}-{user}"


def _probe_rows(name: str, at: int) -> pl.DataFrame:
    """A click and its result of every user, at the event time of click ``at``."""
    when = BEGIN + timedelta(seconds=10 * at)
    rows = []
    for user in USERS:
        probe = {"click_id": _probe_id(name, user), "user": user, "price": 0.5, "at": when}
        rows.append({**probe, "kind": "seen", "bought": None})
        rows.append({**probe, "kind": "result", "bought": True})
    schema = clicks(0, 0).schema
    return pl.DataFrame(rows, schema_overrides=schema).select(list(schema))
