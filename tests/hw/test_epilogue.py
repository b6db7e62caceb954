"""The epilogue's gates against the golden model, and against PyTorch's operations on fp32."""

import types

import numpy as np
import pytest
import torch

import hw.units.epilogue
from hw.config import UnitConfig
from hw.ports import input_payload, output_payload
from sw.codes import signed
from sw.golden import unit_model
from tests.hw.steps import StepRunner
from tests.mutant import mutant
from tests.sw.exact_floats import FLOATS, corners

pytest.importorskip("pyosys")

FP32 = FLOATS["fp32"]
NUMBERS = ("sum", "ratio", "gain", "shift", "row_sum", "bias")


def config_of(dtype: str, stages: int = 0, acc_width: int = 32) -> UnitConfig:
    return UnitConfig(n=8, m=16, unit="epilogue", dtype=dtype, pipeline=stages, acc_width=acc_width)


def runner(config: UnitConfig, module: types.ModuleType = hw.units.epilogue) -> StepRunner:
    """The unit's steps as gates."""
    sizes = [
        {name: (field.count, field.width) for name, field in payload(config).items()}
        for payload in (input_payload, output_payload)
    ]
    return StepRunner(module.epilogue_steps(config), *sizes, config.stages)


def operands(config: UnitConfig, count: int, seed: int) -> dict[str, np.ndarray]:
    """Any codes, corners, and numbers near 1, in equal parts; of integer sums as many widths."""
    rng = np.random.default_rng(seed)
    special = np.array(corners(FP32))
    near = rng.integers(0x3E000000, 0x41000000, (count, len(NUMBERS))) ^ (
        rng.integers(0, 2, (count, len(NUMBERS))) << 31
    )
    codes = np.where(rng.random((count, 1)) < 0.5, near, rng.choice(special, near.shape))
    anything = rng.integers(0, 1 << 32, near.shape)
    codes = np.where(rng.random((count, 1)) < 0.25, anything, codes)
    result = {name: codes[:, k : k + 1] for k, name in enumerate(NUMBERS)}
    # What cancels: the bias takes back what the sum brings, to a few bits.
    bias = np.where(rng.random((count, 1)) < 0.25, result["sum"] ^ (1 << 31), result["bias"])
    result["bias"] = bias ^ rng.integers(0, 2, (count, 1))
    if config.format.kind == "int":
        wide = rng.integers(-(1 << 62), 1 << 62, (count, 1)) * 2 + rng.integers(0, 2, (count, 1))
        wide >>= rng.integers(64 - config.acc_width, 64, (count, 1))
        if config.acc_width < 64:
            wide &= (1 << config.acc_width) - 1
        result["sum"] = wide
    for name in ("last", "error"):
        result[name] = rng.integers(0, 2, (count, 1))
    return result


def floats(codes: torch.Tensor) -> torch.Tensor:
    return signed(codes, 32).to(torch.int32).view(torch.float32)


def in_torch(config: UnitConfig, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The definition, operation after operation."""
    total = inputs["sum"]
    if config.format.kind == "int":
        # float64 holds integers of up to 53 bits, so that one rounding is left.
        total = signed(total, config.acc_width).double().float()
    else:
        total = floats(total)
    ratio, gain, shift, row_sum, bias = (floats(inputs[name]) for name in NUMBERS[1:])
    return total * ratio * gain + (shift * row_sum + bias)


def check(
    config: UnitConfig, module: types.ModuleType = hw.units.epilogue, count: int = 3000
) -> None:
    inputs = operands(config, count, seed=config.stages + config.acc_width)
    made = runner(config, module)(**inputs)
    tensors = {name: torch.tensor(codes) for name, codes in inputs.items()}
    expected = unit_model(config)(tensors)
    for name in ("last", "error", "result"):
        assert np.array_equal(made[name], expected[name].numpy()), name
    if config.acc_width > 53:
        return
    theirs = in_torch(config, tensors)
    assert torch.equal(expected["result"] == FP32.quiet_nan, theirs.isnan())
    codes = theirs.view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    valid = ~theirs.isnan()
    assert torch.equal(expected["result"][valid], codes[valid])
    # The stimuli reach what they are for.
    magnitudes = codes[valid] & 0x7FFFFFFF
    assert 0 < int((magnitudes == 0x7F800000).sum()) < len(magnitudes) // 2
    if config.format.kind == "float":
        assert int(((magnitudes < 0x00800000) & (magnitudes > 0)).sum())


@pytest.mark.parametrize(
    ("dtype", "stages", "acc_width"),
    [("bf16", 0, 32), ("fp8_e4m3", 6, 32), ("int4", 3, 17), ("int16", 0, 64)],
)
def test_result(dtype: str, stages: int, acc_width: int) -> None:
    check(config_of(dtype, stages, acc_width))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # The gain is forgotten, and the ratio counts twice.
        ('operands=("restored", "gain")', 'operands=("restored", "restored")'),
        ('operands=(total, "ratio")', "operands=(total, total)"),
        # The row sum is forgotten.
        ('operands=("shift", "row_sum")', 'operands=("shift", "shift")'),
        # The bias is taken off what returns.
        ('operands=("returned", "bias")', 'subtract=True, operands=("returned", "bias")'),
    ],
)
def test_bugs_are_found(old: str, new: str) -> None:
    with pytest.raises(AssertionError):
        check(config_of("int8"), mutant(hw.units.epilogue, old, new), 300)


def test_order_of_operations_counts() -> None:
    """The golden model with another order gives other results."""
    config = config_of("bf16")
    inputs = {name: torch.tensor(codes) for name, codes in operands(config, 3000, 1).items()}
    swapped = {**inputs, "ratio": inputs["gain"], "gain": inputs["ratio"]}
    first, second = (unit_model(config)(given)["result"] for given in (inputs, swapped))
    assert int((first != second).sum()) > 100
