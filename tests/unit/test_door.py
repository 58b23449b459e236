"""Every door, by random schemas and values: equal, or refused with its line; alone as among others."""

from __future__ import annotations

import random

import pytest

from tests.door_fuzz import DOORS, alone_or_together, through_a_door

ROUNDS = (1, 2, 40, 150)


@pytest.fixture
def rng() -> random.Random:
    """Other values in each run; a failure shows its seed."""
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.parametrize("door", DOORS)
def test_what_goes_through_a_door_comes_back_equal_or_is_refused_with_its_line(rng: random.Random, door: str) -> None:
    for count in ROUNDS:
        assert through_a_door(rng, door, count) > 0


@pytest.mark.parametrize("form", ["csv", "json", "columns"])
def test_a_batch_is_taken_as_each_of_its_rows_is_alone(rng: random.Random, form: str) -> None:
    for count in ROUNDS * 3:
        assert alone_or_together(rng, form, count) > 0
