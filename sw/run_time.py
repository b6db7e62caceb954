"""Golden models of patterns, and of numbers of kept lanes, that are chosen transfer by transfer."""

from collections.abc import Sequence

import torch

from hw.config import metadata_bits
from sw.codes import bits_of
from sw.metadata import encode, rank_terms
from sw.selection import select

__all__ = ["any_rank", "code_bits", "pack_dense", "padded_index", "select_any_n", "select_flexible"]


def select_any_n(keys: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """Mask of the n largest of M keys, n chosen for each group: bool (..., M).

    Lane j is kept iff fewer than n lanes beat it, as in `sw.selection.select`; where n is 0 or more
    than M no lane is kept.

    Parameters
    ----------
    keys
        Non-negative integers (..., M).
    n
        Integers (...).
    """
    m = keys.shape[-1]
    lanes = torch.arange(m, device=keys.device)
    own, other = keys.unsqueeze(-1), keys.unsqueeze(-2)
    beaten = (other > own) | ((other == own) & (lanes < lanes.unsqueeze(-1)))
    limit = torch.where(n > m, 0, n).unsqueeze(-1)
    return beaten.sum(-1) < limit


def select_flexible(
    keys: torch.Tensor, pattern: torch.Tensor, patterns: Sequence[tuple[int, int]]
) -> torch.Tensor:
    """Mask of L / m groups of n:m side by side, n:m chosen for each transfer: bool (T, L).

    Parameters
    ----------
    keys
        Non-negative integers (T, L).
    pattern
        Number of the pattern in force (T,); one that is not in the list keeps no lane.
    patterns
        All patterns (n, m).
    """
    mask = torch.zeros(keys.shape, dtype=torch.bool, device=keys.device)
    for number, (n, m) in enumerate(patterns):
        chosen = pattern == number
        mask[chosen] = select(keys[chosen].unflatten(-1, (-1, m)), n).flatten(-2)
    return mask


def pack_dense(codes: torch.Tensor, mask: torch.Tensor, slots: int) -> torch.Tensor:
    """Kept codes in ascending lane order from slot 0 on, other slots +0: (T, L) to (T, slots)."""
    order = (~mask).to(torch.int8).argsort(stable=True, dim=-1)[:, :slots]
    return torch.where(mask.gather(-1, order), codes.gather(-1, order), 0)


def padded_index(mask: torch.Tensor, slots: int) -> torch.Tensor:
    """Kept lanes in ascending order from slot 0 on, other slots 0: (T, M) to (T, slots)."""
    lanes = torch.arange(mask.shape[-1], device=mask.device).expand(mask.shape)
    return pack_dense(lanes, mask, slots)


def any_rank(mask: torch.Tensor) -> torch.Tensor:
    """Sum over the kept lanes c_1 < c_2 < ... of C(c_k, k), however many: (T, M) to (T, 1)."""
    m = mask.shape[-1]
    order = mask.cumsum(-1).clamp(min=1) - 1
    terms = rank_terms(m, m).to(mask.device)[order, torch.arange(m, device=mask.device)]
    return torch.where(mask, terms, 0).sum(-1, keepdim=True)


def code_bits(
    mask: torch.Tensor,
    pattern: torch.Tensor,
    patterns: Sequence[tuple[int, int]],
    code: str,
    width: int,
) -> torch.Tensor:
    """Metadata of all groups, end to end, as bits: (T, L) to (T, width), the rest 0.

    Each group has the metadata of its pattern (`sw.metadata.encode`), lanes counted from its first.
    """
    lanes = mask.shape[-1]
    bits = torch.zeros(len(mask), width, dtype=torch.int64, device=mask.device)
    for number, (n, m) in enumerate(patterns):
        chosen = (pattern == number).nonzero().flatten()
        fields = encode(mask[chosen].unflatten(-1, (-1, m)), n, code).flatten(-2)
        field_width = metadata_bits(code, n, m) * (lanes // m) // fields.shape[-1]
        listed = bits_of(fields, field_width)
        bits[chosen, : listed.shape[-1]] = listed.to(torch.int64)
    return bits
