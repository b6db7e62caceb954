"""Golden model of the metadata codes.

Metadata is held field by field, as `hw.ports` lists them: the bitmap as M bits (..., M), without
the one that is implied M - 1, the index list as N lanes (..., N), the rank as one number (..., 1).
"""

from math import comb

import torch

from sw.packing import kept_lanes

__all__ = ["decode", "encode", "rank_terms"]


def rank_terms(n: int, m: int) -> torch.Tensor:
    """What kept lanes add to the rank of their mask: int64 (n, m), C(lane, k) at [k - 1, lane]."""
    return torch.tensor([[comb(j, k) for j in range(m)] for k in range(1, n + 1)])


def encode(mask: torch.Tensor, n: int, code: str) -> torch.Tensor:
    """Metadata of masks: int64 (..., fields).

    ``bitmap``: bit j is 1 iff lane j is kept.  ``bitmap-implied``: the same for all lanes but the
    last one.  ``index``: field k is the lane of the k-th kept value, ascending.  ``enumerative``:
    with c_1 < ... < c_n the kept lanes, the sum over k of C(c_k, k), the combinatorial number
    system.  ``decoded``: m - n + 1 bits for each k, of which one is 1: that of the distance of the
    lane from lane k; then one bit, 0.

    Parameters
    ----------
    mask
        bool (..., M), exactly n true in each group.
    n
        Lanes kept of each group.
    code
        Name of the code.

    Raises
    ------
    ValueError
        A group has another number of kept lanes.
    """
    lanes = kept_lanes(mask, n)
    if code == "bitmap":
        return mask.to(torch.int64)
    if code == "bitmap-implied":
        return mask[..., :-1].to(torch.int64)
    if code == "index":
        return lanes
    if code == "decoded":
        window = mask.shape[-1] - n + 1
        slots = torch.arange(n, device=mask.device)
        select = torch.nn.functional.one_hot(lanes - slots, window).flatten(-2)
        return torch.nn.functional.pad(select, (0, 1))
    terms = rank_terms(n, mask.shape[-1]).to(mask.device)
    slots = torch.arange(n, device=mask.device)
    return terms[slots, lanes].sum(-1, keepdim=True)


def decode(fields: torch.Tensor, n: int, m: int, code: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of metadata, and whether it was illegal: bool (..., m), bool (...).

    Illegal is what no mask has: a bitmap with a number of ones other than n; one without its last
    bit with a number other than n and n - 1; an index of m or more, or indices equal or not
    ascending; a rank of C(m, n) or more; decoded metadata that says so with its last bit.  Its mask
    is all false.
    """
    lanes = torch.arange(m, device=fields.device)
    if code == "bitmap":
        mask = fields.to(torch.bool)
        error = mask.sum(-1) != n
    elif code == "bitmap-implied":
        mask = fields.to(torch.bool)
        implied = mask.sum(-1, keepdim=True) < n
        mask = torch.cat([mask, implied], dim=-1)
        error = mask.sum(-1) != n
    elif code == "index":
        error = (fields >= m).any(-1) | (fields.diff(dim=-1) <= 0).any(-1)
        mask = (fields.unsqueeze(-1) == lanes).any(-2)
    elif code == "decoded":
        select, error = fields[..., :-1].unflatten(-1, (n, m - n + 1)), fields[..., -1] != 0
        chosen = select.argmax(-1) + torch.arange(n, device=fields.device)
        mask = (chosen.unsqueeze(-1) == lanes).any(-2)
    else:
        rank = fields[..., 0]
        error = rank >= comb(m, n)
        # The greatest lane with C(lane, k) <= rank is kept, from the last one on.
        rest = torch.where(error, 0, rank)
        mask = torch.zeros(*rank.shape, m, dtype=torch.bool, device=fields.device)
        for k in range(n, 0, -1):
            terms = rank_terms(n, m)[k - 1, k - 1 : k + m - n].to(fields.device)
            place = torch.searchsorted(terms, rest.contiguous(), right=True) - 1
            mask |= lanes == (place + k - 1).unsqueeze(-1)
            rest = rest - terms[place]
    return mask & ~error.unsqueeze(-1), error
