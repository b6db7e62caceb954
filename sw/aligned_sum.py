"""Golden model of floating-point sums as hardware adds them: aligned to a common exponent.

Terms are exact numbers ``(-1)**negative * s * 2**x``, s below ``2**width``, x >= 0.  Groups of them
are added one after another to an accumulator ``A * 2**E``, which starts as ``0 * 2**floor``:

- the group's exponent is ``e = max(x + width - bits, floor)`` with the largest x of a term other
  than 0, so that `bits` bits hold that term down to ``2**e``;
- each term is cut, towards 0, to a multiple of ``2**e``, and the terms are added exactly, to
  ``G * 2**e``;
- with ``E' = max(E, e)``, ``A' = floor(A * 2**(E - E')) + floor(G * 2**(e - E'))``;
- if ``A'`` has more than `bits` + ceil(log2 terms) bits and a sign, it is halved (floor), and
  ``E'`` is one more.

The terms of a group may stand in any order, groups may not.
"""

from dataclasses import dataclass

import torch

from hw.config import SUM_PLACE
from hw.formats import FP32
from sw.float_arithmetic import scaled_to_float

__all__ = ["Terms", "aligned_sum", "rounded_sum", "with_specials"]


@dataclass(frozen=True)
class Terms:
    """Groups of terms: (reductions, groups, terms) each.

    Parameters
    ----------
    negative, significand, exponent
        Sign, s and x; int64 but for the sign.
    width
        Bits of a significand.
    is_live
        Which of them have a say in the group's exponent; None: those that are not 0.
    """

    negative: torch.Tensor
    significand: torch.Tensor
    exponent: torch.Tensor
    width: int
    is_live: torch.Tensor | None = None


def aligned_sum(terms: Terms, bits: int, floor: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(A, E) after all groups of each reduction: int64 (reductions,) each.

    Parameters
    ----------
    terms
        The terms.
    bits
        Bits of the largest term that are kept, at least `terms.width`.
    floor
        The least exponent of a sum, at least 0.
    """
    reductions, groups, count = terms.significand.shape
    total = torch.zeros(reductions, dtype=torch.int64)
    exponent = torch.full_like(total, floor)
    limit = 1 << (bits + (count - 1).bit_length())
    is_live = terms.significand > 0 if terms.is_live is None else terms.is_live
    largest = torch.where(is_live, terms.exponent, 0).amax(-1)
    own = (largest + terms.width - bits).clamp(min=floor)
    places = terms.exponent - own.unsqueeze(-1)
    # A term of 0 may have any exponent.
    cut = _floor(terms.significand << places.clamp(0, bits), -places.clamp(max=0))
    sums = torch.where(terms.negative.bool(), -cut, cut).sum(-1)
    for group in range(groups):
        added, own_exponent = sums[:, group], own[:, group]
        common = torch.maximum(exponent, own_exponent)
        total = _floor(total, common - exponent) + _floor(added, common - own_exponent)
        overflows = ((total >= limit) | (total < -limit)).to(torch.int64)
        total, exponent = total >> overflows, common + overflows
    return total, exponent


def _floor(number: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """floor(number / 2**places)."""
    return number >> places.clamp(max=62)


def rounded_sum(terms: Terms, bits: int, unit: int) -> torch.Tensor:
    """The sums as codes of fp32, rounded once, to nearest, ties to even: int64 (reductions,).

    Nothing below ``2**SUM_PLACE``, three places below the last one of fp32, is held.

    Parameters
    ----------
    terms, bits
        As in `aligned_sum`.
    unit
        log2 of what 2**0 is worth.
    """
    total, exponent = aligned_sum(terms, bits, max(SUM_PLACE - unit, 0))
    return scaled_to_float(total, exponent + unit, FP32)


def with_specials(
    total: torch.Tensor, negative: torch.Tensor, nan: torch.Tensor, infinite: torch.Tensor
) -> torch.Tensor:
    """Sums of which some terms are not finite: codes of fp32 (reductions,).

    A sum over NaN, or over infinities of both signs, is the canonical NaN; over infinities of one
    sign it is that infinity.

    Parameters
    ----------
    total
        Codes of the sums of what is finite.
    negative, nan, infinite
        Sign of each term, and whether it is NaN or infinity: (reductions, groups, terms).
    """

    def is_any(condition: torch.Tensor) -> torch.Tensor:
        return condition.flatten(1).any(-1)

    above, below = is_any(infinite & ~negative), is_any(infinite & negative)
    infinity = FP32.overflow_key
    total = torch.where(above, infinity, torch.where(below, infinity | 1 << FP32.key_width, total))
    return torch.where(is_any(nan) | (above & below), FP32.quiet_nan, total)
