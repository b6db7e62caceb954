"""Golden model of the selection."""

import torch

__all__ = ["select"]


def select(keys: torch.Tensor, n: int) -> torch.Tensor:
    """Mask of the lanes that are kept: bool (..., M), exactly n true in each group.

    Lane j is kept iff fewer than n lanes beat it; lane i beats lane j iff ``key_i > key_j``, or the
    keys are equal and i < j: on a tie the lower lane wins.

    Parameters
    ----------
    keys
        Non-negative integers (..., M), int64 below 2**56.
    n
        Lanes kept of each group, 1 .. M.

    Raises
    ------
    TypeError
        The keys are not int64.
    ValueError
        n is out of range.
    """
    if keys.dtype != torch.int64:
        raise TypeError(f"keys must be torch.int64, not {keys.dtype}")
    m = keys.shape[-1]
    if not 1 <= n <= m:
        raise ValueError(f"n must be between 1 and m = {m}, not {n}")
    # No two lanes share a rank, so that topk has no ties to break in an order of its own.
    lanes = torch.arange(m, device=keys.device)
    ranks = keys * m + (m - 1 - lanes)
    return ranks >= ranks.topk(n, sorted=True).values[..., -1:]
