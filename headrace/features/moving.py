"""Windows that move with the rows: entries come in at one end, go out at the other, and running words follow.

For each group and span the window is a range of the group's chain, from its tail to before its head. A row moves both
to where they belong for its time, which adds and takes away what lies between, reads the window's values, and only
then comes in itself. What is kept in words (counts, exact sums, the greatest key) does not depend on the way there: a
row that comes late moves them back, a rebuild starts elsewhere, and the values are the same.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from headrace.codec.compiled import compiled_in_place
from headrace.features.chains import (
    AT,
    BEFORE,
    END,
    ENDLESS,
    FIRST,
    FLOATS,
    LAST,
    LEAST,
    NEXT,
    SIZE,
    SMALLEST,
    Chains,
    Ints,
    Table,
    add_block,
    bits_of,
    free_first,
    greatest,
    key_of,
    room,
    split,
)
from headrace.features.digits import DIGIT, Words, carried, put, put_square, rounded, spread

Floats = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Bytes = np.ndarray[tuple[int, int], np.dtype[np.uint8]]

WITHIN, OFFSET, GAP, PLACE, TERMS, TERMS_END, OUTS, OUTS_END = range(8)
"""Columns of ``spans``. Microseconds; WITHIN and GAP are -1 where there is no bound. PLACE is where a group keeps the
span's cursors, CURSORS words; from TERMS to before TERMS_END go its terms, and its outs likewise."""
HEAD, TAIL, LATEST, CURSORS = 0, 2, 4, 5
"""From PLACE on: block and position of head and tail, and the time they belong to; the latest there is where an entry
came late, which may have joined two sessions."""
KIND, TERM_BIT, TERM_COLUMN, WORD, LENGTH, LOW, TERM_BEST = range(7)
"""Columns of ``terms``: WORD is where a group keeps LENGTH words; LOW is the exponent of the first word's unit."""
COUNT, SUM, FLOAT_SUM, SQUARES, FLOAT_SQUARES, BEST, OLDEST = range(7)
"""Kinds of terms. BEST keeps how many count, the greatest key, whether that has gone, and that of entries let go;
OLDEST, of all time, whether an entry was let go, and the value of the first."""
WHAT, COUNTED, SUMMED, SQUARED, NTH, OUT_COLUMN = range(6)
"""Columns of ``outs``: what is read, of which terms, the how manieth entry from the end, of which column."""
AS_COUNT, AS_SUM, AS_MEAN, AS_VAR, AS_STD, AS_BEST, AS_FIRST, AS_NTH, AS_SINCE = range(9)
NULL, VALUE, OVERFLOW = 0, 1, 2
"""What ``found`` says of a window's value."""


class Plan(NamedTuple):
    """What is kept of each group, and what is read."""

    spans: Table
    """(spans, 8)"""
    terms: Table
    """(terms, 7)"""
    outs: Table
    """(outs, 6)"""
    reach: int
    """Microseconds that a window looks back at most, all time aside."""
    kept: int
    """Entries that are never let go: the last ones, where a window of all time reads them; 0: none."""


class Rows(NamedTuple):
    """Rows that come in, in the log's order, and what is found for them."""

    group: Ints
    time: Ints
    newest: Ints
    """(n,): the newest time of the partition so far, less its lateness: no row that follows is older."""
    mask: Ints
    values: Table
    """(columns, n)"""
    ints: Table
    """(outs, n): the windows' values, integers."""
    floats: Floats
    """The same memory."""
    found: Bytes
    """(outs, n): NULL, VALUE or OVERFLOW."""


@compiled_in_place
def move(chains: Chains, state: Table, plan: Plan, digits: Table, rows: Rows, start: int) -> int:
    """Take in rows from ``start`` on, as long as there is room for what they hold; gives the first one left over."""
    for i in range(start, rows.time.size):
        if not room(chains):
            return i
        g, t = rows.group[i], rows.time[i]
        words = state[g]
        for s in range(plan.spans.shape[0]):
            if plan.spans[s, GAP] >= 0:
                _follow_session(chains, words, g, plan, s, t)
            else:
                _follow(chains, words, g, plan, s, t)
            for o in range(plan.spans[s, OUTS], plan.spans[s, OUTS_END]):
                _read(chains, words, g, plan, s, o, t, digits, rows, i)
        if rows.mask[i] != 0:
            _insert(chains, words, g, plan, rows, i)
        _let_go(chains, words, g, plan, rows.newest[i] - plan.reach)
    return rows.time.size


