"""One batch through a processor, in halves where user code fails, down to the record that does."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from headrace.errors import HeadraceError, Unavailable
from headrace.kafka.log import Chunk
from headrace.worker.processor import Processor, Step


def process_bisecting(
    processor: Processor,
    chunk: Chunk,
    perform: Callable[[Chunk, Step], None],
    failed: Callable[[Chunk, str], None],
) -> int:
    """Process ``chunk``.

    Args:
        processor: what to run.
        chunk: records of one partition.
        perform: takes each part that went through and the step that came of it, in order.
        failed: takes each one-record chunk on which the processor raised, and the traceback.

    Returns:
        How many records, from the start, are done with.
    """
    try:
        step = processor.process(chunk)
    except HeadraceError:
        raise
    except Exception:  # the processor runs the user's code, which may raise anything
        if not processor.atomic:
            raise
        if len(chunk) == 1:
            failed(chunk, traceback.format_exc())
            return 1
        half = len(chunk) // 2
        done = process_bisecting(processor, chunk.slice(0, half), perform, failed)
        if done < half:
            return done
        try:
            return half + process_bisecting(processor, chunk.slice(half), perform, failed)
        except Unavailable:
            return half
    perform(chunk, step)
    return len(chunk) if step.consumed is None else step.consumed
