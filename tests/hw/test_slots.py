"""Choosing elements for slots: in one level and in two, whatever is kept."""

import random
from itertools import combinations
from math import comb

import numpy as np
import pytest
from amaranth.hdl import Module

from hw.logic import named
from hw.pipeline import Bundle, Step
from hw.slots import ResidueGather, gather, gather_by_residue, kept_lanes, meetings
from tests.hw.steps import StepRunner

PATTERNS = [(1, 2), (2, 4), (3, 7), (1, 9), (7, 9), (6, 12), (16, 32), (5, 5)]


def masks(n: int, m: int) -> list[tuple[int, ...]]:
    """Lanes kept: all choices where they are few, else those of both ends and random ones."""
    if comb(m, n) <= 1000:
        return list(combinations(range(m), n))
    chosen = random.Random(n)
    ends = [tuple(range(n)), tuple(range(m - n, m))]
    return ends + [tuple(sorted(chosen.sample(range(m), n))) for _ in range(500)]


def select_of(lanes: np.ndarray, m: int) -> np.ndarray:
    """One bit of each slot's window is 1; rows of kept lanes."""
    count, n = lanes.shape
    window = m - n + 1
    select = np.zeros((count, n * window), dtype=np.int64)
    for slot in range(n):
        select[np.arange(count), slot * window + lanes[:, slot] - slot] = 1
    return select


def outcome(n: int, m: int, radix: int | None) -> None:
    """Check all outputs of a choice."""

    def compute(module: Module, bundle: Bundle) -> Bundle:
        select, elements = bundle["select"], bundle["elements"]
        if radix is None:
            found = gather(select, elements, n)
        else:
            found = gather_by_residue(module, select, elements, n, radix)
        kept = kept_lanes(select, n, m)
        return {
            "found": [named(module, f"found{k}", value) for k, value in enumerate(found)],
            "kept": [named(module, f"kept{lane}", bit) for lane, bit in enumerate(kept)],
        }

    window = m - n + 1
    runner = StepRunner(
        [Step(compute, {"found": 8 * n, "kept": m}, ("select", "elements"))],
        {"select": (n * window, 1), "elements": (m, 8)},
        {"found": (n, 8), "kept": (m, 1)},
    )
    lanes = np.array(masks(n, m))
    select = select_of(lanes, m)
    elements = np.random.default_rng(m).integers(0, 256, (len(lanes), m))
    outputs = runner(select=select, elements=elements)
    assert np.array_equal(outputs["found"], np.take_along_axis(elements, lanes, 1))
    kept = [[int(lane in row) for lane in range(m)] for row in lanes.tolist()]
    assert outputs["kept"].tolist() == kept


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_one_level(n, m):
    outcome(n, m, None)


@pytest.mark.parametrize(("n", "m"), PATTERNS)
@pytest.mark.parametrize("radix", [2, 3, 6])
def test_two_levels(n, m, radix):
    outcome(n, m, radix)


@pytest.mark.parametrize(("first", "second", "m"), [(2, 2, 4), (1, 3, 5), (3, 5, 7), (6, 6, 12)])
def test_meetings(first, second, m):
    """Slots of two masks meet where both stand for one lane."""

    def compute(module: Module, bundle: Bundle) -> Bundle:
        return {"meeting": meetings(module, bundle["first"], bundle["second"], first, second)}

    sizes = {"first": first * (m - first + 1), "second": second * (m - second + 1)}
    runner = StepRunner(
        [Step(compute, {"meeting": first * second}, tuple(sizes))],
        {name: (size, 1) for name, size in sizes.items()},
        {"meeting": (first * second, 1)},
    )
    chosen = random.Random(m)
    pairs = [(chosen.choice(masks(first, m)), chosen.choice(masks(second, m))) for _ in range(300)]
    ones, others = (np.array(side) for side in zip(*pairs, strict=True))
    outputs = runner(first=select_of(ones, m), second=select_of(others, m))
    expected = [[int(a == b) for a in own for b in other] for own, other in pairs]
    assert outputs["meeting"].tolist() == expected
    assert 0 < np.mean(expected) < 1


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_as_many_levels_as_are_smallest(n, m):
    """A radix as large as the window is one level: its products are those of `gather`."""
    window = m - n + 1
    products = [ResidueGather(n=n, m=m, radix=radix).products for radix in range(1, window + 1)]
    assert products[-1] == n * window
    assert ResidueGather.smallest(n=n, m=m).products == min(products)


@pytest.mark.parametrize(
    ("n", "m", "products"),
    [
        # One level: 2 slots of 3 lanes, 4 of 5.
        (2, 4, 6),
        (4, 8, 20),
        # 14 places of 3 lanes, then 8 slots of 3 places.
        (8, 16, 42 + 24),
        # 31 of 3, less one lane that is not there, then 16 of 6.
        (16, 32, 31 * 3 - 3 + 96),
    ],
)
def test_products(n, m, products):
    assert ResidueGather.smallest(n=n, m=m).products == products
