"""What goes wrong in a pipeline, said where a person looks anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.topics.pipeline_topics import PipelineTopics


def tell_troubles(topics: PipelineTopics) -> None:
    """Print one line for each thing that goes wrong, on standard error."""
    from rich.console import Console

    from headrace.cli.tables import say
    from headrace.query.trouble import troubles

    console = Console(stderr=True)
    for trouble in troubles(topics):
        say(console, f"warning: {trouble}", "bold yellow")
