"""Tests of `sw.token_correction`: PyTorch's fp32, fractions, and the error of the whole."""

import math
import types
from fractions import Fraction

import numpy as np
import pytest
import torch

import sw.token_correction
from hw.config import STATISTICS_WIDTHS, UnitConfig
from sim.token_stimuli import correction_stimuli
from sw.codes import codes_of, numbers_of
from sw.golden import unit_model
from tests.mutant import mutant
from tests.sw.exact_floats import FLOATS, add, divide, is_nan, multiply, rounded, square_root, value

FP32 = FLOATS["fp32"]
NAMES = {"sum": "total", "squares": "squares", "kept_sum": "kept_total"}
Codes = dict[str, torch.Tensor]


def config_of(dtype: str) -> UnitConfig:
    return UnitConfig(n=8, m=16, unit="correction", dtype=dtype)


def tokens_of(dtype: str, count: int) -> Codes:
    generator = torch.Generator().manual_seed(count)
    kinds = [
        correction_stimuli(config_of(dtype), kind, count, generator, None)
        for kind in ("random", "ties", "corners")
    ]
    return {name: torch.cat([kind[name] for kind in kinds]) for name in kinds[0]}


def corrected(
    dtype: str, tokens: Codes, module: types.ModuleType = sw.token_correction
) -> tuple[torch.Tensor, torch.Tensor]:
    given = {NAMES.get(name, name): codes for name, codes in tokens.items()}
    ratio, mean = module.token_correction(config_of(dtype), **given)
    return ratio, mean


def in_torch(dtype: str, tokens: Codes) -> tuple[torch.Tensor, torch.Tensor]:
    """The formulas, operation after operation on fp32 tensors."""

    def number(name: str) -> torch.Tensor:
        codes, integer = tokens[name], dtype.startswith("int")
        if not integer:
            return numbers_of(codes, "fp32")
        if name.endswith("sum"):
            codes = torch.where(codes >= 1 << 31, codes - (1 << 32), codes)
        return codes.float()

    count = tokens["features"].float()
    s1, s2 = number("sum"), number("squares")
    kept_s1, kept_s2 = number("kept_sum"), number("kept_squares")
    others = (tokens["features"] - 1).clamp(min=1).float()
    floor = (count * others) * torch.tensor(1e-9)
    above = torch.maximum(count * s2 - s1 * s1, torch.tensor(0.0))
    below = torch.maximum(count * kept_s2 - kept_s1 * kept_s1, floor)
    # The root of PyTorch is not always the nearest number.
    return torch.from_numpy(np.sqrt((above / below).numpy())), s1 / count


def same(codes: torch.Tensor, numbers: torch.Tensor) -> bool:
    """Bit for bit, every NaN the canonical one; -0 is 0, which are no two results here."""
    expected = torch.where(numbers.isnan(), FP32.quiet_nan, codes_of(numbers, "fp32"))
    return torch.equal(codes, expected)


def agrees(dtype: str, module: types.ModuleType = sw.token_correction) -> bool:
    tokens = tokens_of(dtype, 4000)
    return all(map(same, corrected(dtype, tokens, module), in_torch(dtype, tokens)))


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_against_torch(dtype: str) -> None:
    assert agrees(dtype)


BUGS = [
    ("(features - 1).clamp(min=1)", "features"),
    ("(features - 1).clamp(min=1)", "(features - 1)"),
    ("maximum(_spread(count, s1, s2), torch.zeros_like(count), FP32)", "_spread(count, s1, s2)"),
    ("multiply(pairs, least, FP32)", "multiply(count, least, FP32)"),
    ("divide(above, below, FP32), FP32)", "divide(below, above, FP32), FP32)"),
    ("divide(s1, count, FP32)", "divide(kept_s1, count, FP32)"),
    ("multiply(total, total, FP32)", "multiply(total, count, FP32)"),
]


@pytest.mark.parametrize(("old", "new"), BUGS)
def test_bugs_are_found(old: str, new: str) -> None:
    assert not agrees("bf16", mutant(sw.token_correction, old, new))


def test_unit_model_has_the_names_of_the_ports() -> None:
    tokens = tokens_of("bf16", 50)
    ratio, mean = corrected("bf16", tokens)
    found = unit_model(config_of("bf16"))(tokens)
    assert list(found) == ["ratio", "mean"]
    assert torch.equal(found["ratio"], ratio)
    assert torch.equal(found["mean"], mean)


