"""Golden model of the statistics of tokens: what one pass over a token finds out.

Of all its activations and of the kept ones alone: the sum, the sum of squares, and the largest
magnitude.  Integers: exact, the sum modulo 2**32, that of squares modulo 2**48, which is never
reached by tokens of up to 65,536 activations.  Floating point: the sums of `sw.aligned_sum`,
rounded once to fp32; a sum over NaN, or over infinities of both signs, is NaN, over infinities of
one sign that infinity.  The largest magnitude is a key (`hw.formats`): NaN is above infinity.
"""

import torch

from hw.config import STATISTICS_WIDTHS, UnitConfig
from sw.aligned_sum import Terms, rounded_sum, with_specials
from sw.codes import magnitude_keys, signed
from sw.float_arithmetic import read_numbers
from sw.reductions import equal_reductions, reduction_count

__all__ = ["token_statistics"]


def token_statistics(
    config: UnitConfig, data: torch.Tensor, mask: torch.Tensor, last: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Statistics of each token, by the name of the port: int64 (tokens, 1) each.

    Parameters
    ----------
    config
        Of the unit: the number format, and the bits to which its sums are aligned.
    data
        Codes of activations (T, m).
    mask
        Whether each is kept (T, m).
    last
        Whether a group is the last of its token (T, 1).  What follows the last such group belongs
        to no token.
    """
    result = {
        name: torch.zeros(reduction_count(last), dtype=torch.int64)
        for name in ("sum", "squares", "max", "kept_sum", "kept_squares", "kept_max")
    }
    for chosen, groups in equal_reductions(last):
        tokens = data[groups]
        for prefix, counted in (("", torch.ones_like(tokens)), ("kept_", mask[groups])):
            sums = _float_sums if config.format.kind == "float" else _integer_sums
            total, squares = sums(config, tokens, counted.bool())
            keys = torch.where(counted.bool(), magnitude_keys(tokens, config.format), 0)
            for name, found in (("sum", total), ("squares", squares), ("max", keys.amax((1, 2)))):
                result[prefix + name][chosen] = found
    return {name: column.unsqueeze(-1) for name, column in result.items()}


def _integer_sums(
    config: UnitConfig, tokens: torch.Tensor, counted: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.where(counted, signed(tokens, config.format.width), 0)
    sums = numbers.sum((1, 2)), (numbers * numbers).sum((1, 2))
    total, squares = (
        s & ((1 << width) - 1) for s, width in zip(sums, STATISTICS_WIDTHS, strict=True)
    )
    return total, squares


def _float_sums(
    config: UnitConfig, tokens: torch.Tensor, counted: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    number_format = config.format
    numbers = read_numbers(tokens, number_format)
    negative, exponent = numbers.negative, numbers.exponent
    # What is not finite counts as 0 here.
    is_special = numbers.is_infinite | numbers.is_nan
    significand = torch.where(is_special, 0, numbers.significand)
    width, unit = number_format.significand_width, number_format.smallest_exponent
    # All numbers of a group have a say in its exponent, those that are not counted too.
    is_live = significand > 0
    significand = torch.where(counted, significand, 0)
    terms = Terms(negative, significand, exponent, width, is_live)
    positive = torch.zeros_like(negative)
    squares = Terms(positive, significand**2, 2 * exponent, 2 * width, is_live)
    bits = config.resolved_align_bits
    nan, infinite = counted & numbers.is_nan, counted & numbers.is_infinite
    total = with_specials(rounded_sum(terms, bits, unit), negative, nan, infinite)
    square_total = rounded_sum(squares, bits, 2 * unit)
    return total, with_specials(square_total, positive, nan, infinite)
