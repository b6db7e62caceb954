"""The PE on every product of a slot: all pairs of int4, every mask, in every way to choose weights.

That the sums are those of the definition is computed here, apart from the golden model.
"""

from collections.abc import Callable
from itertools import combinations

import pytest

from hw.config import WEIGHT_SELECTS, UnitConfig
from sim.runner import BenchResult

pytestmark = pytest.mark.slow

LANES = list(combinations(range(4), 2))


def _signed(code: int) -> int:
    return code - 16 if code >= 8 else code


def _groups(slot: int) -> list[tuple[tuple[int, int], tuple[int, int], list[int]]]:
    """Lanes, values and weights: all pairs of factors in a slot; the rest differs everywhere."""
    groups = []
    for number, (lanes, first, second) in enumerate(
        (lanes, first, second) for lanes in LANES for first in range(16) for second in range(16)
    ):
        other = (7 * number + 3) % 16
        weights = [(5 * number + 11 * lane + 1) % 16 for lane in range(4)]
        weights[lanes[slot]] = second
        values = (first, other) if slot == 0 else (other, first)
        groups.append((lanes, values, weights))
    return groups


def _packed(codes: list[int]) -> int:
    return sum(code << 4 * place for place, code in enumerate(codes))


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("weight_select", WEIGHT_SELECTS)
def test_every_product(weight_select: str, slot: int, bench: Callable[..., BenchResult]) -> None:
    """Every group is a reduction of its own."""
    config = UnitConfig(
        n=2, m=4, unit="pe", dtype="int4", acc_width=10, weight_select=weight_select
    )
    groups = _groups(slot)
    bitmaps = [sum(1 << lane for lane in lanes) for lanes, _, _ in groups]
    values = [_packed(list(pair)) for _, pair, _ in groups]
    last = [1] * len(groups)
    if weight_select == "gather":
        asked = [_packed([weights[lane] for lane in lanes]) for lanes, _, weights in groups]
        given = {
            "i": list(zip(values, bitmaps, last, strict=True)),
            "i_weights": [(row,) for row in asked],
        }
    else:
        rows = [_packed(weights) for _, _, weights in groups]
        given = {"i": list(zip(values, bitmaps, rows, last, strict=True))}
    result = bench(config, given=given, tests="without_stalls")
    expected = [
        sum(
            _signed(value) * _signed(weights[lane]) for value, lane in zip(pair, lanes, strict=True)
        )
        for lanes, pair, weights in groups
    ]
    sums = [tuple(word) for word in result.outputs["without_stalls"]["o"]]
    assert sums == [(total % (1 << 10), 0) for total in expected]
