"""Cutting a stream of transfers into reductions: runs that end with ``last``."""

from collections.abc import Iterator

import torch

__all__ = ["equal_reductions", "reduction_count"]


def reduction_count(last: torch.Tensor) -> int:
    """Number of whole reductions in a stream; what follows the last `last` belongs to none."""
    return int((last != 0).sum())


def equal_reductions(last: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Reductions of one length after those of another.

    Parameters
    ----------
    last
        Whether a transfer ends its reduction: any shape of T elements.

    Yields
    ------
    tuple
        Numbers of the reductions of that length (R,), and of their transfers (R, length).
    """
    ends = last.flatten().nonzero().flatten() + 1
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    lengths = ends - starts
    for length in lengths.unique().tolist():
        chosen = (lengths == length).nonzero().flatten()
        yield chosen, starts[chosen].unsqueeze(-1) + torch.arange(length, device=starts.device)
