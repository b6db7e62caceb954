"""Cycles, bytes and energy of a matrix, counted by hand."""

import random
from fractions import Fraction
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch

from hw.config import UnitConfig
from hw.formats import FORMATS
from sim.model_shapes import Linear
from sim.tile_cost import (
    Cost,
    Energies,
    System,
    kept_share,
    matrix_cost,
    matrix_cycles,
    multiplication_energy,
)
from sw.activations import read_activations
from sw.codes import codes_of, magnitude_keys
from sw.errors import InputError
from sw.groups import to_groups
from sw.sample import SAMPLE
from sw.selection import select


def tile(n: int, m: int, **options: Any) -> UnitConfig:
    return UnitConfig(n=n, m=m, unit="tile", **{"dtype": "int8", "rows": 2, "cols": 2, **options})


#: 2:4 in the fewest bits: 2 values of 8 bits and 3 bits a group.
SPARSE = tile(2, 4, metadata="enumerative")

#: Three groups of four lanes.
LINEAR = Linear("gate", 12, 4)


@pytest.mark.parametrize(
    ("n", "stages", "latency"), [(2, 1, 3), (2, 2, 5), (4, 1, 3), (4, 2, 4), (2, 8, 17)]
)
def test_cycles(n: int, stages: int, latency: int) -> None:
    """3 rows' worth of tokens, 3 columns' worth of outputs, 3 groups: 27 steps."""
    config = tile(n, 4, rows=2, cols=3, pipeline=stages)
    assert matrix_cycles(config, Linear("q", 10, 7), 5) == 27 + latency


@pytest.mark.parametrize(
    ("linear", "tokens", "message"),
    [
        (LINEAR, 0, "tokens must be at least 1, not 0"),
        (Linear("q", 0, 4), 3, "inputs must be at least 1, not 0"),
        (Linear("q", 4, -1), 3, "outputs must be at least 1, not -1"),
    ],
)
def test_nothing(linear: Linear, tokens: int, message: str) -> None:
    with pytest.raises(InputError) as error:
        matrix_cycles(SPARSE, linear, tokens)
    assert str(error.value) == message


# Bytes: a packed token has 3 * 19 bits, 8 bytes; dense 12.  All weights have 48.


@pytest.mark.parametrize(
    ("buffer", "activations", "weights"),
    [
        # Neither two tokens nor two columns of 12 bytes fit: 2 passes over the 3 tokens, and the
        # weights for 2 tokens and for the third.
        (15, 2 * 24, 2 * 48),
        # Two tokens stay.
        (16, 24, 2 * 48),
        # Two columns stay, which is less than with two tokens.
        (24, 2 * 24, 48),
        # Four tokens would fit.
        (32, 24, 48),
    ],
)
def test_buffer(buffer: int, activations: int, weights: int) -> None:
    cost = matrix_cost(SPARSE, LINEAR, 3, System(buffer=buffer))
    assert cost == Cost(
        cycles=2 * 2 * 3 + 3,
        multiplications=3 * 4 * 6,
        activation_bytes=activations,
        weight_bytes=weights,
        result_bytes=3 * 4 * 4,
        tile_bytes=2 * 24 + 2 * 48 + 48,
    )
    assert cost.memory_bytes == activations + weights + 48


@pytest.mark.parametrize(
    ("config", "system", "token", "weights", "results"),
    [
        (SPARSE, System(), 8, 48, 48),
        (tile(2, 4, metadata="index"), System(), 8, 48, 48),
        # 3 * (2 * 16 + 3) bits.
        (tile(2, 4, metadata="enumerative", dtype="bf16"), System(), 14, 96, 48),
        (tile(2, 4, metadata="bitmap", dtype="bf16"), System(), 14, 96, 48),
        # One group of 32 lanes, of which 12 are there: 16 * 8 + 30 bits, 16 * 8 + 16 * 5.
        (tile(16, 32, metadata="enumerative"), System(), 20, 48, 48),
        (tile(16, 32, metadata="index"), System(), 26, 48, 48),
        (SPARSE, System(packed=False), 12, 48, 48),
        (tile(4, 4), System(), 12, 48, 48),
        (tile(2, 4, metadata="enumerative", weight_dtype="int4"), System(), 8, 24, 48),
        (SPARSE, System(result_width=8), 8, 48, 12),
        # 3 * 4 * 5 bits.
        (SPARSE, System(result_width=5), 8, 48, 8),
    ],
)
def test_widths(config: UnitConfig, system: System, token: int, weights: int, results: int) -> None:
    cost = matrix_cost(config, LINEAR, 3, system)
    sizes = (cost.activation_bytes, cost.weight_bytes, cost.result_bytes)
    assert sizes == (3 * token, weights, results)


@pytest.mark.parametrize(
    ("n", "inputs", "tokens", "weights"),
    [
        # Two rows of each group, of 4 outputs.
        (2, 12, 1, 6 * 4),
        # The last group has three lanes, two, and one.
        (2, 11, 1, 6 * 4),
        (2, 10, 1, 6 * 4),
        (2, 9, 1, 5 * 4),
        (2, 12, 2, 9 * 4),
        # 3 * 4 * 7/8 rows.
        (2, 12, 3, 42),
        (1, 12, 1, 3 * 4),
        (4, 12, 1, 48),
    ],
)
def test_rows_of_kept_lanes(n: int, inputs: int, tokens: int, weights: int) -> None:
    linear = Linear("down", inputs, 4)
    cost = matrix_cost(tile(n, 4), linear, tokens, System(gather=True))
    assert cost.weight_bytes == weights


