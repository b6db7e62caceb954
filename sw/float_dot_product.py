"""Golden model of the floating-point sparse dot product.

The products of a group are exact; their sum, and that of the groups of a reduction, is the one of
`sw.aligned_sum` in units of the smallest product of two subnormals; it is rounded once to fp32.  A
product with NaN, and infinity times 0, is NaN; a product with infinity is infinity.  A sum over
NaN, or over infinities of both signs, is NaN.  A sum of 0 is +0.  A group with an error adds
nothing.
"""

import torch

from hw.formats import NumberFormat
from sw.aligned_sum import Terms, rounded_sum, with_specials
from sw.float_arithmetic import FloatNumbers, read_numbers

__all__ = ["float_dot_product"]


def float_dot_product(
    values: torch.Tensor,
    weights: torch.Tensor,
    errors: torch.Tensor,
    *,
    formats: tuple[NumberFormat, NumberFormat],
    bits: int,
) -> torch.Tensor:
    """``sum over groups and slots of value * weight`` as codes of fp32: int64 (reductions,).

    Parameters
    ----------
    values
        Codes of the kept values (reductions, groups, n).
    weights
        Codes of the weights of their lanes, of the same shape.
    errors
        Whether a group has an error, bool (reductions, groups).
    formats
        Of values and weights.
    bits
        Bits that hold the largest product of a group, at least those of a product.
    """
    legal = ~errors.unsqueeze(-1)
    a, b = read_numbers(values, formats[0]), read_numbers(weights, formats[1])
    negative = a.negative ^ b.negative
    nan = a.is_nan | b.is_nan | (a.is_infinite & _is_zero(b)) | (b.is_infinite & _is_zero(a))
    infinite = (a.is_infinite | b.is_infinite) & ~nan
    significand = torch.where(legal & ~nan & ~infinite, a.significand * b.significand, 0)
    width = sum(one.significand_width for one in formats)
    terms = Terms(negative, significand, a.exponent + b.exponent, width)
    total = rounded_sum(terms, bits, sum(one.smallest_exponent for one in formats))
    return with_specials(total, negative, nan & legal, infinite & legal)


def _is_zero(numbers: FloatNumbers) -> torch.Tensor:
    return (numbers.significand == 0) & ~numbers.is_infinite