@compiled_in_place
def _settle(chains: Chains, words: Words, g: int, cursor: int) -> None:
    """Put a cursor that stands behind a block's last entry before the next block's first, where there is one."""
    block = words[cursor]
    if block < 0:
        words[cursor] = chains.groups[g, FIRST]
        words[cursor + 1] = 0
    elif words[cursor + 1] == chains.blocks[block, END] and chains.blocks[block, NEXT] >= 0:
        words[cursor] = chains.blocks[block, NEXT]
        words[cursor + 1] = 0


@compiled_in_place
def _at(chains: Chains, words: Words, g: int, cursor: int) -> int:
    """Place of the entry at a cursor, or -1 at the chain's end."""
    _settle(chains, words, g, cursor)
    block = words[cursor]
    if block < 0 or words[cursor + 1] == chains.blocks[block, END]:
        return -1
    return int(chains.blocks[block, AT] + words[cursor + 1])


@compiled_in_place
def _before(chains: Chains, words: Words, cursor: int) -> int:
    """Place of the entry before a cursor, or -1 at the chain's beginning."""
    block = words[cursor]
    if block < 0:
        return -1
    if words[cursor + 1] > 0:
        return int(chains.blocks[block, AT] + words[cursor + 1] - 1)
    block = chains.blocks[block, BEFORE]
    return int(-1 if block < 0 else chains.blocks[block, AT] + chains.blocks[block, END] - 1)


@compiled_in_place
def _step_back(chains: Chains, words: Words, cursor: int) -> None:
    if words[cursor + 1] == 0:
        words[cursor] = chains.blocks[words[cursor], BEFORE]
        words[cursor + 1] = chains.blocks[words[cursor], END]
    words[cursor + 1] -= 1


@compiled_in_place
def _same(chains: Chains, words: Words, g: int, one: int, other: int) -> bool:
    _settle(chains, words, g, one)
    _settle(chains, words, g, other)
    return bool(words[one] == words[other] and words[one + 1] == words[other + 1])


@compiled_in_place
def _follow(chains: Chains, words: Words, g: int, plan: Plan, s: int, t: int) -> None:
    """Move a window to where it belongs at a time: over (t - offset - within, t - offset]."""
    head = plan.spans[s, PLACE] + HEAD
    tail = plan.spans[s, PLACE] + TAIL
    last = t - plan.spans[s, OFFSET]
    gone = last - plan.spans[s, WITHIN] if plan.spans[s, WITHIN] >= 0 else ENDLESS
    latest = plan.spans[s, PLACE] + LATEST
    if t < words[latest]:
        _go_back(chains, words, g, plan, s, last, gone)
    words[latest] = t
    place = _at(chains, words, g, head)
    while place >= 0 and chains.time[place] <= last:
        _change(chains, words, plan, s, place, 1)
        words[head + 1] += 1
        place = _at(chains, words, g, head)
    if plan.spans[s, WITHIN] < 0:
        return
    place = _at(chains, words, g, tail)
    while place >= 0 and chains.time[place] <= gone and not _same(chains, words, g, head, tail):
        _change(chains, words, plan, s, place, -1)
        words[tail + 1] += 1
        place = _at(chains, words, g, tail)


@compiled_in_place
def _go_back(chains: Chains, words: Words, g: int, plan: Plan, s: int, last: int, gone: int) -> None:
    head = plan.spans[s, PLACE] + HEAD
    tail = plan.spans[s, PLACE] + TAIL
    _settle(chains, words, g, tail)
    place = _before(chains, words, tail)
    while place >= 0 and chains.time[place] > gone:
        _step_back(chains, words, tail)
        _change(chains, words, plan, s, place, 1)
        place = _before(chains, words, tail)
    place = _before(chains, words, head)
    while place >= 0 and chains.time[place] > last:
        _step_back(chains, words, head)
        _change(chains, words, plan, s, place, -1)
        place = _before(chains, words, head)


