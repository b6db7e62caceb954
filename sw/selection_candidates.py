"""Other ways to the mask of N:M: the one that everybody writes, and those that lost.

They are here so that the comparison with `sw.fast_selection` can be made again:
``python -m sw.benchmark_selection --all``.  Each takes bf16, fp16 or fp32 (..., K) on a CPU, with K
a multiple of m, and gives bool (..., K).  All but `topk_scatter` give the mask of
`sw.selection.select`.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from sw.fast_selection import comparators, nth_greatest
from sw.masks import score_keys

__all__ = ["CANDIDATES", "Selection", "compiled_network", "topk_scatter"]

#: From x, n and m to the mask.
Selection = Callable[[torch.Tensor, int, int], torch.Tensor]

#: Groups that are worked on at a time, so that temporary results stay in a core's cache.
_BLOCK = 1 << 13

#: A lane has six bits below the magnitude, as in `sw.fast_selection`.
_LANES = 64


def topk_scatter(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """The n lanes of `torch.topk`, set in a mask.

    On a CPU any of the lanes that tie may be kept.
    """
    groups = x.abs().view(-1, m)
    lanes = groups.topk(n).indices
    return torch.zeros(groups.shape, dtype=torch.bool).scatter_(-1, lanes, True).view(x.shape)


def counting(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """Lane j is kept iff fewer than n lanes beat it: m * m comparisons a group."""
    lower = torch.ones(m, m, dtype=torch.bool).tril(-1)
    mask = torch.empty(x.shape, dtype=torch.bool)
    for codes, part in _blocks(x, mask, m):
        keys = score_keys(codes)
        own, other = keys.unsqueeze(-1), keys.unsqueeze(-2)
        beaten = torch.where(lower, other >= own, other > own)
        torch.lt(beaten.sum(-1, dtype=torch.int8), n, out=part)
    return mask


def torch_network(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """The network of `sw.fast_selection` in PyTorch instead of NumPy."""
    mask = torch.empty(x.shape, dtype=torch.bool)
    for codes, part in _blocks(x, mask, m):
        lanes = _distinct(score_keys(codes).t().contiguous().unbind(0))
        threshold = nth_greatest(lanes, n, comparators(n, m), torch.maximum, torch.minimum)
        part.copy_((torch.stack(lanes) >= threshold).t())
    return mask


def counted_ties(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """The network on magnitudes alone, half as wide; ties are then counted lane by lane."""
    mask = torch.empty(x.shape, dtype=torch.bool)
    for codes, part in _blocks(x, mask, m):
        lanes = [lane.copy() for lane in score_keys(codes).numpy().T]
        threshold = nth_greatest(lanes, n, comparators(n, m), np.maximum, np.minimum)
        above = [lane > threshold for lane in lanes]
        places = n - np.sum(above, axis=0, dtype=np.int8)
        for kept, lane, greater in zip(part.numpy().T, lanes, above, strict=True):
            tied = (lane == threshold) & (places > 0)
            places -= tied
            np.logical_or(greater, tied, out=kept)
    return mask


def bisection(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """The threshold bit by bit from the highest: a bit is set if n keys still reach it."""
    mask = torch.empty(x.shape, dtype=torch.bool)
    for codes, part in _blocks(x, mask, m):
        width = codes.dtype.itemsize * 8 - 1 + (_LANES - 1).bit_length()
        keys = torch.stack(_distinct(score_keys(codes).unbind(1))).numpy()
        threshold = np.zeros_like(keys[0])
        for bit in reversed(range(width)):
            trial = threshold | (1 << bit)
            reached = np.sum(keys >= trial, axis=0, dtype=np.int8) >= n
            threshold = np.where(reached, trial, threshold)
        np.greater_equal(keys, threshold, out=part.numpy().T)
    return mask


def compiled_network(n: int, m: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network as one kernel by ``torch.compile``, of one pattern, for any number of groups.

    It is compiled at the first call for each type, and what it needs is then missing with a
    RuntimeError: a C++ compiler, or a platform that ``torch.compile`` knows.
    """
    network = comparators(n, m)

    def mask_of(groups: torch.Tensor) -> torch.Tensor:
        lanes = _distinct(score_keys(groups).unbind(-1))
        threshold = nth_greatest(lanes, n, network, torch.maximum, torch.minimum)
        return torch.stack([lane >= threshold for lane in lanes], dim=-1)

    # All patterns share the code of `mask_of`, and of one code only so many variants are kept.
    torch.compiler.reset()
    kernel = torch.compile(mask_of, fullgraph=True, dynamic=True)
    return lambda x: kernel(x.view(-1, m)).view(x.shape)


#: Those that need no compiler, by the names in the table.
CANDIDATES: dict[str, Selection] = {
    "counting": counting,
    "network in PyTorch": torch_network,
    "counted ties": counted_ties,
    "bisection": bisection,
}


def _blocks(
    x: torch.Tensor, mask: torch.Tensor, m: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    return zip(x.view(-1, m).split(_BLOCK), mask.view(-1, m).split(_BLOCK), strict=True)


def _distinct(lanes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Magnitudes with the lane below them, greater for a lower one."""
    wide = torch.int32 if lanes[0].dtype == torch.int16 else torch.int64
    return [lane.to(wide) * _LANES + (_LANES - 1 - number) for number, lane in enumerate(lanes)]
