"""The shift of activations against the golden model, in all number formats."""

import numpy as np
import pytest
import torch

from hw.formats import FORMATS
from hw.shift import shift_steps
from sw.float_arithmetic import subtract_shift
from tests.hw.steps import StepRunner, check_widths
from tests.sw import naive
from tests.sw.exact_floats import FLOATS, pairs

pytest.importorskip("pyosys")

LANES = 3


def runner(dtype: str, *, shifts: int, stages: int = 0) -> StepRunner:
    width = FORMATS[dtype].width
    data, shift = {"data": (LANES, width)}, {"shift": (shifts, width)}
    steps = shift_steps(FORMATS[dtype], lanes=LANES)
    return StepRunner(steps, data | shift, data, stages)


def operands(dtype: str, shifts: int) -> tuple[np.ndarray, np.ndarray]:
    """Data and shifts in groups, half of them awkward."""
    number_format = FORMATS[dtype]
    rng = np.random.default_rng(number_format.width)
    if dtype in FLOATS:
        grid = np.array(pairs(number_format, 3000, seed=3))
        rng.shuffle(grid)
        grid = grid[: len(grid) // LANES * LANES].reshape(-1, LANES, 2)
        return grid[..., 0], grid[..., 1][:, :shifts]
    data = rng.integers(0, 1 << number_format.width, (4000, LANES))
    shift = rng.integers(0, 1 << number_format.width, (4000, shifts))
    data[::2] = rng.choice(naive.AWKWARD[dtype], (2000, LANES))
    shift[::4] = rng.choice(naive.AWKWARD[dtype], (1000, shifts))
    return data, shift


@pytest.mark.parametrize("shifts", [1, LANES])
@pytest.mark.parametrize("stages", [0, 3])
@pytest.mark.parametrize("dtype", FORMATS)
def test_is_the_golden_model(dtype, stages, shifts):
    data, shift = operands(dtype, shifts)
    made = runner(dtype, shifts=shifts, stages=stages)(data=data, shift=shift)["data"]
    expected = subtract_shift(torch.tensor(data), torch.tensor(shift), dtype).numpy()
    assert np.array_equal(made, expected)
    wrong = subtract_shift(torch.tensor(data), torch.tensor(shift) ^ 1, dtype).numpy()
    assert not np.array_equal(made, wrong)


@pytest.mark.parametrize("dtype", ["int4", "int8"])
def test_all_integers(dtype):
    width = FORMATS[dtype].width
    codes = np.arange(1 << 2 * width)
    data = np.stack([codes >> width] * LANES, axis=1)
    shift = codes[:, None] & ((1 << width) - 1)
    made = runner(dtype, shifts=1)(data=data, shift=shift)["data"]
    difference = np.where(data >> (width - 1), data - (1 << width), data)
    difference = difference - np.where(shift >> (width - 1), shift - (1 << width), shift)
    half = 1 << (width - 1)
    assert np.array_equal(made, difference.clip(-half, half - 1) % (1 << width))
    assert not np.array_equal(made, difference % (1 << width))


@pytest.mark.parametrize("shifts", [1, LANES])
@pytest.mark.parametrize("dtype", FORMATS)
def test_widths_are_as_said(dtype, shifts):
    width = FORMATS[dtype].width
    inputs = {"data": (LANES, width), "shift": (shifts, width), "other": (1, 5)}
    alive = check_widths(shift_steps(FORMATS[dtype], lanes=LANES), inputs)
    assert alive == {"data": LANES * width, "other": 5}
