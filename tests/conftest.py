"""What all tests share: the stack they run on (``--stack``), settings for it, and names nobody else uses."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from headrace.config import Settings
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.runner.processors import PRINCIPALS
from tests.shared_stack import RunningStack, SharedStack, running, shared

ROOT = Path(__file__).parents[1]
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
EMBEDDED = ("embedded", "secure")
COMPOSE_KAFKA = "127.0.0.1:9092"
COMPOSE_REGISTRY = "http://127.0.0.1:8081/apis/ccompat/v7"


SHARED = pytest.StashKey[SharedStack]()


def pytest_xdist_auto_num_workers() -> int:
    """Processes for ``-n auto``: one more than cores, as tests wait a third of their time."""
    return min((os.cpu_count() or 1) + 1, 4)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("headrace")
    group.addoption(
        "--stack",
        choices=("embedded", "secure", "docker", "external"),
        default="embedded",
        help="Kafka and registry of the tests: child processes (default), the same with TLS, passwords and ACLs, "
        "docker-compose.yml, or given ones.",
    )
    group.addoption("--kafka", default="", help="bootstrap servers, for --stack external")
    group.addoption("--registry", default="", help="URL of a Confluent-compatible registry, for --stack external")


def pytest_configure(config: pytest.Config) -> None:
    """Where the tests run in several processes, this one owns the stack of all."""
    if config.getoption("numprocesses", None) and config.getoption("--stack") in EMBEDDED:
        config.stash[SHARED] = SharedStack(layout_of(config))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process whom to ask for the stack."""
    if SHARED in node.config.stash:
        node.workerinput["stack"] = node.config.stash[SHARED].address


def pytest_unconfigure(config: pytest.Config) -> None:
    """The run has ended: so does its stack."""
    if SHARED in config.stash:
        config.stash[SHARED].close()


def layout_of(config: pytest.Config) -> Layout:
    """How ``--stack`` lays Kafka out."""
    return Layout(principals=PRINCIPALS if config.getoption("--stack") == "secure" else (), quick=True)


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    """For pytest-docker: the repository's own file."""
    return str(ROOT / "docker-compose.yml")


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    """For pytest-docker: the servers alone, without the processors."""
    return ["up --detach --wait kafka registry"]


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The stack chosen with ``--stack``, one for the whole run. No test may hurt it: see ``own_stack``."""
    config = request.config
    kind: str = config.getoption("--stack")
    if address := getattr(config, "workerinput", {}).get("stack"):
        yield shared(address)
    elif kind in EMBEDDED:
        with Stack(tmp_path_factory.mktemp("stack") / "state", layout=layout_of(config)) as embedded:
            yield running(embedded)
    elif kind == "docker":
        request.getfixturevalue("docker_services")
        yield RunningStack(COMPOSE_KAFKA, COMPOSE_REGISTRY)
    else:
        kafka, registry = config.getoption("--kafka"), config.getoption("--registry")
        if not kafka:
            raise pytest.UsageError("--stack external needs --kafka HOST:PORT (and --registry URL)")
        yield RunningStack(kafka, registry)


@pytest.fixture(scope="session")
def settings(stack: RunningStack) -> Settings:
    """Settings for the stack."""
    return settings_for(stack)


@pytest.fixture(scope="module")
def own_stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of the module's own, whose servers a test may kill or stop, and then starts again."""
    with Stack(tmp_path_factory.mktemp("own-stack") / "state", layout=layout_of(request.config)) as embedded:
        yield embedded


@pytest.fixture(scope="module")
def own_settings(own_stack: Stack) -> Settings:
    """Settings for the module's own stack."""
    return settings_for(running(own_stack))


def settings_for(stack: RunningStack) -> Settings:
    """Settings with a short session, so that a dead worker is missed soon."""
    return Settings(
        bootstrap=stack.bootstrap,
        registry_url=stack.registry_url,
        state=stack.state,
        kafka={"session.timeout.ms": "6000", **stack.properties},
        unsigned_models="accept",
    )


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Make a name (topic, group, pipeline, transactional id) that no other test and no other run uses."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.removeprefix("test_").lower())[:40].strip("-")
    run = uuid.uuid4().hex[:8]
    return lambda name: f"{test}-{run}-{name}"
