from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.pipeline import place_cuts


def cost(levels: list[int], widths: list[int], cuts: tuple[int, ...]) -> tuple[int, int]:
    """Longest run of levels between registers, and register bits."""
    starts = [0, *(cut + 1 for cut in cuts)]
    ends = [*(cut + 1 for cut in cuts), len(levels)]
    longest = max(sum(levels[i:j]) for i, j in zip(starts, ends, strict=True))
    return longest, sum(widths[cut] for cut in cuts)


@st.composite
def problems(draw):
    size = draw(st.integers(1, 8))
    levels = draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))
    widths = draw(st.lists(st.integers(0, 20), min_size=size - 1, max_size=size - 1))
    return levels, widths, draw(st.integers(0, size - 1))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(problems())
def test_best_of_all_choices(problem):
    levels, widths, count = problem
    cuts = place_cuts(levels, widths, count)
    assert len(cuts) == count
    assert cuts == sorted(set(cuts))
    assert all(0 <= cut < len(levels) - 1 for cut in cuts)
    every = (cost(levels, widths, c) for c in combinations(range(len(levels) - 1), count))
    assert cost(levels, widths, tuple(cuts)) == min(every)


@pytest.mark.parametrize(
    ("levels", "widths", "count", "cuts"),
    [
        ([5], [], 0, []),
        ([1, 1, 1, 1], [9, 9, 9], 1, [1]),
        ([1, 1, 1, 1], [9, 9, 9], 3, [0, 1, 2]),
        # The longest step decides; among the rest, fewest bits.
        ([7, 1, 1, 1], [8, 2, 4], 1, [0]),
        ([1, 7, 1, 1], [8, 2, 4], 2, [0, 1]),
        # Equally short: fewest bits.
        ([0, 4, 0, 4], [1, 30, 20], 1, [2]),
        ([0, 0, 0], [3, 1], 1, [1]),
    ],
)
def test_worked_examples(levels, widths, count, cuts):
    assert place_cuts(levels, widths, count) == cuts
