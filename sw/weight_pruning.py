"""Baselines that prune weights rather than activations: magnitude and Wanda.

A mask of weights is static: it is found once and then holds for all tokens.

==========  ============================  =====================  =================================
baseline    score of W[o, j]              N:M compares           unstructured compares
==========  ============================  =====================  =================================
``wt``      |W[o, j]|                     m inputs of one row    the whole matrix
``wanda``   |W[o, j]| * norm[j]           m inputs of one row    one row (all inputs of an output)
==========  ============================  =====================  =================================

``norm[j] = sqrt(mean over windows of sum over tokens of x[t, j]**2)`` comes from calibration.
Wanda: arXiv 2306.11695; it compares within a row because that is what its authors found to be best.
The magnitude baseline is that of the code of arXiv 2509.22166, but keeps exactly as many weights as
asked for, where the code keeps all that tie with the last.
"""

from fractions import Fraction

import torch

from sw.criteria import weighted_magnitude
from sw.errors import InputError
from sw.fast_selection import keep_mask
from sw.masks import keep_largest, kept_count

__all__ = ["WEIGHT_BASELINES", "weight_mask"]

#: Names of the baselines.
WEIGHT_BASELINES: tuple[str, ...] = ("wt", "wanda")


def weight_mask(
    weight: torch.Tensor,
    pattern: tuple[int, int] | Fraction,
    baseline: str = "wt",
    input_norm: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mask of the weights that are kept: bool (O, C).

    Ties go to the lower input, in a whole matrix to the first in row-major order.

    Parameters
    ----------
    weight
        (O, C), bf16, fp16 or fp32, finite.
    pattern
        (n, m): the n weights of largest score of m consecutive inputs of a row; a ratio 0 <= r < 1:
        ``floor(size * (1 - r))`` of the matrix or the row, at least 1 (`sw.masks.kept_count`).
    baseline
        A name out of `WEIGHT_BASELINES`.
    input_norm
        Of ``wanda``: norm (C,), finite and not negative.

    Raises
    ------
    InputError
        The baseline is unknown, its norm is missing or breaks a rule, or a weight is not finite.
    """
    if baseline not in WEIGHT_BASELINES:
        raise InputError(f"weights must be of {', '.join(WEIGHT_BASELINES)}, not {baseline!r}")
    if bad := int((~weight.isfinite()).sum()):
        raise InputError(f"weights must be finite, not NaN or infinite {bad} times")
    scores = weighted_magnitude(weight.detach(), _scale(weight, baseline, input_norm))
    if isinstance(pattern, tuple):
        return keep_mask(scores, *pattern)
    if baseline == "wt":
        flat = scores.flatten()
        return keep_largest(flat, kept_count(len(flat), pattern)).reshape(scores.shape)
    return keep_largest(scores, kept_count(scores.shape[-1], pattern))


def _scale(
    weight: torch.Tensor, baseline: str, input_norm: torch.Tensor | None
) -> torch.Tensor | None:
    if baseline == "wt":
        return None
    if input_norm is None:
        raise InputError("wanda must have the norms of the inputs, not none (sw.calibrate)")
    if input_norm.shape != weight.shape[1:]:
        raise InputError(
            f"input norms must be of shape {tuple(weight.shape[1:])}, not {tuple(input_norm.shape)}"
        )
    wrong = input_norm[~(input_norm.isfinite() & (input_norm >= 0))]
    if len(wrong):
        raise InputError(f"input norms must be finite and not negative, not {float(wrong[0])}")
    return input_norm.float().to(weight.device)
