"""deploy/fluentd says what the route to Fluentd relies on: ids, indices, a buffer on disk, nothing given up."""

from __future__ import annotations

import re

from headrace.consumers.forward.fluentd.messages import INDEX, LARGEST_ENTRY
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "fluentd"
Section = dict[str, str]


def sections(text: str) -> dict[str, Section]:
    """Path of a section, e.g. ``match headrace.** / buffer tag`` -> its own parameters, of Fluentd's configuration.

    Raises:
        AssertionError: a line is neither a parameter nor the begin or end of a section, or an end has no begin.
    """
    found: dict[str, Section] = {}
    within: list[str] = []
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if end := re.fullmatch(r"</(\w+)>", line):
            assert within.pop().split()[0] == end[1], line
        elif begin := re.fullmatch(r"<(\w+(?: \S+)?)>", line):
            within.append(begin[1])
            assert " / ".join(within) not in found, line
            found[" / ".join(within)] = {}
        else:
            name, value = line.split(maxsplit=1)
            assert re.fullmatch(r"@?[a-z_0-9]+", name), line
            assert name not in found[" / ".join(within)], line
            found[" / ".join(within)][name] = value
    assert within == []
    return found


CONFIG = sections((FOLDER / "fluent.conf").read_text())
OUT = "match headrace.**"


def size(text: str) -> int:
    return int(text[:-2]) * {"MB": 1 << 20, "GB": 1 << 30}[text[-2:]]


def test_every_section_is_there_and_closed() -> None:
    error = "label @ERROR / match **"
    nested = {"label @ERROR", error, f"{error} / format", f"{error} / buffer time"}
    assert set(CONFIG) == {"system", "source", OUT, f"{OUT} / buffer tag", *nested}


def test_documents_keep_their_ids_and_go_to_their_own_index() -> None:
    hosts = {"hosts", "user", "password"}
    assert {k: v for k, v in CONFIG[OUT].items() if k not in hosts} == {
        "@type": "elasticsearch",
        "@id": "documents",
        "id_key": "@id",
        "target_index_key": INDEX,
        "write_operation": "index",
        "include_timestamp": "false",
        "suppress_type_name": "true",
        "reconnect_on_error": "true",
        "reload_on_failure": "false",
        "reload_connections": "false",
        "request_timeout": "60s",
        "verify_es_version_at_startup": "false",
        "default_elasticsearch_version": "8",
        "log_es_400_reason": "true",
        "unrecoverable_error_types": "[]",
    }
    assert all(CONFIG[OUT][name].startswith('"#{ENV') for name in hosts)


def test_what_was_acked_is_on_disk_and_never_given_up() -> None:
    buffer = CONFIG[f"{OUT} / buffer tag"]
    assert buffer["@type"] == "file"
    assert buffer["retry_forever"] == "true"
    assert buffer["overflow_action"] == "block"
    assert size(buffer["chunk_limit_size"]) == 2 * LARGEST_ENTRY
    assert size(buffer["total_limit_size"]) > size(buffer["chunk_limit_size"])
    refused = CONFIG["label @ERROR / match ** / buffer time"]
    assert (refused["@type"], refused["retry_forever"]) == ("file", "true")
    paths = {CONFIG[s]["path"] for s in CONFIG if "path" in CONFIG[s]}
    assert all(path.startswith(CONFIG["system"]["root_dir"] + "/") for path in paths)


def test_the_sections_to_take_in_are_whole_too() -> None:
    text = (FOLDER / "fluent.conf").read_text()
    commented = [line[4:] for line in text.splitlines() if re.match(r"  # (<|  \w+ [/\"])", line)]
    found = sections("\n".join(commented))
    assert {name: set(section) for name, section in found.items()} == {
        "transport tls": {"cert_path", "private_key_path"},
        "security": {"self_hostname", "shared_key"},
    }


def test_the_image_holds_the_configuration_and_its_plugin() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    assert re.search(r"^FROM fluent/fluentd:v1\.", text, re.MULTILINE)
    assert "gem install --no-document fluent-plugin-elasticsearch" in text
    assert "COPY fluent.conf /fluentd/etc/fluent.conf" in text
