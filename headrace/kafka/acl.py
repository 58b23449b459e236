"""An access rule of Kafka's, and the group that readers without a group use."""

from __future__ import annotations

from typing import Literal, NamedTuple

READER_GROUP = "headrace-reader"
"""The group of readers without a group name: nothing is ever committed to it, but a client looks up its coordinator."""
Kind = Literal["topic", "group", "transactional_id"]
Operation = Literal["read", "write", "describe", "describe_configs"]


class Rule(NamedTuple):
    """A principal may do something with a resource of this name, or with every one whose name begins so."""

    principal: str
    kind: Kind
    name: str
    prefixed: bool
    operation: Operation
