"""Tests of `sw.token_statistics` against Python's numbers."""

import math
import random

import pytest
import torch

from hw.config import UnitConfig
from hw.formats import FORMATS, FP32
from sw.codes import numbers_of
from sw.golden import unit_model
from tests.sw import naive


def statistics(
    config: UnitConfig, tokens: list[list[list[int]]], masks: list[list[list[int]]]
) -> dict[str, list[int]]:
    last = [[int(k == len(token) - 1)] for token in tokens for k in range(len(token))]
    outputs = unit_model(config)(
        {
            "data": torch.tensor([group for token in tokens for group in token]),
            "mask": torch.tensor([group for token in masks for group in token]),
            "last": torch.tensor(last),
        }
    )
    assert all(column.shape == (len(tokens), 1) for column in outputs.values())
    return {name: column.flatten().tolist() for name, column in outputs.items()}


def number(code: int) -> float:
    return float(torch.tensor(code - (code >> 31 << 32), dtype=torch.int32).view(torch.float32))


@pytest.mark.parametrize("dtype", FORMATS)
def test_against_python(dtype):
    rng = random.Random(dtype)
    m = 7
    config = UnitConfig(n=3, m=m, dtype=dtype, unit="statistics", align_bits=40)
    # No infinity in the result.
    finite = [
        code
        for code in range(1 << FORMATS[dtype].width)
        if naive.magnitude(code, dtype)[0] == 0
        and (dtype != "bf16" or 0x2000 < code & 0x7FFF < 0x5E00)
    ]
    tokens = [
        [[rng.choice(finite) for _ in range(m)] for _ in range(rng.randint(1, 5))]
        for _ in range(20)
    ]
    masks = [[[rng.randint(0, 1) for _ in group] for group in token] for token in tokens]
    found = statistics(config, tokens, masks)
    for k, (token, mask) in enumerate(zip(tokens, masks, strict=True)):
        codes = [code for group in token for code in group]
        bits = [bit for group in mask for bit in group]
        for prefix, scope in (
            ("", codes),
            ("kept_", [code for code, bit in zip(codes, bits, strict=True) if bit]),
        ):
            keys = [naive.key(code, dtype) for code in scope]
            assert found[f"{prefix}max"][k] == max(keys, default=0)
            if dtype.startswith("int"):
                values = [naive.signed(code, FORMATS[dtype].width) for code in scope]
                assert found[f"{prefix}sum"][k] == sum(values) % (1 << 32)
                assert found[f"{prefix}squares"][k] == sum(v * v for v in values)
                continue
            values = numbers_of(torch.tensor(scope, dtype=torch.int64), dtype).double().tolist()
            # Of a group a number loses less than 2**-39 of the largest one, kept or not.
            every = numbers_of(torch.tensor(codes), dtype).double().abs().max().item()
            for name, exact, largest in (
                ("sum", math.fsum(values), every),
                ("squares", math.fsum(v * v for v in values), every * every),
            ):
                bound = 2.0**-24 * abs(exact) + 2.0**-39 * len(codes) * largest
                assert abs(number(found[prefix + name][k]) - exact) <= bound


@pytest.mark.parametrize("bits", [16, 20])
def test_error_bound(bits):
    """The bound of the page, for numbers of many sizes, whose sums grow and cancel."""
    rng = random.Random(bits)
    m, largest_share = 4, 0.0
    config = UnitConfig(n=2, m=m, unit="statistics", align_bits=bits)
    for _ in range(60):
        groups = rng.randint(1, 30)
        spread, sign = rng.choice([0, 2, 12]), rng.choice([0, 0.5])
        values = [
            math.copysign(rng.uniform(1, 2), rng.random() - sign) * 2.0 ** rng.randint(-spread, 0)
            for _ in range(m * groups)
        ]
        exact = torch.tensor(values).bfloat16()
        codes = (exact.view(torch.int16).to(torch.int64) & 0xFFFF).view(groups, m).tolist()
        found = statistics(config, [codes], [[[1] * m] * groups])
        for name, numbers, factor in (
            ("sum", exact.double(), 2.0 ** (1 - bits)),
            ("squares", exact.double() ** 2, 2.0 ** (2 - bits)),
        ):
            total, on_the_way = (
                numbers.sum().item(),
                numbers.cumsum(0)[m - 1 :: m].abs().max().item(),
            )
            lost = (len(values) + 2 * groups) * factor
            lost *= max(numbers.abs().max().item(), on_the_way / m)
            error = abs(number(found[name][0]) - total)
            assert error <= lost + 2.0**-24 * abs(total)
            largest_share = max(largest_share, error / lost)
    # It is not far off.
    assert largest_share > 0.05


INFINITY, NAN, MINUS = FP32.overflow_key, FP32.quiet_nan, FP32.overflow_key | 1 << 31


@pytest.mark.parametrize(
    ("group", "mask", "expected"),
    [
        # One, minus one, two, minus zero; the first two are kept.
        ([0x3F80, 0xBF80, 0x4000, 0x8000], [1, 1, 0, 0], (2.0, 6.0, 0x4000, 0.0, 2.0, 0x3F80)),
        ([0, 0, 0, 0], [1, 0, 0, 1], (0.0, 0.0, 0, 0.0, 0.0, 0)),
        ([0x3F80, 0, 0, 0], [0, 0, 0, 0], (1.0, 1.0, 0x3F80, 0.0, 0.0, 0)),
        # The smallest subnormal: its square is nothing in fp32.
        ([1, 1, 0, 0], [1, 0, 0, 0], (2.0**-132, 0.0, 1, 2.0**-133, 0.0, 1)),
        ([0x7F80, 0, 0, 0], [0, 1, 0, 0], (INFINITY, INFINITY, 0x7F80, 0.0, 0.0, 0)),
        ([0xFF80, 0, 0, 0], [1, 0, 0, 0], (MINUS, INFINITY, 0x7F80, MINUS, INFINITY, 0x7F80)),
        ([0xFF80, 0x7F80, 0, 0], [1, 0, 0, 0], (NAN, INFINITY, 0x7F80, MINUS, INFINITY, 0x7F80)),
        ([0x7FC0, 0x7F80, 0, 0], [0, 1, 0, 0], (NAN, NAN, 0x7FC0, INFINITY, INFINITY, 0x7F80)),
        # The largest number four times: past the end of fp32.
        (
            [0x7F7F] * 4,
            [1, 0, 0, 0],
            (INFINITY, INFINITY, 0x7F7F, (2 - 2**-7) * 2.0**127, INFINITY, 0x7F7F),
        ),
    ],
)  # fmt: skip
def test_by_hand(group, mask, expected):
    config = UnitConfig(n=2, m=4, unit="statistics")
    found = statistics(config, [[group]], [[mask]])
    names = ("sum", "squares", "max", "kept_sum", "kept_squares", "kept_max")
    for name, value in zip(names, expected, strict=True):
        code = found[name][0]
        assert (number(code) if isinstance(value, float) else code) == value, name


def test_what_follows_the_last_token_belongs_to_none():
    config = UnitConfig(n=1, m=2, dtype="int8", unit="statistics")
    outputs = unit_model(config)(
        {
            "data": torch.tensor([[1, 2], [3, 4]]),
            "mask": torch.tensor([[1, 0], [1, 1]]),
            "last": torch.tensor([[1], [0]]),
        }
    )
    assert {name: column.tolist() for name, column in outputs.items()} == {
        "sum": [[3]], "squares": [[5]], "max": [[2]],
        "kept_sum": [[1]], "kept_squares": [[1]], "kept_max": [[1]],
    }  # fmt: skip
