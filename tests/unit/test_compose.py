"""docker-compose.yml holds together: who waits for whom, what is started when, who can be reached from where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from typer.testing import CliRunner

from headrace.cli import app
from headrace.config import Settings
from headrace.consumers.forward.fluentd.settings import receivers
from headrace.runner.processors import PROCESSORS
from tests.conftest import ROOT
from tests.search_engines import ZIP

COMPOSE: dict[str, Any] = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SEARCH = {
    "elasticsearch",
    "fluentd",
    "forward",
    "kibana",
    "search-dashboards",
    "search-retention",
    "search-setup",
}
ONE_SHOT = {"init", "search-dashboards", "search-retention", "search-setup"}


def awaited(name: str) -> Iterator[str]:
    """All that a service waits for, and they in turn."""
    for other in SERVICES[name].get("depends_on", {}):
        yield other
        yield from awaited(other)


def ours() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in SERVICES.items() if service.get("image") == "headrace"}


def test_the_search_engine_and_what_is_around_it_come_only_when_asked_for() -> None:
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["search"]} == SEARCH
    assert {name for name, service in SERVICES.items() if "profiles" in service} == SEARCH
    for name in set(SERVICES) - SEARCH:
        assert not SEARCH & set(awaited(name))


def test_who_is_waited_for_is_there_and_says_when_it_is_ready() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            ends = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            assert how == {"condition": ends}, (name, other)
            assert other in ONE_SHOT or "test" in SERVICES[other]["healthcheck"], (name, other)
        assert name not in set(awaited(name))
    assert {"elasticsearch", "search-retention", "kafka", "registry", "init", "fluentd"} <= set(awaited("forward"))
    for name in ONE_SHOT & set(ours()):
        assert SERVICES[name]["healthcheck"] == {"disable": True}


def test_every_processor_has_a_service_and_is_scraped() -> None:
    """The table of processors is the one list; these two files cannot read it."""
    commands = [service["command"] for service in ours().values()]
    assert {command[1] for command in commands if command[0] == "run"} == set(PROCESSORS)
    scraped = YAML(typ="safe").load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    [targets] = [found["names"] for job in scraped["scrape_configs"] for found in job["dns_sd_configs"]]
    assert set(targets) == set(PROCESSORS)


def test_nothing_is_open_to_the_network() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == len(set(ports)) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_volumes_are_declared_and_folders_are_there() -> None:
    sources = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {source for source in sources if not source.startswith("./")} == set(COMPOSE["volumes"])
    assert all((ROOT / source).is_dir() for source in sources if source.startswith("./"))
    assert all(
        (ROOT / service["build"]).is_dir() for service in SERVICES.values() if isinstance(service.get("build"), str)
    )
    command = SERVICES["search-retention"]["command"]
    file = command[-1].removeprefix("@/search/")
    assert (ROOT / "deploy" / "search" / file).exists()


def test_elasticsearch_and_kibana_are_of_the_version_that_the_tests_run() -> None:
    images = {service["image"] for service in SERVICES.values() if "image" in service}
    assert {i for i in images if i.startswith(("elasticsearch", "kibana"))} == {
        f"elasticsearch:{ZIP.version}",
        f"kibana:{ZIP.version}",
    }


def test_what_headrace_is_told_are_its_settings_and_commands() -> None:
    for name, service in ours().items():
        settings: dict[str, Any] = {}
        for variable, value in service["environment"].items():
            first, _, rest = variable.removeprefix("HEADRACE_").lower().partition("__")
            held = json.loads(value) if value.startswith("[") else value
            settings[first] = {**settings.get(first, {}), rest: held} if rest else held
        read = Settings.model_validate(settings)
        assert read.bootstrap == "kafka:19092"
        if name == "forward":
            assert read.forward_to == "fluentd"
            assert [str(r) for r in receivers(read.fluentd)] == ["fluentd:24224"]
        if name == "search-setup":
            assert (read.search.url, read.search.lifecycle) == ("http://elasticsearch:9200", "headrace")
            assert SERVICES["search-retention"]["entrypoint"][-1].endswith(f"/_ilm/policy/{read.search.lifecycle}")
        command = service["command"]
        said = CliRunner().invoke(app, [command[0], "--help"], env={"COLUMNS": "200"})
        assert said.exit_code == 0
        assert all(option in said.output for option in command if option.startswith("--"))
