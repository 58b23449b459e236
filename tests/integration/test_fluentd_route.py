"""The route to Fluentd against receivers that are well or out of their minds: what it says is sent is there."""

from __future__ import annotations

import random
import select
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgpack
import orjson
import pytest

from headrace.consumers.forward.fluentd.route import FluentdRoute
from headrace.consumers.forward.route import Refused
from headrace.errors import Unavailable
from tests.conftest import ROOT
from tests.fluent_receiver import FAULTS, Conduct, FluentReceiver, seeded
from tests.integration.fluentd import (
    HYGIENE,
    LONG_S,
    SHORT_S,
    TARGET,
    Scripted,
    documents,
    in_messages,
    refusal,
    route_to,
    settings,
)
from tests.waiting import wait_for

pytestmark = HYGIENE


@pytest.mark.parametrize("compress", [False, True])
def test_every_document_arrives_as_it_was(compress: bool) -> None:
    sent = documents(0, 5_000, filling=500)
    with FluentReceiver() as receiver, route_to(receiver, compress=compress) as route:
        assert route.send(sent) == []
        kept = sorted(receiver.kept, key=lambda entry: entry.nanos)
        assert (receiver.connections, receiver.chunks) == (1, 3)
    assert [entry.record for entry in kept] == [{**orjson.loads(b), "@index": TARGET} for b in sent.bodies]
    assert [entry.nanos for entry in kept] == [at * 1000 for at in sent.times.tolist()]
    assert {entry.tag for entry in kept} == {sent.tag}


def test_what_cannot_be_sent_is_refused_and_the_rest_arrives() -> None:
    sent = replace(documents(0, 3), bodies=[b'{"@id":"a"}', b"[]", b'{"@id":"b"}'])
    with FluentReceiver() as receiver, route_to(receiver) as route:
        [refused] = route.send(sent)
        assert receiver.ids == {"a", "b"}
    assert refused.place == 1


def test_nothing_to_send_needs_no_receiver() -> None:
    receiver = FluentReceiver()
    receiver.start()
    receiver.kill()
    with route_to(receiver) as route:
        assert route.send(documents(0, 0)) == []
        assert [type(r) for r in route.send(replace(documents(0, 1), bodies=[b"1"]))] == [Refused]


@pytest.mark.parametrize("conduct", ["later", "split", "twice", "stranger"])
def test_odd_but_honest_acks_are_understood(conduct: Conduct) -> None:
    sent = in_messages(20)
    with FluentReceiver([conduct] * 20) as receiver, route_to(receiver) as route:
        assert route.send(sent) == []
        assert route.send(documents(20, 1)) == []
        assert len(receiver.kept) == 21
        assert receiver.connections == 1
        ignored = {"twice": 20, "stranger": 20}.get(conduct, 0)
        wait_for(lambda: route.send(documents(20, 1)) == [] and route.unknown_acks == ignored, 5, "acks are counted")


@pytest.mark.parametrize("conduct", [c for c in FAULTS if c not in ("later", "split", "twice", "stranger")])
def test_what_a_broken_receiver_did_not_ack_goes_to_the_next(conduct: Conduct) -> None:
    sent = in_messages(6)
    with (
        FluentReceiver(["ack", "ack", conduct, "ack"]) as broken,
        FluentReceiver() as sound,
        route_to(broken, sound, ack_timeout=SHORT_S) as route,
    ):
        assert route.send(sent) == []
        assert broken.faults == [conduct]
        assert broken.ids | sound.ids == set(sent.ids)
        assert set(sent.ids[2:3]) <= sound.ids


@pytest.mark.parametrize(
    ("conduct", "said"),
    [
        (
            "crash before",
            "it closed the connection before it acked anything: do TLS, certificates and <security> agree.*",
        ),
        (
            "crash after",
            "it closed the connection before it acked anything: do TLS, certificates and <security> agree.*",
        ),
        (
            "crash in ack",
            "it closed the connection before it acked anything: do TLS, certificates and <security> agree.*",
        ),
        ("stall", "it sent no ack in time"),
        ("no ack", "it sent no ack in time"),
        ("garbage", "it answered with what is no MessagePack: is this the port of a Fluentd.*"),
    ],
)
def test_without_an_ack_there_is_no_success(conduct: Conduct, said: str) -> None:
    with FluentReceiver([conduct]) as receiver, route_to(receiver, ack_timeout=SHORT_S) as route:
        with pytest.raises(Unavailable, match=rf"^no Fluentd receiver took the documents: {receiver.address}: {said}$"):
            route.send(documents(0, 10))
        assert route.send(documents(0, 10)) == []
        assert len(receiver.ids) == 10


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (msgpack.packb({"ok": True}), "it answered with what is no ack: \"{'ok': True}\""),
        (msgpack.packb([1]), "it answered with what is no ack: '[1]'"),
        (b"\xdb\x7f\xff\xff\xff" + b"x" * 100_000, "it answered with what is no MessagePack"),
        (b"\x91" * 100_000, "it answered with what is no MessagePack"),
        (b"\x81\x81\x01\x01\x01", "it answered with what is no MessagePack"),
    ],
)
def test_an_answer_that_is_no_ack_ends_the_connection(answer: bytes, said: str) -> None:
    with Scripted(answer) as receiver, route_to(receiver) as route:
        assert said in refusal(route)