@compiled_in_place
def _follow_session(chains: Chains, words: Words, g: int, plan: Plan, s: int, t: int) -> None:
    """Move a session to a time: the entries up to it, as far back as none is further than the gap from the next."""
    head = plan.spans[s, PLACE] + HEAD
    tail = plan.spans[s, PLACE] + TAIL
    latest = plan.spans[s, PLACE] + LATEST
    gap = plan.spans[s, GAP]
    gone = t - plan.spans[s, WITHIN]
    if t < words[latest]:
        # Late, or a late one came in: it may join two sessions. Walk back from the time.
        place = _before(chains, words, head)
        while place >= 0 and chains.time[place] > t:
            _step_back(chains, words, head)
            place = _before(chains, words, head)
        place = _at(chains, words, g, head)
        while place >= 0 and chains.time[place] <= t:
            words[head + 1] += 1
            place = _at(chains, words, g, head)
        _clear(words, plan, s)
        words[tail] = words[head]
        words[tail + 1] = words[head + 1]
        place, following = _before(chains, words, tail), t
        while place >= 0 and chains.time[place] > gone and following - chains.time[place] <= gap:
            _change(chains, words, plan, s, place, 1)
            following = chains.time[place]
            _step_back(chains, words, tail)
            place = _before(chains, words, tail)
    place, before = _at(chains, words, g, head), _before(chains, words, head)
    while place >= 0 and chains.time[place] <= t:
        if before >= 0 and chains.time[place] - chains.time[before] > gap:
            _begin_session(words, plan, s)
        _change(chains, words, plan, s, place, 1)
        words[head + 1] += 1
        before = place
        place = _at(chains, words, g, head)
    if before >= 0 and t - chains.time[before] > gap:
        _begin_session(words, plan, s)
    place = _at(chains, words, g, tail)
    while place >= 0 and chains.time[place] <= gone and not _same(chains, words, g, head, tail):
        _change(chains, words, plan, s, place, -1)
        words[tail + 1] += 1
        place = _at(chains, words, g, tail)
    words[latest] = t


@compiled_in_place
def _begin_session(words: Words, plan: Plan, s: int) -> None:
    _clear(words, plan, s)
    place = plan.spans[s, PLACE]
    words[place + TAIL] = words[place + HEAD]
    words[place + TAIL + 1] = words[place + HEAD + 1]


@compiled_in_place
def _clear(words: Words, plan: Plan, s: int) -> None:
    for k in range(plan.spans[s, TERMS], plan.spans[s, TERMS_END]):
        word = plan.terms[k, WORD]
        for j in range(plan.terms[k, LENGTH]):
            words[word + j] = 0
        if plan.terms[k, KIND] == BEST:
            words[word + 1] = ENDLESS
            words[word + 3] = ENDLESS


@compiled_in_place
def reset(state: Table, g: int, plan: Plan) -> None:
    """Make a group one that has seen nothing."""
    words = state[g]
    for s in range(plan.spans.shape[0]):
        place = plan.spans[s, PLACE]
        words[place + HEAD] = -1
        words[place + HEAD + 1] = 0
        words[place + TAIL] = -1
        words[place + TAIL + 1] = 0
        words[place + LATEST] = ENDLESS
        _clear(words, plan, s)


@compiled_in_place
def _change(chains: Chains, words: Words, plan: Plan, s: int, place: int, sign: int) -> None:
    """Add the entry at a place to a span's words, or take it away."""
    mask = chains.mask[place]
    for k in range(plan.spans[s, TERMS], plan.spans[s, TERMS_END]):
        if not (mask >> plan.terms[k, TERM_BIT]) & 1:
            continue
        kind, word = plan.terms[k, KIND], plan.terms[k, WORD]
        if kind == COUNT:
            words[word] += sign
            continue
        bits = chains.values[plan.terms[k, TERM_COLUMN], place]
        if kind == SUM:
            words[word] += sign * (bits & np.int64(DIGIT))
            words[word + 1] += sign * (bits >> np.int64(32))
        elif kind == BEST:
            k = plan.terms[k, TERM_BEST]
            key = key_of(bits, chains.best_of[k, FLOATS], chains.best_of[k, LEAST])
            words[word] += sign
            if sign > 0:
                words[word + 1] = max(words[word + 1], key)
            elif key == words[word + 1]:
                words[word + 2] = 1
        elif kind == SQUARES:
            put_square(words, word, 0, sign, abs(bits), 0)
        elif kind in (FLOAT_SUM, FLOAT_SQUARES):
            size = bits & np.int64(0xFFFFFFFFFFFFF)
            exponent = (bits >> np.int64(52)) & np.int64(0x7FF)
            if exponent:
                size |= np.int64(1) << np.int64(52)
            else:
                exponent = np.int64(1)
            if size == 0:
                continue
            if kind == FLOAT_SUM:
                put(words, word, plan.terms[k, LOW], -sign if bits < 0 else sign, size, exponent - 1075)
            else:
                put_square(words, word, plan.terms[k, LOW], sign, size, exponent - 1075)


