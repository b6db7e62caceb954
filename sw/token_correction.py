"""Golden model of the correction: the ratio of standard deviations and the mean of a token.

VAR of arXiv 2509.22166 multiplies what a token's kept activations give by the ratio of its standard
deviations before and after selection.  Of a token with C activations, their sum S1 and the sum of
their squares S2, and with S1k and S2k of what is kept, each fp32 or rounded once to it,

    n = max(C * S2 - S1 * S1, 0)
    floor = (C * max(C - 1, 1)) * 1e-9
    d = max(C * S2k - S1k * S1k, floor)
    ratio = sqrt(n / d)
    mean = S1 / C

Every product, difference, quotient and root is rounded to fp32, to nearest, ties to even, in the
order of the parentheses; 1e-9 is the fp32 number nearest to it.  Divided by ``C * (C - 1)``, n and
d are the variances that `torch.var` gives, and the floor is the least variance that counts.  One
activation has no variance: n is 0 then, and the ratio 0.  NaN and infinity go on as IEEE 754 says,
and of NaN and anything the maximum is NaN.
"""

import torch

from hw.config import STATISTICS_WIDTHS, VARIANCE_FLOOR, UnitConfig
from hw.formats import FP32
from sw.codes import codes_of, signed
from sw.float_arithmetic import add, divide, integer_to_float, maximum, multiply, square_root

__all__ = ["token_correction"]


def token_correction(
    config: UnitConfig,
    *,
    total: torch.Tensor,
    squares: torch.Tensor,
    kept_total: torch.Tensor,
    kept_squares: torch.Tensor,
    features: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of ratio and mean of each token: int64 of the shape of the arguments.

    Parameters
    ----------
    config
        Of the unit: whether its number format is one of integers.
    total, squares, kept_total, kept_squares
        S1, S2, S1k, S2k as `sw.token_statistics` gives them: codes of fp32, or, for integers, of 32
        bits in two's complement and of 48 bits without a sign.
    features
        C, from 1 on.
    """
    count = integer_to_float(features, FP32)
    s1, s2 = _numbers(config, total, squares)
    kept_s1, kept_s2 = _numbers(config, kept_total, kept_squares)
    pairs = multiply(count, integer_to_float((features - 1).clamp(min=1), FP32), FP32)
    least = codes_of(torch.tensor(VARIANCE_FLOOR, dtype=torch.float32), FP32.name)
    floor = multiply(pairs, least, FP32)
    above = maximum(_spread(count, s1, s2), torch.zeros_like(count), FP32)
    below = maximum(_spread(count, kept_s1, kept_s2), floor, FP32)
    return square_root(divide(above, below, FP32), FP32), divide(s1, count, FP32)


def _numbers(
    config: UnitConfig, total: torch.Tensor, squares: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both sums as codes of fp32."""
    if config.format.kind == "float":
        return total, squares
    return (
        integer_to_float(signed(total, STATISTICS_WIDTHS[0]), FP32),
        integer_to_float(squares, FP32),
    )


def _spread(count: torch.Tensor, total: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """``C * S2 - S1 * S1``: the variance times C (C - 1)."""
    products = multiply(count, squares, FP32), multiply(total, total, FP32)
    return add(*products, FP32, subtract=True)
