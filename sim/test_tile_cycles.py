"""Matrices through the emitted tile: as many cycles as `sim.tile_cost` says, and the right sums."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hw.config import UnitConfig
from sim.bench.plan import Transfers
from sim.model_shapes import Linear
from sim.runner import BenchResult
from sim.tile_cost import matrix_cycles

pytestmark = pytest.mark.slow

Matrix = list[list[int]]


def tile(n: int, m: int, **options: Any) -> UnitConfig:
    return UnitConfig(n=n, m=m, unit="tile", **{"dtype": "int4", **options})


def random_matrix(rows: int, columns: int, seed: int) -> Matrix:
    """Numbers of four bits; magnitudes are often equal."""
    rng = random.Random(seed)
    return [[rng.randrange(-8, 8) for _ in range(columns)] for _ in range(rows)]


def word(numbers: list[int], width: int) -> int:
    """Side by side, the first in the lowest bits."""
    return sum((number % (1 << width)) << width * place for place, number in enumerate(numbers))


def block(matrix: Matrix, first: int, rows: int, group: int, m: int) -> list[int]:
    """One group of some rows, row after row; zeros where the matrix has ended."""
    return [
        matrix[row][lane] if row < len(matrix) and lane < len(matrix[0]) else 0
        for row in range(first, first + rows)
        for lane in range(group * m, group * m + m)
    ]


def steps(config: UnitConfig, tokens: Matrix, weights: Matrix) -> Transfers:
    """The transfers of a matrix: columns' worth after columns' worth for each rows' worth."""
    rows, cols, m, width = config.rows, config.cols, config.m, config.format.width
    groups = range(-(-len(tokens[0]) // m))
    places = [
        (top, left, group)
        for top in range(0, len(tokens), rows)
        for left in range(0, len(weights), cols)
        for group in groups
    ]
    return {
        "i": [
            (word(block(tokens, top, rows, group, m), width), int(group == groups[-1]))
            for top, _, group in places
        ],
        "w": [(word(block(weights, left, cols, group, m), width),) for _, left, group in places],
    }


def kept(token: list[int], n: int, m: int) -> list[int]:
    """A token with all but the n largest magnitudes of each m put to 0, ties to the lower lane."""
    result = []
    for start in range(0, len(token), m):
        group = token[start : start + m]
        order = sorted(range(len(group)), key=lambda lane: (-abs(group[lane]), lane))
        result += [number if lane in order[:n] else 0 for lane, number in enumerate(group)]
    return result


def sums(
    config: UnitConfig, results: Sequence[tuple[int, ...]], outputs: int, tokens: int
) -> Matrix:
    """The matrix that the results of all reductions are parts of."""
    product = [[0] * outputs for _ in range(tokens)]
    places = [
        (top, left)
        for top in range(0, tokens, config.rows)
        for left in range(0, outputs, config.cols)
    ]
    for (top, left), (sum_word, _) in zip(places, results, strict=True):
        for row in range(config.rows):
            for column in range(config.cols):
                bits = sum_word >> 32 * (row * config.cols + column) & 0xFFFFFFFF
                number = bits - (bits >> 31 << 32)
                if top + row < tokens and left + column < outputs:
                    product[top + row][left + column] = number
                else:
                    assert number == 0
    return product


@pytest.mark.parametrize(
    ("config", "tokens", "inputs", "outputs", "cycles"),
    [
        # Tokens' rows, columns of outputs, groups; the latency.
        (tile(2, 4, rows=2, cols=3), 5, 10, 7, 3 * 3 * 3 + 3),
        (tile(2, 4, rows=2, cols=3, pipeline=2, metadata="enumerative"), 5, 10, 7, 3 * 3 * 3 + 5),
        (tile(4, 4, rows=2, cols=3), 5, 10, 7, 3 * 3 * 3 + 3),
        (tile(4, 4, rows=2, cols=3, pipeline=2), 5, 10, 7, 3 * 3 * 3 + 4),
        (tile(2, 4, rows=2, cols=2), 4, 8, 4, 2 * 2 * 2 + 3),
        (tile(1, 2, rows=1, cols=1), 1, 1, 1, 1 + 3),
        (tile(4, 8, rows=3, cols=2, metadata="index"), 1, 25, 3, 1 * 2 * 4 + 3),
        (
            tile(3, 5, rows=4, cols=1, pipeline=3, metadata="bitmap-implied"),
            9,
            11,
            2,
            3 * 2 * 3 + 7,
        ),
    ],
    ids=lambda value: value.top if isinstance(value, UnitConfig) else str(value),
)
def test_cycles(
    config: UnitConfig,
    tokens: int,
    inputs: int,
    outputs: int,
    cycles: int,
    bench: Callable[..., BenchResult],
) -> None:
    x, w = random_matrix(tokens, inputs, 1), random_matrix(outputs, inputs, 2)
    result = bench(config, given=steps(config, x, w), tests="without_stalls")
    # Simulated, by the function, by hand.
    assert result.spans["without_stalls"] == cycles
    assert matrix_cycles(config, Linear("q", inputs, outputs), tokens) == cycles
    left = [kept(token, config.n, config.m) for token in x]
    assert sums(config, result.outputs["without_stalls"]["o"], outputs, tokens) == [
        [sum(a * b for a, b in zip(token, column, strict=True)) for column in w] for token in left
    ]


@pytest.mark.parametrize(("n", "stages", "latency"), [(2, 1, 3), (2, 6, 13), (4, 6, 8)])
def test_cycles_of_floats(
    n: int, stages: int, latency: int, bench: Callable[..., BenchResult]
) -> None:
    """As of integers; that the sums are right is the golden model's business."""
    config = tile(n, 4, dtype="fp8_e5m2", rows=1, cols=2, pipeline=stages)
    given = steps(config, random_matrix(2, 10, 3), random_matrix(5, 10, 4))
    result = bench(config, given=given, tests="without_stalls")
    assert result.spans["without_stalls"] == 2 * 3 * 3 + latency
    assert matrix_cycles(config, Linear("q", 10, 5), 2) == 2 * 3 * 3 + latency


def test_stalls_take_longer(bench: Callable[..., BenchResult]) -> None:
    """The count is of what happened, not of what should."""
    config = tile(2, 4, rows=2, cols=3)
    given = steps(config, random_matrix(5, 10, 1), random_matrix(7, 10, 2))
    result = bench(config, given=given, tests="with_stalls/side=input")
    assert result.spans["stalls_input"] > matrix_cycles(config, Linear("q", 10, 7), 5)
