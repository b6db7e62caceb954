"""Golden model of the epilogue: what is done to the sum of a PE, in fp32.

    y = ((acc * ratio) * gain) + ((shift * row_sum) + bias)

With acc the sum of the sparse product, an integer rounded once to fp32 where the PE has one, this
is the form in which `sw.mitigation` returns variance (VAR: ratio of the token), gain and bias (LS:
1 + g and b of the output) and shift (PTS: eta of the token times the sum r of the output's
weights).  Every product and sum is rounded once, to nearest, ties to even, in
the order of the parentheses, so that y is what the same operations of PyTorch give on fp32 tensors.
"""

import torch

from hw.config import UnitConfig
from hw.formats import FP32
from sw.codes import signed
from sw.float_arithmetic import add, integer_to_float, multiply

__all__ = ["epilogue"]


def epilogue(
    config: UnitConfig,
    *,
    total: torch.Tensor,
    ratio: torch.Tensor,
    gain: torch.Tensor,
    shift: torch.Tensor,
    row_sum: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """Codes of y: int64, of the shape that all broadcast to.

    Parameters
    ----------
    config
        Of the unit: whether the sums are integers, and of how many bits.
    total
        acc: codes of fp32, or of ``config.acc_width`` bits in two's complement.
    ratio, gain, shift, row_sum, bias
        Codes of fp32.
    """
    if config.format.kind == "int":
        total = integer_to_float(signed(total, config.acc_width), FP32)
    scaled = multiply(multiply(total, ratio, FP32), gain, FP32)
    return add(scaled, add(multiply(shift, row_sum, FP32), bias, FP32), FP32)
