"""Forwarding: the worker beside those who have their documents ready-made, to the same receiver.

As a script it is one of those: ``python -m bench.sets.forward bulk URL FILE`` or ``... socket PORT FILE``.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack

from bench import cores
from bench.loaded import Loaded
from bench.process import Process
from bench.progress import SAMPLE_S, Ends, Rate, watch
from bench.sitting import Sitting
from bench.worker import Worker
from headrace.config import Search
from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.fluentd.messages import messages
from headrace.consumers.forward.rebuild import documents_of
from headrace.consumers.forward.route import Documents
from headrace.consumers.forward.setup import prepare
from headrace.consumers.forward.shape import Shape, shapes
from headrace.embedded.kafka import Layout
from headrace.embedded.ports import HOST
from headrace.embedded.stack import Stack
from headrace.errors import StackError
from headrace.topics.pipeline_topics import PipelineTopics

RECORDS = 100_000
WARM = 20_000
TIMEOUT_S = 120
WINDOW = 8
"""Messages of the bare sender that may wait for their acks, as many as ours."""


def forward(sitting: Sitting) -> None:
    """Documents a second, as a share of what ready-made ones reach: dictionaries through the client's
    ``parallel_bulk``, messages through a bare socket."""
    loaded = sitting.loaded("linear", "forward", records=RECORDS)
    written = Ends(sitting.cluster, [loaded.topics.topic("predictions")])
    with Worker(loaded, "infer", 100) as worker:
        while written() < RECORDS:
            worker.check()
            time.sleep(SAMPLE_S)
    _to_search(sitting, loaded)
    _to_fluentd(sitting, loaded)


def _to_search(sitting: Sitting, loaded: Loaded) -> None:
    shape = shapes(loaded.pipeline, "")["predictions"]
    file = sitting.cluster.folder / "documents.jsonl"
    with file.open("wb") as out:
        for documents in _documents(loaded.topics, shape):
            for target, id_, body in zip(documents.targets, documents.ids, documents.bodies, strict=True):
                out.write(b'{"_index":"%b","_id":"%b",%b\n' % (target.encode(), id_.encode(), body[1:]))
    state = sitting.cluster.folder / "search"
    with cores.on(cores.BROKER), Stack(state, registry=False, search=True, layout=Layout(quick=True)) as stack:
        engine = Engine(Search(url=stack.search_url))

        def emptied() -> None:
            engine.client.indices.delete(index=shape.patterns, ignore_unavailable=True)
            prepare(engine, [shape])

        def ready_made() -> Rate:
            emptied()
            return _ready_made("bulk", stack.search_url, file)

        def ours() -> Rate:
            emptied()
            return _worker(loaded, {"HEADRACE_SEARCH__URL": stack.search_url})

        ready_made()  # the engine compiles its code
        sitting.against({"forward_search": ours}, ready_made, "parallel_bulk")
        engine.close()


def _to_fluentd(sitting: Sitting, loaded: Loaded) -> None:
    shape = shapes(loaded.pipeline, "")["predictions"]
    file = sitting.cluster.folder / "messages.bin"
    with file.open("wb") as out:
        for documents in _documents(loaded.topics, shape):
            for message in messages(documents, False, []):
                out.write(msgpack.packb(message.data))
    cmd = [sys.executable, "-m", "bench.sets.forward", "drain"]
    with Process("drain", cmd, sitting.cluster.folder, cores.BROKER) as drain:
        drain.wait_for("port ")
        port = drain.said().split()[-1]
        settings = {"HEADRACE_FORWARD_TO": "fluentd", "HEADRACE_FLUENTD__RECEIVERS": json.dumps([f"{HOST}:{port}"])}
        sitting.against(
            {"forward_fluentd": lambda: _worker(loaded, settings)},
            lambda: _ready_made("socket", port, file),
            "bare_socket",
        )


def _worker(loaded: Loaded, settings: dict[str, str]) -> Rate:
    """Predictions a second that the worker's group commits."""
    group, tp = f"{loaded.pipeline.name}.forward", loaded.topics.tp("predictions")
    loaded.cluster.forget_group(group)
    with Worker(loaded, "forward", 100, settings=settings) as worker:
        end = loaded.topics.log.bounds(tp.topic)[0][1] - 1
        return watch(lambda: loaded.topics.log.committed(group).get(tp, 0), worker.check, end, TIMEOUT_S, WARM)


def _ready_made(how: str, where: str, file: Path) -> Rate:
    cmd = [sys.executable, "-m", "bench.sets.forward", how, where, str(file)]
    with cores.on(cores.CLIENT):
        done = subprocess.run(cmd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise StackError(f"the sender of what was ready-made failed: {done.stderr.strip()}")
    return Rate(**json.loads(done.stdout))


def _documents(topics: PipelineTopics, shape: Shape) -> Iterator[Documents]:
    ends = topics.log.bounds(topics.topic("predictions"))
    for documents, _ in documents_of(topics, shape, {topics.tp("predictions", p): span for p, span in ends.items()}):
        yield documents


def _bulk(url: str, file: Path) -> Rate:
    from elasticsearch import helpers

    actions = [json.loads(line) for line in file.read_bytes().splitlines()]
    client = Engine(Search(url=url)).client
    began = time.perf_counter()
    for taken, said in helpers.parallel_bulk(client, actions, thread_count=4, chunk_size=500):
        if not taken:
            raise StackError(f"the engine refused a document: {said}")
    return Rate(len(actions), time.perf_counter() - began)


def _socket(port: str, file: Path) -> Rate:
    sent = list(msgpack.Unpacker(file.open("rb"), max_buffer_size=1 << 31))
    count = sum(msgpack.unpackb(data)[2]["size"] for data in sent)
    waiting, acks = 0, msgpack.Unpacker()
    with socket.create_connection((HOST, int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        for data in [*sent, b""]:
            connection.sendall(data)
            waiting += bool(data)
            while waiting >= (WINDOW if data else 1):
                acks.feed(connection.recv(1 << 16))
                waiting -= sum(1 for _ in acks)
        return Rate(count, time.perf_counter() - began)


def _drain() -> None:
    """Ack everything, keep nothing, until killed."""
    server = socket.create_server((HOST, 0))
    print("port", server.getsockname()[1], flush=True)
    while True:
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        came = msgpack.Unpacker(max_buffer_size=1 << 30)
        with connection:
            while data := connection.recv(1 << 20):
                came.feed(data)
                for message in came:
                    connection.sendall(msgpack.packb({"ack": message[2]["chunk"]}))


def main() -> None:
    """Do one of the parts; print ``{"records": ..., "seconds": ...}``."""
    how, *given = sys.argv[1:]
    if how == "drain":
        return _drain()
    senders: dict[str, Callable[[str, Path], Rate]] = {"bulk": _bulk, "socket": _socket}
    found = senders[how](given[0], Path(given[1]))
    return print(json.dumps({"records": found.records, "seconds": found.seconds}))


if __name__ == "__main__":
    main()
