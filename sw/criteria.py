"""Criteria: by which score the activations of a group are compared.

Every criterion is ``score[t, j] = |x[t, j]| * scale[j]``, with t a token and j a feature of the
input of a linear ``y = x W^T``, x (tokens, C) and W (O, C).  They differ in where the scale comes
from:

===============  =========================================================================  ========
criterion        scale[j]                                                                   needs
===============  =========================================================================  ========
``act``          1                                                                          nothing
``clact``        ||x[:, j]||, over the tokens of the sequence                               sequence
``amber``        ||w[:, j]|| / smallest, w = standardised weights without outliers          weights
``amber-code``   ||w[:, j]|| / smallest, w = standardised weights, outliers included        weights
``weight-norm``  ||W[:, j]|| / smallest                                                     weights
``var-weight``   variance of W[:, j] / smallest                                             weights
===============  =========================================================================  ========

All norms are Euclidean.  What needs weights is constant; what needs the sequence is known only when
its last token is.

ACT, CLACT and var-weight: arXiv 2509.22166 and its authors' code.  Amber: arXiv 2508.02128;
``amber`` is the text of that paper, ``amber-code`` is what the code of arXiv 2509.22166 does.
weight-norm is the plain variant of both, and the score of R-Sparse (arXiv 2504.19449).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from sw.errors import InputError

__all__ = [
    "CRITERIA",
    "OUTLIER_QUANTILES",
    "Criterion",
    "amber_code_scales",
    "amber_scales",
    "exact_quantiles",
    "sequence_scales",
    "var_weight_scales",
    "weight_norm_scales",
    "weighted_magnitude",
]

#: Amber takes weights below the first and above the second of these quantiles for outliers.
OUTLIER_QUANTILES: tuple[float, float] = (0.005, 0.995)

#: Norms in between cannot come from squares that overflow or vanish in fp32.
_SAFE_NORMS = (1e-15, 1e15)


@dataclass(frozen=True)
class Criterion:
    """A criterion of selection.

    Parameters
    ----------
    name
        As in methods and tables.
    needs
        ``nothing``, the ``weights`` of the linear, or the activations of the whole ``sequence``.
    weight_scales
        From weights (O, C) to scales fp32 (C,); None where no weights are needed.
    """

    name: str
    needs: Literal["nothing", "weights", "sequence"]
    weight_scales: Callable[[torch.Tensor], torch.Tensor] | None = None


def weighted_magnitude(x: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
    """``score = |x| * scale``, in the order in which lanes beat each other.

    A score is NaN where x is, infinite where x is, and finite elsewhere: a product beyond fp32 is
    the largest fp32 number.  So NaN stays above infinity and infinity above finite values, as
    without a scale.

    Parameters
    ----------
    x
        Activations (..., C), bf16, fp16 or fp32.
    scale
        fp32, finite and not negative, that broadcasts against x; None: 1.

    Returns
    -------
    torch.Tensor
        fp32; without a scale of the dtype of x.
    """
    magnitude = x.abs()
    if scale is None:
        return magnitude
    magnitude = magnitude.float()
    product = magnitude * scale
    # NaN compares false: it comes from NaN, and from infinity * 0.
    if product.numel() == 0 or bool(product.amax() < torch.inf):
        return product
    finite = product.clamp(max=torch.finfo(torch.float32).max)
    return torch.where(magnitude < torch.inf, finite, magnitude)


def sequence_scales(x: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
    """Scales of CLACT: ``scale[b, j] = sqrt(sum over tokens t of x[b, t, j]**2)``.

    The published score also divides by the norm of the token, ``sqrt(sum_j x[b, t, j]**2)``: a
    factor that all features of a token share, which changes no selection within a token.  It is
    left out.

    Each sequence has its own scales.  NaN and infinite activations take no part in the sum.  Of one
    token the score would be x[t, j]**2, whose order is that of |x[t, j]|: the scales are then 1, so
    that CLACT is ACT to the last bit.

    Parameters
    ----------
    x
        (..., T, C), bf16, fp16 or fp32.
    attention_mask
        (..., T); tokens where it is 0 are padding and take no part.

    Returns
    -------
    torch.Tensor
        fp32 (..., 1, C), at most the largest fp32 number.
    """
    if x.shape[-2] == 1:
        return torch.ones_like(x, dtype=torch.float32)
    if attention_mask is not None:
        x = torch.where(attention_mask.unsqueeze(-1) != 0, x, 0)
    norms = torch.linalg.vector_norm(x, dim=-2, keepdim=True, dtype=torch.float32)
    if bool(((norms > _SAFE_NORMS[0]) & (norms < _SAFE_NORMS[1])).all()):
        return norms
    x = x.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    norms = torch.linalg.vector_norm(x, dim=-2, keepdim=True)
    return norms.clamp(max=torch.finfo(torch.float32).max).float()


def amber_scales(weight: torch.Tensor) -> torch.Tensor:
    """Scales of Amber-Pruner as its paper describes it.

    Weights outside the quantiles [Q(0.005), Q(0.995)] of the matrix are dropped; the others become
    ``w = (W - mu) / sigma``, with mu and sigma their mean and population standard deviation (0
    where sigma is 0).  Where all weights are outside, as two different ones are, none is dropped.
    ``scale[j] = sqrt(sum over the others of w[o, j]**2) / smallest such norm``.

    Parameters
    ----------
    weight
        (O, C), finite.

    Returns
    -------
    torch.Tensor
        fp32 (C,), computed in fp64; see `weight_norm_scales` for columns without a norm.

    Raises
    ------
    InputError
        A weight is NaN or infinite.
    """
    weight, inlier, mean, deviation = _without_outliers(weight)
    return _normalised(torch.where(inlier, (weight - mean) / deviation, 0).norm(dim=0))


def amber_code_scales(weight: torch.Tensor) -> torch.Tensor:
    """Scales of Amber-Pruner as the code of arXiv 2509.22166 computes them.

    As `amber_scales`, but the norm is over all weights of the column: outliers are left out of mu
    and sigma only.  Quantiles are exact, where the code takes those of a random sample of 50,000.
    """
    weight, _, mean, deviation = _without_outliers(weight)
    return _normalised(((weight - mean) / deviation).norm(dim=0))


def weight_norm_scales(weight: torch.Tensor) -> torch.Tensor:
    """``scale[j] = ||W[:, j]|| / min over k of ||W[:, k]||``.

    Parameters
    ----------
    weight
        (O, C), finite.

    Returns
    -------
    torch.Tensor
        fp32 (C,), computed in fp64.  The smallest norm is the smallest positive one; a column of
        zeros, which adds nothing to the output, has scale 0.  All scales are 1 where no column has
        a positive norm.

    Raises
    ------
    InputError
        A weight is NaN or infinite.
    """
    return _normalised(_finite(weight).norm(dim=0))


def var_weight_scales(weight: torch.Tensor) -> torch.Tensor:
    """``scale[j] = V[j] / min over k of V[k]``, V[j] the unbiased variance of W[:, j].

    Dividing by the smallest changes no selection.  As `weight_norm_scales`, with the variance 0 for
    a single row.
    """
    weight = _finite(weight)
    return _normalised(weight.var(dim=0) if len(weight) > 1 else torch.zeros_like(weight[0]))


def exact_quantiles(values: torch.Tensor, quantiles: tuple[float, ...]) -> tuple[float, ...]:
    """Quantiles of all elements, interpolated linearly between the two next order statistics.

    With the elements in ascending order v[0] .. v[N - 1] and ``p = q * (N - 1)``:
    ``v[floor(p)] + (p - floor(p)) * (v[ceil(p)] - v[floor(p)])``, in fp64.  `torch.quantile` does
    the same for at most 2**24 elements; here there is no limit, and no full sort.

    Parameters
    ----------
    values
        Any shape, at least one element, no NaN.
    quantiles
        0 .. 1 each.
    """
    flat = values.detach().cpu().double().flatten().numpy()
    places = [quantile * (len(flat) - 1) for quantile in quantiles]
    lower = [int(place) for place in places]
    upper = [min(place + 1, len(flat) - 1) for place in lower]
    flat = np.partition(flat, sorted({*lower, *upper}))
    return tuple(
        float(flat[low] + (place - low) * (flat[high] - flat[low]))
        for place, low, high in zip(places, lower, upper, strict=True)
    )


def _finite(weight: torch.Tensor) -> torch.Tensor:
    if bad := int((~weight.isfinite()).sum()):
        raise InputError(f"weights must be finite, not NaN or infinite {bad} times")
    return weight.detach().double()


def _without_outliers(
    weight: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights in fp64, where they are no outliers, and mean and deviation of those."""
    weight = _finite(weight)
    low, high = exact_quantiles(weight, OUTLIER_QUANTILES)
    inlier = (weight >= low) & (weight <= high)
    # Two different weights are both outside their quantiles; a mean needs some.
    if not bool(inlier.any()):
        inlier = torch.ones_like(inlier)
    chosen = weight[inlier]
    deviation = chosen.std(correction=0)
    # Equal weights standardise to 0.
    return weight, inlier, chosen.mean(), deviation.where(deviation > 0, torch.inf)


def _normalised(norms: torch.Tensor) -> torch.Tensor:
    positive = norms[norms > 0]
    if not len(positive):
        return torch.ones_like(norms, dtype=torch.float32)
    return (norms / positive.min()).clamp(max=torch.finfo(torch.float32).max).float()


#: All criteria by name.
CRITERIA: dict[str, Criterion] = {
    criterion.name: criterion
    for criterion in (
        Criterion("act", "nothing"),
        Criterion("clact", "sequence"),
        Criterion("amber", "weights", amber_scales),
        Criterion("amber-code", "weights", amber_code_scales),
        Criterion("weight-norm", "weights", weight_norm_scales),
        Criterion("var-weight", "weights", var_weight_scales),
    )
}
