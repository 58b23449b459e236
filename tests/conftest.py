"""What all tests share: the stack they run on (``--stack``), settings for it, and names nobody else uses."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from headrace.config import ADMIN, Settings
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.runner.processors import PRINCIPALS

ROOT = Path(__file__).parents[1]
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
COMPOSE_KAFKA = "127.0.0.1:9092"
COMPOSE_REGISTRY = "http://127.0.0.1:8081/apis/ccompat/v7"


@dataclass(frozen=True)
class RunningStack:
    """A real Kafka and registry.

    ``embedded`` is there when they are child processes of this one, which a test may then kill.
    """

    bootstrap: str
    registry_url: str
    embedded: Stack | None = None


def pytest_xdist_auto_num_workers() -> int:
    """Processes for ``-n auto``: one more than cores, as tests wait a third of their time, but not many Kafkas."""
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
    """The stack chosen with ``--stack``, one for the whole run."""
    kind: str = request.config.getoption("--stack")
    if kind in ("embedded", "secure"):
        layout = Layout(principals=PRINCIPALS if kind == "secure" else (), quick=True)
        with Stack(tmp_path_factory.mktemp("stack") / "state", layout=layout) as embedded:
            yield RunningStack(embedded.bootstrap, embedded.registry_url, embedded)
    elif kind == "docker":
        request.getfixturevalue("docker_services")
        yield RunningStack(COMPOSE_KAFKA, COMPOSE_REGISTRY)
    else:
        kafka, registry = request.config.getoption("--kafka"), request.config.getoption("--registry")
        if not kafka:
            raise pytest.UsageError("--stack external needs --kafka HOST:PORT (and --registry URL)")
        yield RunningStack(kafka, registry)


@pytest.fixture(scope="session")
def settings(stack: RunningStack) -> Settings:
    """Settings for the stack, with a short session so that a dead worker is missed soon."""
    known = stack.embedded.credentials(ADMIN) if stack.embedded else {}
    return Settings(
        bootstrap=stack.bootstrap,
        registry_url=stack.registry_url,
        state=stack.embedded.state if stack.embedded else Path(".headrace"),
        kafka={"session.timeout.ms": "6000", **known},
        unsigned_models="accept",
    )


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Make a name (topic, group, pipeline, transactional id) that no other test and no other run uses."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.removeprefix("test_").lower())[:40].strip("-")
    run = uuid.uuid4().hex[:8]
    return lambda name: f"{test}-{run}-{name}"