def test_a_receiver_that_reads_no_more_is_given_up() -> None:
    stuck = FluentReceiver(["stall"])
    with stuck, route_to(stuck, ack_timeout=SHORT_S) as route:
        assert "it stopped reading" in refusal(route, in_messages(20, filling=3_000_000))


class Trickle(FluentReceiver):
    """Acks what nobody sent, again and again."""

    def talk(self, connection: socket.socket) -> None:
        while not select.select([connection], [], [], 0.01)[0] or connection.recv(1 << 20):
            connection.sendall(msgpack.packb({"ack": "nobody sent this"}))


def test_a_trickle_of_strange_acks_does_not_hold_a_send() -> None:
    with Trickle() as strange, FluentReceiver() as sound, route_to(strange, sound, ack_timeout=SHORT_S) as route:
        assert route.send(documents(0, 10)) == []
        assert len(sound.ids) == 10
        assert route.unknown_acks > 0


def test_when_all_fail_each_is_told_of() -> None:
    away = FluentReceiver()
    away.start()
    away.kill()
    with FluentReceiver(["no ack"]) as silent, route_to(away, silent, ack_timeout=SHORT_S) as route:
        told = refusal(route)
    assert told == (
        f"no Fluentd receiver took the documents: {away.address}: connection refused; "
        f"{silent.address}: it sent no ack in time"
    )


def test_the_preferred_receiver_is_returned_to_and_the_other_let_go() -> None:
    preferred = FluentReceiver()
    with FluentReceiver() as other, ExitStack() as stack:
        preferred.start()
        route = stack.enter_context(route_to(preferred, other))
        assert route.send(documents(0, 10)) == []
        preferred.kill()
        assert route.send(documents(10, 10)) == []
        assert (len(preferred.ids), len(other.ids)) == (10, 10)
        preferred.start()
        stack.callback(preferred.kill)
        sent = 20

        def returned() -> bool:
            nonlocal sent
            assert route.send(documents(sent, 10)) == []
            sent += 10
            return len(preferred.ids) > 10

        wait_for(returned, 10, "the preferred receiver to be used again")
        assert preferred.ids | other.ids == set(documents(0, sent).ids)
        wait_for(lambda: other.connected == 0, 10, "the other connection to be closed")


@pytest.mark.timeout(0.75 * LONG_S)
def test_one_that_came_back_mute_gets_less_time_than_one_that_is_all_there_is() -> None:
    first: list[Conduct] = ["crash before"]
    then: list[Conduct] = ["no ack"] * 1000
    with (
        FluentReceiver(first + then) as mute,
        FluentReceiver() as sound,
        route_to(mute, sound) as route,
    ):
        count = 0

        def asked_again() -> bool:
            nonlocal count
            assert route.send(documents(count, 10)) == []
            count += 10
            return mute.chunks > 1

        wait_for(asked_again, 10, "the mute receiver to be asked again")
        assert sound.ids == set(documents(0, count).ids)
        assert sound.connections == 1


def test_a_receiver_restarted_between_two_sends_is_no_outage() -> None:
    receiver = FluentReceiver()
    with receiver:
        route = FluentdRoute(settings(receiver))
        assert route.send(documents(0, 10)) == []
    with receiver:
        assert route.send(documents(10, 10)) == []
        assert len(receiver.ids) == 20
        route.close()
        wait_for(lambda: receiver.connected == 0, 10, "the connection to be closed")


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_what_was_taken_is_there(seed: int) -> None:
    chance = random.Random(seed)
    schedules = [seeded(random.Random(f"{seed}.{receiver}"), 25, 0.3) for receiver in range(2)]
    with ExitStack() as stack:
        receivers = [stack.enter_context(FluentReceiver(schedule)) for schedule in schedules]
        route = stack.enter_context(route_to(*receivers, ack_timeout=0.15))  # all time it takes is waiting for acks
        sent = 0
        while sent < 3_000 or sum(len(r.faults) for r in receivers) < 20:
            batch = documents(sent, chance.randrange(1, 60), filling=chance.choice([10, 10, 100_000]))
            try:
                assert route.send(batch) == []
            except Unavailable:
                continue
            assert set(batch.ids) <= receivers[0].ids | receivers[1].ids
            sent += len(batch)
        assert receivers[0].ids | receivers[1].ids == set(documents(0, sent).ids)


def test_the_receiver_can_be_a_process_of_its_own(tmp_path: Path) -> None:
    store = tmp_path / "kept.jsonl"
    command = [sys.executable, "-m", "tests.fluent_receiver", "--port", "0", "--store", str(store)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        receiver = FluentReceiver(port=int(process.stdout.readline()))
        with route_to(receiver) as route:
            assert route.send(documents(0, 50)) == []
        process.kill()
    kept = [orjson.loads(line) for line in store.read_text().splitlines()]
    assert kept == [{"@id": i, "@index": TARGET} for i in documents(0, 50).ids]
