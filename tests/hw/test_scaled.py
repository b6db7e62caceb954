"""Tests of `hw.floats.scaled` against the golden model."""

import numpy as np
import pytest
import torch

from hw.floats.scaled import scaled_to_float_steps
from hw.formats import FORMATS, FP32, NumberFormat
from sw.float_arithmetic import scaled_to_float
from tests.hw.steps import StepRunner


@pytest.mark.parametrize("stages", [0, 2])
@pytest.mark.parametrize(
    ("number_format", "integer_width", "exponent_width", "unit", "least"),
    [
        # Never subnormal, always, sometimes; short and long integers.
        (FP32, 30, 9, -140, 0),
        (FP32, 30, 10, -290, 0),
        (FP32, 5, 9, -160, 0),
        (FP32, 32, 1, 0, 0),
        (FP32, 45, 8, -170, 0),
        (FORMATS["fp16"], 20, 5, -40, 0),
        (FORMATS["bf16"], 9, 9, -300, 0),
        # Never below the last place but three.
        (FP32, 32, 9, -260, 108),
        (FP32, 27, 8, -152, 0),
        (FP32, 28, 10, -420, 268),
    ],
    ids=str,
)
def test_scaled_to_float(
    number_format: NumberFormat,
    integer_width: int,
    exponent_width: int,
    unit: int,
    least: int,
    stages: int,
) -> None:
    steps = scaled_to_float_steps(
        number_format,
        widths=(integer_width, exponent_width),
        unit=unit,
        least=least,
        result="y",
        count=1,
    )
    runner = StepRunner(
        steps,
        {
            "y_integer": (1, integer_width),
            "y_exponent": (1, exponent_width),
            **{f"y_{flag}": (1, 1) for flag in ("special", "nan", "minus")},
        },
        {"y": (1, number_format.width)},
        stages,
    )
    rng = np.random.default_rng(integer_width)
    count = 4000
    half = 1 << (integer_width - 1)
    # All magnitudes, the largest, ties.
    magnitudes = rng.integers(0, half, count) >> rng.integers(0, integer_width, count)
    integers = np.where(rng.integers(0, 2, count), magnitudes, -magnitudes)
    integers[:40] = np.resize([0, 1, -1, half - 1, -half, 1 - half], 40)
    exponents = rng.integers(least, 1 << exponent_width, count)
    special, nan, minus = (rng.integers(0, 2, count) * (rng.random(count) < 0.1) for _ in range(3))
    nan &= special
    found = runner(
        y_integer=(integers & (2 * half - 1))[:, None],
        y_exponent=exponents[:, None],
        y_special=special[:, None],
        y_nan=nan[:, None],
        y_minus=minus[:, None],
    )["y"][:, 0]
    expected = scaled_to_float(
        torch.from_numpy(integers), torch.from_numpy(exponents + unit), number_format
    ).numpy()
    infinity = number_format.overflow_key | minus << number_format.key_width
    expected = np.where(special, infinity, expected)
    expected = np.where(nan, number_format.quiet_nan, expected)
    wrong = np.flatnonzero(found != expected)
    shown = [(integers[k], exponents[k], hex(found[k]), hex(expected[k])) for k in wrong[:5]]
    assert not len(wrong), shown
    # The stimuli reach what they are for.
    assert (expected == infinity).any()
    assert (expected == 0).any()