def test_rows_of_kept_lanes_of_each_block() -> None:
    """Two tokens share what is read for both; the third has rows of its own."""
    cost = matrix_cost(SPARSE, Linear("up", 12, 8), 3, System(gather=True, buffer=16))
    assert (cost.activation_bytes, cost.weight_bytes) == (24, 9 * 8 + 6 * 8)


@pytest.mark.parametrize(("n", "m", "tokens"), [(2, 4, 2), (1, 3, 3), (2, 5, 2), (3, 4, 1)])
def test_share_of_kept_lanes(n: int, m: int, tokens: int) -> None:
    """The mean over all masks of all tokens."""
    masks = list(combinations(range(m), n))
    kept = [len(set().union(*chosen)) for chosen in product(masks, repeat=tokens)]
    assert kept_share(tile(n, m), tokens) == Fraction(sum(kept), len(kept) * m)


def test_share_of_kept_lanes_in_real_text() -> None:
    """The numbers of the documentation; tokens of one text agree more than by chance."""
    activations = read_activations(SAMPLE)
    shares = []
    for tokens in (2, 4, 8):
        lanes = kept = 0
        for tensor in activations.tensors.values():
            groups = to_groups(codes_of(tensor.to(torch.bfloat16), "bf16"), 16)
            mask = select(magnitude_keys(groups, FORMATS["bf16"]), 8)
            some = mask.reshape(len(mask) // tokens, tokens, *mask.shape[1:]).any(1)
            lanes, kept = lanes + some.numel(), kept + int(some.sum())
        assert 0.5 < kept / lanes < kept_share(tile(8, 16), tokens)
        shares.append(f"{kept / lanes:.3f}")
    page = (Path(__file__).parents[1] / "docs" / "tile_model.md").read_text()
    assert f"| measured, 8:16 | 0.500 | {' | '.join(shares)} |" in page


def walked(config: UnitConfig, linear: Linear, tokens: int, buffer: int) -> int:
    """Bytes that are read, by walking from block to block: each reads its tokens and columns.

    In the best of three orders: blocks of what the tile takes, of as many tokens as fit times all
    columns, and of all tokens times as many columns as fit.
    """
    token = -(-(-(-linear.inputs // config.m) * (config.n * 8 + 4)) // 8)
    column = linear.inputs

    def fitting(size: int, step: int) -> int:
        return max(count for count in range(0, 10_000, step) if count * size <= buffer)

    blocks = [
        (config.rows, config.cols),
        (fitting(token, config.rows), linear.outputs),
        (tokens, fitting(column, config.cols)),
    ]
    return min(
        sum(
            min(height, tokens - top) * token + min(width, linear.outputs - left) * column
            for top in range(0, tokens, height)
            for left in range(0, linear.outputs, width)
        )
        for height, width in blocks
        if height and width
    )


def test_blocks_one_by_one() -> None:
    rng = random.Random(6)
    config = tile(2, 4, metadata="bitmap", rows=3, cols=4)
    orders = set()
    for _ in range(300):
        linear = Linear("up", rng.randrange(1, 40), rng.randrange(1, 40))
        tokens, buffer = rng.randrange(1, 20), rng.choice((1, 50, 100, 200, 400, 2000))
        cost = matrix_cost(config, linear, tokens, System(buffer=buffer))
        read = cost.activation_bytes + cost.weight_bytes
        assert read == walked(config, linear, tokens, buffer)
        once = linear.inputs * linear.outputs
        orders.add((cost.weight_bytes == once, read == cost.tile_bytes - cost.result_bytes))
    # Weights once and more than once, something kept and nothing.
    assert len(orders) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buffer": 0}, "buffer must be at least 1, not 0"),
        ({"result_width": 0}, "result-width must be at least 1, not 0"),
    ],
)
def test_wrong_system(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError) as error:
        System(**options)  # type: ignore[arg-type]
    assert str(error.value) == message


# Energy


def test_energy() -> None:
    cost = Cost(
        cycles=7, multiplications=100, activation_bytes=1, weight_bytes=2, result_bytes=3,
        tile_bytes=10,
    )  # fmt: skip
    energies = Energies(multiplication=2, selection=0.5, buffer=0.25, memory=4)
    # 6 bytes of memory, and 16 that go through the buffer.
    assert cost.energy(energies, is_sparse=False) == 200 + 128 * 0.25 + 48 * 4
    assert cost.energy(energies, is_sparse=True) == 300 + 128 * 0.25 + 48 * 4


def test_published_energies() -> None:
    assert multiplication_energy(tile(2, 4)) == pytest.approx(0.3)
    assert multiplication_energy(tile(2, 4, dtype="bf16")) == pytest.approx(2.0)
    usual = Energies(multiplication=1)
    # Of 64 bits.
    assert (64 * usual.buffer, 64 * usual.memory) == (100, 1300)


@pytest.mark.parametrize(
    ("options", "formats"),
    [
        ({"dtype": "int4"}, "int4 by int4"),
        ({"weight_dtype": "int4"}, "int8 by int4"),
    ],
)
def test_no_published_energy(options: dict[str, str], formats: str) -> None:
    with pytest.raises(InputError) as error:
        multiplication_energy(tile(2, 4, **options))
    assert str(error.value) == (
        "multiplication energy must be given for formats other than two equal ones of int8, fp16,"
        f" bf16, not {formats}"
    )


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["multiplication", "selection", "buffer", "memory"])
def test_wrong_energy(name: str, value: float) -> None:
    with pytest.raises(InputError) as error:
        Energies(**{"multiplication": 1.0, name: value})
    assert str(error.value) == f"{name} energy must be at least 0, not {value:g}"


def test_sum() -> None:
    assert Cost(1, 2, 3, 4, 5, 6) + Cost(10, 20, 30, 40, 50, 60) == Cost(11, 22, 33, 44, 55, 66)