def test_against_fractions() -> None:
    tokens = tokens_of("bf16", 100)
    ratio, mean = corrected("bf16", tokens)
    columns = [tokens[name].flatten().tolist() for name in tokens]
    least = rounded(Fraction(1e-9), FP32, negative_zero=False)
    for k, (s1, s2, kept_s1, kept_s2, features) in enumerate(zip(*columns, strict=True)):
        count, others = (
            rounded(Fraction(n), FP32, negative_zero=False)
            for n in (features, max(features - 1, 1))
        )
        floor = multiply(multiply(count, others, FP32), least, FP32)

        def larger(a: int, b: int) -> int:
            if is_nan(a, FP32):
                return FP32.quiet_nan
            if a & 0x7FFFFFFF == 0x7F800000:
                return b if a >> 31 else a
            return a if value(a, FP32) > value(b, FP32) else b

        n, d = (
            larger(
                add(multiply(count, squares, FP32), multiply(s, s, FP32) ^ 1 << 31, FP32), least_
            )
            for s, squares, least_ in ((s1, s2, 0), (kept_s1, kept_s2, floor))
        )
        assert ratio[k].item() == square_root(divide(n, d, FP32), FP32), k
        assert mean[k].item() == divide(s1, count, FP32), k


@pytest.mark.parametrize(
    ("features", "statistics", "ratio", "mean"),
    [
        # -1, 3, -3, 1: squares 20, of the two that are kept 18.
        (4, (0, 20, 0, 18), math.sqrt(20 / 18), 0),
        # Nothing but zeros, and equal numbers: no variance to restore.
        (4, (0, 0, 0, 0), 0, 0),
        (4, (20, 100, 10, 50), 0, 5),
        # What is kept is all the same: the floor counts, 1e-9 * 4 * 3.
        (4, (0, 12, 0, 0), math.sqrt(12 * 4 / 1.2e-8), 0),
        # One activation.
        (1, (7, 49, 7, 49), 0, 7),
    ],
)
@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_by_hand(
    dtype: str, features: int, statistics: tuple[int, ...], ratio: float, mean: float
) -> None:
    names = ("sum", "squares", "kept_sum", "kept_squares")
    columns = dict(zip(names, (torch.tensor([[number]]) for number in statistics), strict=True))
    if dtype == "bf16":
        columns = {name: codes_of(column.float(), "fp32") for name, column in columns.items()}
    found = corrected(dtype, {**columns, "features": torch.tensor([[features]])})
    numbers = [numbers_of(codes, "fp32").item() for codes in found]
    assert numbers == pytest.approx([ratio, mean], rel=1e-6)


def test_error_bound() -> None:
    """The bound of the page, with integer statistics, which are exact."""
    generator = torch.Generator().manual_seed(7)
    u = 2.0**-24
    sums: list[list[int]] = []
    for features in torch.randint(2, 1 << 12, (300,), generator=generator).tolist():
        spread, offset = torch.randint(1, 100, (2,), generator=generator).tolist()
        x = (torch.randn(features, generator=generator) * spread).round().long() + offset - 50
        kept = torch.where(x.abs() >= x.abs().median(), x, 0)
        row = [features, *(int(s) for y in (x, kept) for s in (y.sum(), (y * y).sum()))]
        if all(features * s2 > s1 * s1 for s1, s2 in (row[1:3], row[3:])):
            sums.append(row)
    widths = (64, *2 * STATISTICS_WIDTHS)
    codes = [
        torch.tensor([[s & ((1 << width) - 1)] for s in column])
        for column, width in zip(zip(*sums, strict=True), widths, strict=True)
    ]
    names = ("features", "sum", "squares", "kept_sum", "kept_squares")
    found = corrected("int8", dict(zip(names, codes, strict=True)))
    ratios, means = (numbers_of(column, "fp32").flatten().tolist() for column in found)
    shares = []
    for (features, *row), ratio, mean in zip(sums, ratios, means, strict=True):
        products = [(features * s2, s1 * s1) for s1, s2 in (row[:2], row[2:])]
        n, d = (first - second for first, second in products)
        # How much is cancelled.
        kappas = [(first + second) / (first - second) for first, second in products]
        # Before the difference 2 roundings of one product and 3 of the other, 1 in the difference,
        # of both numbers, halved by the root; 1 of the quotient, halved; 1 of the root.
        bound = (1.25 * sum(kappas) + 2.5) * u
        shares.append(abs(ratio / math.sqrt(n / d) - 1) / bound)
        assert abs(mean * features - row[0]) <= 2.001 * u * abs(row[0])
    assert max(shares) <= 1.001
    # It is not far off.
    assert max(shares) > 0.3
