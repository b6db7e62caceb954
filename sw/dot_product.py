"""Golden model of the integer sparse dot product."""

import torch

from sw.codes import signed

__all__ = ["accumulate", "group_dot_product", "slot_dot_product"]


def group_dot_product(
    values: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """``sum over lanes j kept of value(j) * weights[j]``, exact: int64 (...).

    Parameters
    ----------
    values
        Kept values as signed integers (..., n), in ascending lane order.
    mask
        bool (..., M); n lanes true, or none, which gives 0.
    weights
        Signed integers (..., M).
    """
    kept = mask.any(-1, keepdim=True)
    first = torch.arange(mask.shape[-1], device=mask.device) < values.shape[-1]
    dense = torch.zeros_like(weights).masked_scatter(torch.where(kept, mask, first), values)
    return torch.where(kept, dense * weights, 0).sum(-1)


def slot_dot_product(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """``sum over slots k of values[k] * weights[k]``, exact: int64 (...).

    Parameters
    ----------
    values, weights
        Signed integers (..., n): kept values, and the weights of their lanes.
    """
    return (values * weights).sum(-1)


def accumulate(
    dots: torch.Tensor, errors: torch.Tensor, *, acc_width: int, overflow: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Results of whole reductions: sums int64 (...), errors bool (...).

    From 0, group by group along the last dimension, ``acc = limit(acc + dot)``; a group with an
    error adds 0.  ``wrap`` limits modulo 2**acc_width to two's complement, ``saturate`` to the
    nearest value of that range.  The error of a reduction is that of any of its groups.

    Parameters
    ----------
    dots
        Signed integers (..., G), below 2**62 in magnitude.
    errors
        bool (..., G).
    acc_width
        Bits of the accumulator, at most 64.
    overflow
        ``wrap`` or ``saturate``.
    """
    high = (1 << (acc_width - 1)) - 1
    total = torch.zeros_like(dots[..., 0])
    for dot in torch.where(errors, 0, dots).unbind(-1):
        following = total + dot
        if overflow == "wrap":
            total = signed(following, acc_width)
            continue
        # The sum leaves 64 bits iff both addends have the sign that it has not.
        beyond = ((total ^ following) & (dot ^ following)) < 0
        following = torch.where(beyond, torch.where(dot < 0, -high - 1, high), following)
        total = following.clamp(-high - 1, high)
    return total, errors.any(-1)