@compiled_in_place
def _read(
    chains: Chains, words: Words, g: int, plan: Plan, s: int, o: int, t: int, digits: Table, rows: Rows, i: int
) -> None:
    """Write one window's value for row ``i``."""
    what = plan.outs[o, WHAT]
    rows.found[o, i] = VALUE
    if what == AS_COUNT:
        rows.ints[o, i] = words[plan.terms[plan.outs[o, COUNTED], WORD]]
    elif what in (AS_SUM, AS_MEAN):
        _read_sum(words, plan, o, what == AS_MEAN, digits, rows, i)
    elif what in (AS_VAR, AS_STD):
        count = words[plan.terms[plan.outs[o, COUNTED], WORD]]
        if count < 2:
            rows.found[o, i] = NULL
            return
        k, q = plan.outs[o, SUMMED], plan.outs[o, SQUARED]
        length, squares = plan.terms[k, LENGTH] + 1, plan.terms[q, LENGTH] + 1
        carried(words, plan.terms[k, WORD], length - 1, digits[0])
        carried(words, plan.terms[q, WORD], squares - 1, digits[1])
        size = spread(digits[0], length, digits[1], squares, count, digits[2])
        value = rounded(digits[2], size, 2 * plan.terms[k, LOW]) / (float(count) * float(count - 1))
        if not math.isfinite(value):
            rows.found[o, i] = OVERFLOW
        rows.floats[o, i] = math.sqrt(value) if what == AS_STD else value
    elif what == AS_BEST:
        _read_best(chains, words, g, plan, s, o, rows, i)
    else:
        _read_entry(chains, words, g, plan, s, o, t, rows, i)


@compiled_in_place
def _read_sum(words: Words, plan: Plan, o: int, mean: bool, digits: Table, rows: Rows, i: int) -> None:
    k = plan.outs[o, SUMMED]
    word, length = plan.terms[k, WORD], plan.terms[k, LENGTH]
    count = np.int64(1)
    if mean:
        count = words[plan.terms[plan.outs[o, COUNTED], WORD]]
        if count == 0:
            rows.found[o, i] = NULL
            return
    if plan.terms[k, KIND] == SUM and not mean:
        high = words[word + 1] + (words[word] >> np.int64(32))
        if high >= np.int64(1) << np.int64(31) or high < -(np.int64(1) << np.int64(31)):
            rows.found[o, i] = OVERFLOW
        rows.ints[o, i] = (high << np.int64(32)) | (words[word] & np.int64(DIGIT))
        return
    sign = carried(words, word, length, digits[0])
    value = sign * rounded(digits[0], length + 1, plan.terms[k, LOW])
    if not math.isfinite(value):
        rows.found[o, i] = OVERFLOW
    rows.floats[o, i] = value / count if mean else value


@compiled_in_place
def _read_best(chains: Chains, words: Words, g: int, plan: Plan, s: int, o: int, rows: Rows, i: int) -> None:
    term = plan.outs[o, COUNTED]
    word, k = plan.terms[term, WORD], plan.terms[term, TERM_BEST]
    if words[word] == 0:
        rows.found[o, i] = NULL
        words[word + 1] = words[word + 3]
        words[word + 2] = 0
        return
    if words[word + 2]:
        words[word + 1] = _look(chains, words, g, plan, s, k, words[word + 3])
        words[word + 2] = 0
    rows.ints[o, i] = bits_of(words[word + 1], chains.best_of[k, FLOATS], chains.best_of[k, LEAST])


