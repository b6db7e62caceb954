"""Selectors: from activations of whole tokens to what is kept, in floating point or as the RTL.

A selector is a function ``(x, scale, shift) -> (d, mask)`` with the activations x (..., C), the
scales of the criterion, which broadcast against x (None: 1), and the shift, which does too (None:
0).  It gives d = x - shift in the dtype of x, and the bool mask (..., C) of what is kept of d.  Two
of them exist, one for each value of `sw.method.Method.exact`.
"""

from collections.abc import Callable
from fractions import Fraction

import torch

from hw.score_formats import ScaleFormat
from sw.activations import DTYPES
from sw.codes import codes_of, numbers_of
from sw.criteria import weighted_magnitude
from sw.errors import InputError
from sw.fast_selection import keep_mask
from sw.golden import scores, shifted
from sw.groups import to_groups
from sw.masks import keep_largest, kept_count
from sw.method import Method
from sw.quantize import row_scales, to_codes
from sw.scores import comparable_scores

__all__ = ["FloatSelector", "HardwareSelector", "Selector", "scale_codes", "selector_of"]

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
    """Masks bit for bit as the emitted selector computes them, by its golden model.

    The activations are rounded to the number format of the unit first (`sw.quantize.to_codes`:
    integers and fp8 with a scale of each token), the shift to the same format, and the scales to
    their own (`scale_codes`).  What is kept are the rounded numbers, after the exact subtraction
    and its one rounding.

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
        d, mask = self._select(x.detach(), scale, None if shift is None else shift.detach())
        if torch.is_grad_enabled():
            exact = x if shift is None else x - shift.to(x.dtype)
            d = exact + (d - exact).detach() if exact.requires_grad else d
        return d, mask

    def _select(
        self, x: torch.Tensor, scale: torch.Tensor | None, shift: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        config = self.config
        if shift is None and config.dtype in DTYPES:
            numbers = x.to(DTYPES[config.dtype])
        else:
            numbers = self._shifted(x, shift)
        scales = None
        if config.scale is not None and scale is not None:
            scales = to_groups(scale_codes(scale, config.scale), config.m)
        groups = to_groups(numbers, config.m)
        if config.score_bits is None:
            keys = comparable_scores(groups, scales, config.score)
        else:
            keys = scores(config, codes_of(groups, config.dtype), scales)
        mask = keep_mask(keys, config.n, config.m).flatten(-2)[..., : x.shape[-1]]
        if config.dtype in DTYPES:
            return numbers.to(x.dtype), mask
        unit = row_scales(x, config.dtype).to(x.device)
        return (numbers.double() * unit).to(x.dtype), mask

    def _shifted(self, x: torch.Tensor, shift: torch.Tensor | None) -> torch.Tensor:
        """Numbers of the unit's format, the shift taken off."""
        config = self.config
        codes = to_codes(x, config.dtype)
        if shift is not None:
            shift_codes = codes_of(shift.to(DTYPES[config.dtype]), config.dtype)
            codes = shifted(config, *torch.broadcast_tensors(codes, shift_codes))
        return numbers_of(codes, config.dtype)


def scale_codes(scale: torch.Tensor, scale_format: ScaleFormat) -> torch.Tensor:
    """Scales in a format of hardware; only their ratios within a row matter.

    ========  ====================================================================================
    format    code
    ========  ====================================================================================
    ``uW``    round(scale * (2**W - 1) / largest of the row)
    ``pow2``  15 + round(log2(scale / largest of the row)), at least 0
    ``bf16``  the bits below the sign of the scale rounded to bf16
    ========  ====================================================================================

    Everything rounds to nearest, ties to even.  A row of zeros has equal codes.

    Parameters
    ----------
    scale
        fp32 (..., C), finite and not negative.
    scale_format
        The format.

    Returns
    -------
    torch.Tensor
        int64 of the same shape.
    """
    if scale_format.kind == "float":
        rounded = scale.bfloat16()
        # What rounds beyond the largest bf16 number becomes that.
        rounded = rounded.clamp(max=torch.finfo(torch.bfloat16).max)
        return codes_of(rounded, "bf16")
    exact = scale.double()
    largest = exact.amax(-1, keepdim=True)
    relative = torch.where(largest > 0, exact / largest, 0)
    top = (1 << scale_format.width) - 1
    if scale_format.kind == "fixed":
        return (relative * top).round().to(torch.int64)
    return (top + relative.log2().round()).clamp(min=0).to(torch.int64)


def selector_of(method: Method) -> Selector:
    """The selector of a method that drops activations."""
    if method.exact == "hw":
        return HardwareSelector(method)
    if method.pattern is None or method.weights != "none":
        raise InputError(f"method must drop activations to have a selector, not {method}")
    return FloatSelector(method.pattern)
