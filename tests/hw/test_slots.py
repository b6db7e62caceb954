"""Choosing elements for slots: in one level and in two, whatever is kept."""

import random
from itertools import combinations
from math import comb

import numpy as np
import pytest
from amaranth.hdl import Module

from hw.logic import named
from hw.pipeline import Bundle, Step
from hw.slots import gather, gather_by_residue, kept_lanes
from tests.hw.steps import StepRunner

PATTERNS = [(1, 2), (2, 4), (3, 7), (1, 9), (7, 9), (6, 12), (16, 32), (5, 5)]


def masks(n: int, m: int) -> list[tuple[int, ...]]:
    """Lanes kept: all choices where they are few, else those of both ends and random ones."""
    if comb(m, n) <= 1000:
        return list(combinations(range(m), n))
    chosen = random.Random(n)
    ends = [tuple(range(n)), tuple(range(m - n, m))]
    return ends + [tuple(sorted(chosen.sample(range(m), n))) for _ in range(500)]


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
    select = np.zeros((len(lanes), n * window), dtype=np.int64)
    for slot in range(n):
        select[np.arange(len(lanes)), slot * window + lanes[:, slot] - slot] = 1
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
