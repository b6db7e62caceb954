"""Masks without a pattern, as many as asked for of a whole token, and what masks leave."""

import operator
from fractions import Fraction

import torch

__all__ = ["keep_largest", "kept_count", "masked", "score_keys"]

_BITS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


def score_keys(scores: torch.Tensor) -> torch.Tensor:
    """Integers in the order of magnitudes: the bits of a score below its sign.

    NaN ranks above infinity, infinity above finite scores, and both zeros are 0.

    Parameters
    ----------
    scores
        bf16, fp16 or fp32.

    Returns
    -------
    torch.Tensor
        int16, or int32 for fp32, same shape.

    Raises
    ------
    TypeError
        The scores have another type.
    """
    if scores.dtype not in _BITS:
        raise TypeError(f"scores must be bf16, fp16 or fp32, not {scores.dtype}")
    integers = _BITS[scores.dtype]
    return scores.detach().contiguous().view(integers) & torch.iinfo(integers).max


def keep_largest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Mask of the `count` largest scores of each row, wherever they are: bool (..., C).

    The order is that of N:M (`sw.fast_selection.keep_mask`): on a tie the feature with the lower
    number wins.

    Parameters
    ----------
    scores
        As of `score_keys`, C at least 1.
    count
        0 .. C.

    Raises
    ------
    ValueError
        The count is out of range.
    """
    features = scores.shape[-1]
    count = operator.index(count)
    if not 0 <= count <= features:
        raise ValueError(f"count must be between 0 and the {features} features, not {count}")
    keys = score_keys(scores)
    if count == 0:
        return torch.zeros_like(keys, dtype=torch.bool)
    threshold = keys.kthvalue(features - count + 1, dim=-1, keepdim=True).values
    above = keys > threshold
    equal = keys == threshold
    places = count - above.sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= places))


def kept_count(size: int, ratio: Fraction) -> int:
    """How many of `size` elements a sparsity of `ratio` keeps: ``floor(size * (1 - ratio))``.

    Exact, where ``int(size * (1 - 0.9))`` in binary floating point keeps one too few of 2,560; at
    least 1, so that no token is empty.

    Examples
    --------
    >>> [kept_count(size, Fraction("0.9")) for size in (2560, 10240, 3)]
    [256, 1024, 1]
    """
    return max(1, size - -(-size * ratio.numerator // ratio.denominator))


def masked(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Activations where the mask is set, +0 elsewhere.

    What is kept stays to the last bit, NaN payloads too; what is dropped is +0 even where it was
    negative, infinite or NaN.  Gradients pass where the mask is set.

    Parameters
    ----------
    x
        bf16, fp16 or fp32.
    mask
        bool of the same shape.
    """
    if x.requires_grad:
        return torch.where(mask, x, 0)
    # A product of integers takes a small part of the time of `torch.where`.
    return (x.contiguous().view(_BITS[x.dtype]) * mask).view(x.dtype)
