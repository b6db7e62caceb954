"""Mitigation: what makes up for the activations that were dropped.

A linear ``y = x W^T + b`` with x (..., C), W (O, C) becomes, in the form that hardware computes,

    y = v * (1 + g) * (P(d) W^T) + (d - P(d)) B^T A^T + eta r^T + b

with d = x - eta the shifted activations and P(d) those of them that are kept, +0 elsewhere; r = sum
of W over its inputs, so that the shift returns without making the product dense:
``(P(d) + eta) W^T = P(d) W^T + eta r^T``.

==============  =================================================  ============================
method          sets                                               known
==============  =================================================  ============================
D-PTS           eta = mean or median of the token's features       once the token is read
S-PTS           eta = one number of the linear, or one a feature   by calibration
L-PTS           eta = one number a feature, learned                by training
VAR             v = sqrt(Var(d) / max(Var(P(d)), 1e-9))            once the token is selected
LS              g, and an addition to b, learned                   by training
R-Sparse        A (O, r) and B (r, C), of rank r                   from the weights, by training
scaling         s: x / s and W s take the places of x and W        from the sequence, by
                                                                   calibration
==============  =================================================  ============================

Where eta does not depend on the token, ``eta r^T`` (per feature: ``eta W^T``) goes into b.

D-PTS, S-PTS, L-PTS, VAR and LS: arXiv 2509.22166 and its authors' code.  R-Sparse: arXiv
2504.19449.  Scaling: SmoothQuant, arXiv 2211.10438, with exponent 1/2.
"""

from typing import Literal

import numpy as np
import torch

from hw.config import VARIANCE_FLOOR
from sw.errors import InputError

__all__ = [
    "low_rank_factors",
    "row_sums",
    "scaling_factors",
    "sequence_maxima",
    "token_shift",
    "variance_factor",
]


def token_shift(x: torch.Tensor, statistic: Literal["mean", "median"]) -> torch.Tensor:
    """Shift of D-PTS: the mean or the median of each token's features.

    The median of an even number of features is the lower one of the two in the middle; it is NaN
    where one of them is.

    Parameters
    ----------
    x
        (..., C), bf16, fp16 or fp32.
    statistic
        ``mean`` (sum in fp64) or ``median``.

    Returns
    -------
    torch.Tensor
        (..., 1), rounded to the dtype of x, since the shift is a number of the activations' format.
    """
    if statistic == "median":
        return _median(x)
    return x.mean(dim=-1, keepdim=True, dtype=torch.float64).to(x.dtype)


def _median(x: torch.Tensor) -> torch.Tensor:
    """The lower median of each row, (..., 1)."""
    # NumPy finds it in half the time, but knows nothing of gradients and sorts NaN last.
    if x.device.type != "cpu" or x.requires_grad or bool(x.isnan().any()):
        return x.median(dim=-1, keepdim=True).values
    middle = (x.shape[-1] - 1) // 2
    values = np.partition(x.float().numpy(), middle, axis=-1)[..., middle, np.newaxis]
    return torch.from_numpy(values).to(x.dtype)


def variance_factor(d: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Factor of VAR: ``v = sqrt(Var(d) / max(Var(kept), 1e-9))`` of each token.

    Both variances are over all C features, zeros included, means removed, and unbiased: divided by
    C - 1, or by 1 where there is one feature.  They come from sums in fp64.  v is 0 where all of d
    is equal, kept or not, and NaN where there are NaN or infinities.  `sw.token_correction` is the
    same in fp32.

    Parameters
    ----------
    d, kept
        Activations before and after selection (..., C).

    Returns
    -------
    torch.Tensor
        fp32 (..., 1), without a gradient.
    """
    floor = VARIANCE_FLOOR * max(d.shape[-1] - 1, 1)
    return (_spread(d.detach()) / _spread(kept.detach()).clamp(min=floor)).sqrt().float()


def _spread(x: torch.Tensor) -> torch.Tensor:
    """``sum of x**2 - (sum of x)**2 / C``: the variance times C, fp64 (..., 1)."""
    total = x.sum(-1, keepdim=True, dtype=torch.float64)
    squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float64).square()
    spread = squares - total.square() / x.shape[-1]
    # Where the difference is small it is rounding error, at worst all of it.
    if bool((spread < 1e-6 * squares).any()):
        x = x.double()
        deviation = x - x.mean(-1, keepdim=True)
        spread = torch.linalg.vector_norm(deviation, dim=-1, keepdim=True).square()
    return spread


def row_sums(weight: torch.Tensor) -> torch.Tensor:
    """``r[o] = sum over j of W[o, j]``, fp32 (O,), summed in fp64."""
    return weight.detach().sum(-1, dtype=torch.float64).float()


def low_rank_factors(weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrix ``A B`` of the given rank that is nearest to W, by singular values.

    With ``W = U diag(s) V^T``: A = the first columns of U times s, B = the first rows of V^T.  A
    rank beyond min(O, C) gives W itself.

    Parameters
    ----------
    weight
        (O, C), finite.
    rank
        At least 1.

    Returns
    -------
    A, B
        fp32 (O, r) and (r, C), r = min(rank, O, C).

    Raises
    ------
    InputError
        A weight is not finite, or the rank less than 1.
    """
    if rank < 1:
        raise InputError(f"rank must be at least 1, not {rank}")
    if bad := int((~weight.isfinite()).sum()):
        raise InputError(f"weights must be finite, not NaN or infinite {bad} times")
    left, values, right = torch.linalg.svd(weight.detach().float(), full_matrices=False)
    return left[:, :rank] * values[:rank], right[:rank].contiguous()


def sequence_maxima(x: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
    """``max over tokens t of |x[b, t, j]|`` of each sequence, fp32 (..., 1, C).

    NaN, infinities and padding (tokens whose attention mask is 0) take no part.

    Parameters
    ----------
    x
        (..., T, C).
    attention_mask
        (..., T).
    """
    magnitude = x.detach().abs()
    if attention_mask is not None:
        magnitude = torch.where(attention_mask.unsqueeze(-1) != 0, magnitude, 0)
    maxima = magnitude.amax(-2, keepdim=True)
    if not bool((maxima < torch.inf).all()):
        magnitude = magnitude.nan_to_num(nan=0.0, posinf=0.0)
        maxima = magnitude.amax(-2, keepdim=True)
    return maxima.float()


def scaling_factors(input_maxima: torch.Tensor, weight_maxima: torch.Tensor) -> torch.Tensor:
    """``s[j] = sqrt(max over t of |x[t, j]| / max over o of |W[o, j]|)``.

    s is 1 where one of the maxima is 0 or not finite: a feature that is 0 throughout, or that no
    output reads, needs no scale.

    Parameters
    ----------
    input_maxima
        (..., C), of a sequence or of calibration.
    weight_maxima
        (C,).

    Returns
    -------
    torch.Tensor
        fp32 (..., C), positive; computed in fp64.
    """
    squares = input_maxima.double() / weight_maxima.double()
    return torch.where((squares > 0) & (squares < torch.inf), squares, 1).sqrt().float()