@compiled_in_place
def _look(chains: Chains, words: Words, g: int, plan: Plan, s: int, k: int, best: int) -> int:
    """The greatest key in a window, from the keys of its whole blocks and the entries of those at its ends."""
    head = plan.spans[s, PLACE] + HEAD
    tail = plan.spans[s, PLACE] + TAIL
    _settle(chains, words, g, tail)
    _settle(chains, words, g, head)
    block, position = words[tail], words[tail + 1]
    while block >= 0 and block != words[head]:
        at, end = chains.blocks[block, AT], chains.blocks[block, END]
        whole = position == 0
        best = max(best, chains.best[block, k]) if whole else greatest(chains, k, at + position, at + end, best)
        block, position = chains.blocks[block, NEXT], 0
    if block >= 0:
        at = chains.blocks[block, AT]
        best = greatest(chains, k, at + position, at + words[head + 1], best)
    return best


@compiled_in_place
def _read_entry(chains: Chains, words: Words, g: int, plan: Plan, s: int, o: int, t: int, rows: Rows, i: int) -> None:
    """Read the first entry of a window, or the last, or the one so many before it."""
    head = plan.spans[s, PLACE] + HEAD
    tail = plan.spans[s, PLACE] + TAIL
    what, column = plan.outs[o, WHAT], plan.outs[o, OUT_COLUMN]
    if what == AS_FIRST:
        word = plan.terms[plan.outs[o, COUNTED], WORD] if plan.outs[o, COUNTED] >= 0 else -1
        if word >= 0 and words[word]:
            rows.ints[o, i] = words[word + 1]
        elif _same(chains, words, g, head, tail):
            rows.found[o, i] = NULL
        else:
            rows.ints[o, i] = chains.values[column, _at(chains, words, g, tail)]
        return
    left = plan.outs[o, NTH]
    _settle(chains, words, g, tail)
    _settle(chains, words, g, head)
    block, position = words[head], words[head + 1]
    while block >= 0:
        first = words[tail + 1] if block == words[tail] else 0
        if position - first >= left:
            place = chains.blocks[block, AT] + position - left
            if what == AS_SINCE:
                rows.floats[o, i] = float(t - chains.time[place]) / 1e6
            else:
                rows.ints[o, i] = chains.values[column, place]
            return
        if block == words[tail]:
            break
        left -= position
        block = chains.blocks[block, BEFORE]
        position = chains.blocks[block, END] if block >= 0 else 0
    rows.found[o, i] = NULL


@compiled_in_place
def _insert(chains: Chains, words: Words, g: int, plan: Plan, rows: Rows, i: int) -> None:
    """Take in a row behind all entries of its time and before. Every cursor stands there or before."""
    t = rows.time[i]
    block = chains.groups[g, LAST]
    if block < 0:
        block = add_block(chains, g)
    position = chains.blocks[block, END]
    if position and chains.time[chains.blocks[block, AT] + position - 1] > t:
        block, position = _place_of(chains, words, g, plan, t)
    elif position == SMALLEST << chains.blocks[block, SIZE]:
        block, position = add_block(chains, g), 0
    at, end = chains.blocks[block, AT], chains.blocks[block, END]
    for place in range(at + end, at + position, -1):
        chains.time[place] = chains.time[place - 1]
        chains.mask[place] = chains.mask[place - 1]
        for c in range(chains.values.shape[0]):
            chains.values[c, place] = chains.values[c, place - 1]
    place = at + position
    chains.time[place] = t
    chains.mask[place] = rows.mask[i]
    for c in range(chains.values.shape[0]):
        chains.values[c, place] = rows.values[c, i]
    chains.blocks[block, END] = end + 1
    for k in range(chains.best.shape[1]):
        chains.best[block, k] = greatest(chains, k, place, place + 1, chains.best[block, k])


