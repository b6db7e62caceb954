"""Selectors: from activations of whole tokens to what is kept, in floating point or as the RTL.

A selector is a function ``(x, scale, shift) -> (d, mask)`` with the activations x (..., C), the
scales of the criterion, which broadcast against x (None: 1), and the shift, which does too (None:
0).  It gives d = x - shift in the dtype of x, and the bool mask (..., C) of what is kept of d.  Two
of them exist, one for each value of `sw.method.Method.exact`.
"""

from collections.abc import Callable
from fractions import Fraction

import torch

from sw.activations import DTYPES
from sw.codes import numbers_of
from sw.criteria import weighted_magnitude
from sw.errors import InputError
from sw.fast_selection import keep_mask
from sw.golden import scores
from sw.groups import to_groups
from sw.masks import keep_largest, kept_count
from sw.method import Method
from sw.quantize import row_scales, to_codes

__all__ = ["FloatSelector", "HardwareSelector", "Selector", "selector_of"]

Selector = Callable[
    [torch.Tensor, torch.Tensor | None, torch.Tensor | None], tuple[torch.Tensor, torch.Tensor]
]


class FloatSelector:
    """The formula in floating point: d = x - shift rounded once to the dtype of x, fp32 scores.

    Parameters
    ----------
    pattern
        (n, m), or the share of each token's features that is dropped.
    """

    def __init__(self, pattern: tuple[int, int] | Fraction) -> None:
        self.pattern = pattern

    @torch.no_grad()
    def _mask(self, d: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
        score = weighted_magnitude(d, scale)
        if isinstance(self.pattern, tuple):
            return keep_mask(score, *self.pattern)
        return keep_largest(score, kept_count(d.shape[-1], self.pattern))

    def __call__(
        self, x: torch.Tensor, scale: torch.Tensor | None, shift: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shifted activations and mask."""
        d = x if shift is None else x - shift.to(x.dtype)
        return d, self._mask(d, scale)


class HardwareSelector:
    """Masks bit for bit as the emitted selector computes them, by the golden model.

    The activations are rounded to the number format of the unit first (`sw.quantize.to_codes`:
    integers and fp8 with a scale of each token), and what is kept are the rounded numbers.

    Parameters
    ----------
    method
        With ``exact=hw``.
    """

    def __init__(self, method: Method) -> None:
        self.config = method.unit_config()

    def __call__(
        self, x: torch.Tensor, scale: torch.Tensor | None, shift: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rounded activations and mask; gradients pass the rounding as if there were none."""
        if scale is not None or shift is not None:
            raise InputError("exact=hw must have criterion act without shift, not others")
        rounded, mask = self._select(x.detach())
        return (x + (rounded - x).detach() if x.requires_grad else rounded), mask

    def _select(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        codes = to_codes(x, self.config.dtype)
        keys = scores(self.config, to_groups(codes, self.config.m))
        mask = keep_mask(keys, self.config.n, self.config.m).flatten(-2)[..., : x.shape[-1]]
        numbers = numbers_of(codes, self.config.dtype)
        if self.config.dtype in DTYPES:
            return numbers.to(x.dtype), mask
        unit = row_scales(x, self.config.dtype).to(x.device)
        return (numbers.double() * unit).to(x.dtype), mask


def selector_of(method: Method) -> Selector:
    """The selector of a method that drops activations."""
    if method.exact == "hw":
        return HardwareSelector(method)
    if method.pattern is None or method.weights != "none":
        raise InputError(f"method must drop activations to have a selector, not {method}")
    return FloatSelector(method.pattern)
