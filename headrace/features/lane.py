"""One partition's windows over the same groups: their chains and running words, which grow as needed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from headrace.features import moving
from headrace.features.chains import BLOCK_COLUMNS, FREE, LARGEST, MARKS, TOP, TOP_BLOCK, Chains, Ints, Table
from headrace.features.groups import Groups
from headrace.features.moving import COUNT, FLOAT_SQUARES, FLOAT_SUM, SQUARES, SUM, Plan, Rows

LENGTHS = {COUNT: 1, SUM: 2, SQUARES: 6, moving.BEST: 4, moving.OLDEST: 2}
"""Words of the kinds of terms whose length does not depend on the values."""


@dataclass(frozen=True)
class LanePlan:
    """What the windows over one set of groups need of the rows.

    Attributes:
        by: the columns that form a group.
        masks: an expression for each bit of a row's mask: whether it counts. Bit 0 is that of the first.
        columns: an expression for each value that is kept, and whether it is a double; the others are integers.
        spans, terms, outs: see :mod:`headrace.features.moving`; where words stand is not yet said.
        best: the terms of least and greatest, see ``best_of`` of :class:`Chains`.
        reach: microseconds that a window looks back at most, all time aside.
        kept: entries never let go of.
        endless: whether a window is of all time, so that groups stay.
    """

    by: tuple[str, ...]
    masks: list[pl.Expr] = field(default_factory=list)
    columns: list[tuple[pl.Expr, bool]] = field(default_factory=list)
    spans: list[list[int]] = field(default_factory=list)
    terms: list[list[int]] = field(default_factory=list)
    outs: list[list[int]] = field(default_factory=list)
    best: list[list[int]] = field(default_factory=list)
    reach: int = 0
    kept: int = 0
    endless: bool = False

    def bits_of(self, column: int) -> list[int]:
        """The bits of the rows that count with their value of a column; where single entries are read, all."""
        counted = [term[moving.TERM_BIT] for term in self.terms if term[moving.TERM_COLUMN] == column]
        return sorted(set(counted)) or list(range(len(self.masks)))


class Lane:
    """The state of a lane. Arrays begin small and double."""

    def __init__(self, plan: LanePlan) -> None:
        self._declared = plan
        self._groups = Groups(plan.by)
        self._exponents: list[tuple[int, int] | None] = [None] * len(plan.columns)
        """Multiples of 32 around the exponents of the units of what came in each column of doubles."""
        self._plan, self._digits = self._laid_out()
        self._state = np.zeros((0, self._width()), dtype=np.int64)
        self._used = np.zeros(0, dtype=np.int64)
        self._hand = 0
        self._chains = Chains(
            time=np.zeros(4 * LARGEST, dtype=np.int64),
            mask=np.zeros(4 * LARGEST, dtype=np.int64),
            values=np.zeros((len(plan.columns), 4 * LARGEST), dtype=np.int64),
            blocks=np.zeros((16, BLOCK_COLUMNS), dtype=np.int64),
            best=np.zeros((16, len(plan.best)), dtype=np.int64),
            best_of=_table(plan.best, 4),
            groups=np.full((0, 2), -1, dtype=np.int64),
            marks=np.concatenate((np.zeros(FREE, np.int64), np.full(MARKS - FREE, -1))),
        )

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self._groups)

    @property
    def bytes(self) -> int:
        """What the arrays take."""
        return self._state.nbytes + sum(a.nbytes for a in self._chains if isinstance(a, np.ndarray))

    def take(self, rows: pl.DataFrame, time: Ints, newest: Ints, mask: Ints, values: Table) -> tuple[Table, np.ndarray]:
        """Take in rows in the log's order and give what the windows hold before each.

        Args:
            rows: n rows, for their groups.
            time: (n,) microseconds.
            newest: (n,) the partition's newest time up to each row, less the lateness.
            mask: (n,) which terms a row counts for.
            values: (columns, n) integers, or the bits of finite doubles.

        Returns:
            (outs, n) values or their bits, and (outs, n) whether there is one.
        """
        group = self._groups.numbers(rows)
        self._used_groups(group)
        self._widen(values)
        ints = np.zeros((len(self._declared.outs), len(time)), dtype=np.int64)
        found = np.zeros(ints.shape, dtype=np.uint8)
        coming = Rows(group, time, newest, mask, values, ints, ints.view(np.float64), found)
        done = 0
        while (done := moving.move(self._chains, self._state, self._plan, self._digits, coming, done)) < len(time):
            self._grow()
        if not self._declared.endless and len(time):
            self._sweep(len(time), int(newest[-1]) - self._declared.reach)
        return ints, found

    def _used_groups(self, group: Ints) -> None:
        wanted, had = len(self._groups.keys), len(self._used)
        if wanted > had:
            more = max(64, wanted, 2 * had) - had
            self._state = np.concatenate((self._state, np.zeros((more, self._state.shape[1]), np.int64)))
            for number in range(had, had + more):
                moving.reset(self._state, number, self._plan)
            self._used = np.concatenate((self._used, np.zeros(more, np.int64)))
            groups = np.concatenate((self._chains.groups, np.full((more, 2), -1, np.int64)))
            self._chains = self._chains._replace(groups=groups)
        self._used[group] = 1

    def _sweep(self, rows: int, cut: int) -> None:
        """Look at as many groups as rows came, so that those that never come again go, at no cost to speak of."""
        steps = min(rows, len(self._used))
        gone = np.zeros(steps, dtype=np.int64)
        found = moving.sweep(self._chains, self._state, self._plan, self._used, self._hand, steps, cut, gone)
        self._hand = (self._hand + steps) % len(self._used)
        self._groups.give_back(gone[:found].tolist())

    def _grow(self) -> None:
        """Make room for twice as many entries, or blocks, whichever ran out."""
        chains = self._chains
        if chains.marks[TOP] + 2 * LARGEST > chains.time.size:
            chains = chains._replace(
                time=_doubled(chains.time, 0),
                mask=_doubled(chains.mask, 0),
                values=_doubled(chains.values, 1),
            )
        if chains.marks[TOP_BLOCK] + 2 > chains.blocks.shape[0]:
            chains = chains._replace(blocks=_doubled(chains.blocks, 0), best=_doubled(chains.best, 0))
        self._chains = chains

    def _widen(self, values: Table) -> None:
        """Give sums of doubles words for all exponents that come, and carry over what they hold."""
        before = list(self._exponents)
        for column, (_, floats) in enumerate(self._declared.columns):
            exponent = (values[column] >> 52) & 0x7FF
            exponent = exponent[(values[column] << 1) != 0]
            if floats and exponent.size:
                low = (max(1, int(exponent.min())) - 1075) // 32 * 32
                high = -(-(max(1, int(exponent.max())) - 1075) // 32) * 32
                known = self._exponents[column] or (low, high)
                self._exponents[column] = min(known[0], low), max(known[1], high)
        if self._exponents != before:
            plan, state = self._plan, self._state
            self._plan, self._digits = self._laid_out()
            self._state = np.zeros((len(state), self._width()), dtype=np.int64)
            _carry_over(plan, state, self._plan, self._state)

    def _laid_out(self) -> tuple[Plan, Table]:
        """Say where each span's cursors and each term's words stand in a group's row."""
        spans, terms, outs = self._declared.spans, self._declared.terms, self._declared.outs
        table = _table(terms, 7)
        places = _table(spans, 8)
        at = 0
        for s in range(len(spans)):
            places[s, moving.PLACE] = at
            at += moving.CURSORS
            for k in range(places[s, moving.TERMS], places[s, moving.TERMS_END]):
                table[k, moving.WORD] = at
                table[k, moving.LENGTH], table[k, moving.LOW] = self._length(*table[k, :3].tolist())
                at += int(table[k, moving.LENGTH])
        longest = max(table[:, moving.LENGTH].max(initial=0), 6) + 2
        plan = Plan(places, table, _table(outs, 6), self._declared.reach, self._declared.kept)
        return plan, np.zeros((3, 2 * int(longest) + 2), dtype=np.int64)

    def _length(self, kind: int, _: int, column: int) -> tuple[int, int]:
        if kind not in (FLOAT_SUM, FLOAT_SQUARES):
            return LENGTHS[kind], 0
        low, high = self._exponents[column] or (0, 0)
        digits = (high - low) // 32
        return (digits + 3, low) if kind == FLOAT_SUM else (2 * digits + 5, 2 * low)

    def _width(self) -> int:
        spans, terms = self._plan.spans, self._plan.terms
        return int(len(spans) * moving.CURSORS + terms[:, moving.LENGTH].sum())


def _carry_over(old: Plan, before: Table, new: Plan, after: Table) -> None:
    for s in range(len(old.spans)):
        a, b = int(old.spans[s, moving.PLACE]), int(new.spans[s, moving.PLACE])
        after[:, b : b + moving.CURSORS] = before[:, a : a + moving.CURSORS]
    for k in range(len(old.terms)):
        a, length, low = old.terms[k, moving.WORD : moving.LOW + 1].tolist()
        # Before the first value, there is nothing to carry, and no exponent that says where.
        if before[:, a : a + length].any():
            b = int(new.terms[k, moving.WORD]) + (low - int(new.terms[k, moving.LOW])) // 32
            after[:, b : b + length] = before[:, a : a + length]


def _table(rows: list[list[int]], columns: int) -> Table:
    return np.array(rows, dtype=np.int64).reshape(len(rows), columns)


def _doubled(array: np.ndarray, axis: int) -> np.ndarray:
    return np.concatenate((array, np.zeros_like(array)), axis=axis)
