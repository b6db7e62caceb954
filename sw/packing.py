"""Golden model of packing kept values and unpacking them."""

import torch

__all__ = ["kept_lanes", "pack", "unpack"]


def kept_lanes(mask: torch.Tensor, n: int) -> torch.Tensor:
    """Lanes of the kept values in ascending order: int64 (..., n).

    Parameters
    ----------
    mask
        bool (..., M), exactly n true in each group.

    Raises
    ------
    ValueError
        A group has another number of kept lanes.
    """
    counts = mask.sum(-1)
    if bool((counts != n).any()):
        wrong = int(counts[counts != n].flatten()[0])
        raise ValueError(f"mask must keep exactly {n} lanes of each group, not {wrong}")
    return mask.nonzero()[:, -1].reshape(*mask.shape[:-1], n)


def pack(codes: torch.Tensor, mask: torch.Tensor, n: int) -> torch.Tensor:
    """Kept codes in ascending lane order: (..., M) to (..., n), slot 0 first."""
    return codes.gather(-1, kept_lanes(mask, n))


def unpack(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Dense groups of packed codes: (..., n) to (..., M), +0 (code 0) where dropped."""
    dense = torch.zeros(mask.shape, dtype=values.dtype, device=values.device)
    return dense.scatter(-1, kept_lanes(mask, values.shape[-1]), values)
