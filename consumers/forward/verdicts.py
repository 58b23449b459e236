"""What a search engine's error is about: the document that was sent, or the engine and how it is set up.

A document's fault is one that would come again with any index headrace makes. All else passes, or is mended at the
engine, and documents wait for it. An error that no row knows is the engine's too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

Verdict = Literal["document", "engine", "unknown"]
LONGEST_SAID = 500


class _Row(NamedTuple):
    """A kind of error.

    Attributes:
        types: pattern of the whole type.
        reason: pattern with which the reason begins: further on it may quote the document.
        mend: what to change; empty: it passes by itself.
    """

    types: str
    reason: str = ""
    mend: str = ""


_ANY = ".*"
_SPACE = "make room on the engine's disks; then, if it stays, take index.blocks.read_only_allow_delete back"
_PIPELINE = "create it, or take index.default_pipeline and index.final_pipeline of the index back"
_LIMIT = "raise the index's setting of that limit (index.mapping.total_fields.limit and its like)"
_ACCESS = "see HEADRACE_SEARCH__USERNAME, _PASSWORD and _API_KEY, and the rights of that user"
_AWAY = (
    "master_not_discovered_exception|cluster_manager_not_discovered_exception|not_master_exception|"
    "not_cluster_manager_exception|no_shard_available_action_exception|no_node_available_exception|"
    "unavailable_shards_exception|primary_missing_action_exception|failed_node_exception|node_.*|.*timeout.*|"
    ".*timed_out.*|.*_transport_exception|.*_closed_exception|retry_on_.*_exception|shard_not_in_.*_exception"
)
ENGINE: tuple[_Row, ...] = (
    _Row(
        _ANY,
        r"(Validation Failed: \d+: )?this action would add \[",
        "raise cluster.max_shards_per_node, or delete indices that are not needed",
    ),
    _Row(_ANY, r"pipeline with id \[.*\] does not exist", _PIPELINE),
    _Row(_ANY, r"There are no ingest nodes", "give a node the role ingest, or take index.default_pipeline back"),
    _Row(_ANY, r"no write index is defined", "set is_write_index on one index of the alias"),
    _Row(_ANY, r"Limit of [a-z ]+\[\d+\]|Field name \[.*\] is longer than the limit", _LIMIT),
    _Row("cluster_block_exception", r".*(flood.?stage|read-only-allow-delete|disk usage)", _SPACE),
    _Row("cluster_block_exception", "", "take the block back (index.blocks.*, cluster.blocks.*)"),
    _Row("index_closed_exception", "", "open the index"),
    _Row("index_not_found_exception", "", "let action.auto_create_index allow the index, or create it"),
    _Row("invalid_index_name_exception|invalid_alias_name_exception", "", "give the pipeline another name"),
    _Row(".*security.*|authorization_.*|authentication_.*", "", _ACCESS),
    _Row("routing_missing_exception", "", "take _routing.required of the index back"),
    _Row("circuit_breaking_exception", "", "give the engine more memory, if it stays"),
    _Row("(es_|opensearch_)?rejected_execution_exception|too_many_requests.*|.*throttl.*"),
    _Row(_AWAY),
)
"""Errors that documents wait for."""
DOCUMENT: tuple[_Row, ...] = (
    _Row("mapper_parsing_exception|document_parsing_exception|strict_dynamic_mapping_exception"),
    _Row("(x_content|json|stream)_.*exception|parsing_exception|not_x_content_exception|input_coercion_exception"),
    _Row("number_format_exception|date_time_parse_exception|malformed_input_exception"),
    _Row("max_bytes_length_exceeded_exception|too_many_(nested_)?clauses(_exception)?"),
    _Row(_ANY, r"Document contains at least one immense term|DocValuesField .* is too large"),
    _Row(_ANY, r"The number of nested documents has exceeded|The depth of the field has exceeded"),
    _Row(_ANY, r"maxClauseCount|too many clauses|object mapping .* tried to parse"),
    _Row(_ANY, r"(Validation Failed: \d+: )?_?id .*is too long"),
    _Row(_ANY, r"field name cannot |object field starting or ending with"),
)
"""Errors that would come again however the engine is set up."""


def verdict(error: Any) -> Verdict:
    """Whose fault an error is, by type and reason of the error and of what caused it.

    Args:
        error: as the engine tells it of one document, or of a request.
    """
    told = list(_chain(error))
    if any(_row(ENGINE, link) for link in told):
        return "engine"
    return "document" if any(_row(DOCUMENT, link) for link in told) else "unknown"


def mend(error: Any) -> str:
    """What to change at the engine; empty where it passes by itself, or nobody knows."""
    rows = (_row(ENGINE, link) for link in _chain(error))
    return next((row.mend for row in rows if row and row.mend), "")


def words(error: Any) -> str:
    """An error in words, down to what caused it."""
    if not isinstance(error, dict):
        return str(error)[:LONGEST_SAID]
    said = f"{error.get('type')}: {str(error.get('reason'))[:LONGEST_SAID]}"
    cause = error.get("caused_by")
    return f"{said} ({words(cause)})" if cause else said


def _chain(error: Any) -> Iterator[tuple[str, str]]:
    """Type and reason of an error and of each cause."""
    while isinstance(error, dict):
        yield str(error.get("type") or ""), str(error.get("reason") or "")
        error = error.get("caused_by") or next(iter(error.get("root_cause") or ()), None)
    if error:
        yield "", str(error)


def _row(rows: tuple[_Row, ...], link: tuple[str, str]) -> _Row | None:
    kind, reason = link
    return next(
        (r for r in rows if re.fullmatch(r.types, kind) and re.match(r.reason, reason, re.IGNORECASE | re.DOTALL)), None
    )