@compiled_in_place
def _place_of(chains: Chains, words: Words, g: int, plan: Plan, t: int) -> tuple[int, int]:
    """Where a late entry belongs: a block that has room, and the position of the first entry that is newer."""
    for s in range(plan.spans.shape[0]):
        words[plan.spans[s, PLACE] + LATEST] = np.int64(0x7FFFFFFFFFFFFFFF)
    block = chains.groups[g, LAST]
    position = chains.blocks[block, END]
    while True:
        at = chains.blocks[block, AT]
        while position > 0 and chains.time[at + position - 1] > t:
            position -= 1
        before = chains.blocks[block, BEFORE]
        if position > 0 or before < 0:
            break
        if chains.time[chains.blocks[before, AT] + chains.blocks[before, END] - 1] <= t:
            break
        block, position = before, chains.blocks[before, END]
    if chains.blocks[block, END] == SMALLEST << chains.blocks[block, SIZE]:
        other = split(chains, g, block)
        half = chains.blocks[block, END]
        for s in range(plan.spans.shape[0]):
            for cursor in (plan.spans[s, PLACE] + HEAD, plan.spans[s, PLACE] + TAIL):
                if words[cursor] == block and words[cursor + 1] >= half:
                    words[cursor] = other
                    words[cursor + 1] -= half
        if position >= half:
            block, position = other, position - half
    return block, position


@compiled_in_place
def _let_go(chains: Chains, words: Words, g: int, plan: Plan, cut: int) -> None:
    """Give back the blocks whose entries no window of a row to come can hold."""
    block = chains.groups[g, FIRST]
    while block >= 0 and chains.time[chains.blocks[block, AT] + chains.blocks[block, END] - 1] <= cut:
        if plan.kept > 0 and not _enough(chains, block, plan.kept, cut):
            return
        for s in range(plan.spans.shape[0]):
            head = plan.spans[s, PLACE] + HEAD
            if plan.spans[s, WITHIN] < 0 and not _passed(chains, words, head, block):
                return
        following = chains.blocks[block, NEXT]
        for s in range(plan.spans.shape[0]):
            if plan.spans[s, WITHIN] < 0:
                _remember(chains, words, plan, s, block)
            for cursor in (plan.spans[s, PLACE] + HEAD, plan.spans[s, PLACE] + TAIL):
                if words[cursor] == block:
                    words[cursor] = following
                    words[cursor + 1] = 0
        free_first(chains, g)
        block = following


@compiled_in_place
def _passed(chains: Chains, words: Words, cursor: int, block: int) -> bool:
    """Whether a cursor stands behind the last entry of a group's first block."""
    return bool(words[cursor] >= 0 and (words[cursor] != block or words[cursor + 1] == chains.blocks[block, END]))


@compiled_in_place
def _enough(chains: Chains, block: int, kept: int, cut: int) -> bool:
    """Whether so many entries that are as old stand behind a block."""
    block = chains.blocks[block, NEXT]
    while kept > 0 and block >= 0:
        end = chains.blocks[block, END]
        if chains.time[chains.blocks[block, AT] + end - 1] > cut:
            return False
        kept -= end
        block = chains.blocks[block, NEXT]
    return kept <= 0


@compiled_in_place
def _remember(chains: Chains, words: Words, plan: Plan, s: int, block: int) -> None:
    """Keep what a window of all time still needs of a block that goes."""
    for k in range(plan.spans[s, TERMS], plan.spans[s, TERMS_END]):
        word = plan.terms[k, WORD]
        if plan.terms[k, KIND] == BEST:
            words[word + 3] = max(words[word + 3], chains.best[block, plan.terms[k, TERM_BEST]])
        elif plan.terms[k, KIND] == OLDEST and not words[word]:
            words[word] = 1
            words[word + 1] = chains.values[plan.terms[k, TERM_COLUMN], chains.blocks[block, AT]]


@compiled_in_place
def sweep(chains: Chains, state: Table, plan: Plan, used: Ints, hand: int, steps: int, cut: int, gone: Ints) -> int:
    """Look at so many groups from ``hand`` on and let go of those of which nothing counts any more.

    Returns:
        How many there were; their numbers stand in ``gone``.
    """
    found = 0
    for step in range(steps):
        g = (hand + step) % used.size
        if not used[g]:
            continue
        last = chains.groups[g, LAST]
        if last >= 0:
            if chains.time[chains.blocks[last, AT] + chains.blocks[last, END] - 1] > cut:
                continue
            while chains.groups[g, FIRST] >= 0:
                free_first(chains, g)
        reset(state, g, plan)
        used[g] = 0
        gone[found] = g
        found += 1
    return found
