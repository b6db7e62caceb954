"""Golden model of the metadata codes.

Metadata is held field by field, as `hw.ports` lists them: the bitmap as M bits (..., M), the index
list as N lanes (..., N).
"""

import torch

from sw.packing import kept_lanes

__all__ = ["decode", "encode"]


def encode(mask: torch.Tensor, n: int, code: str) -> torch.Tensor:
    """Metadata of masks: int64 (..., fields).

    ``bitmap``: bit j is 1 iff lane j is kept.  ``index``: field k is the lane of the k-th kept
    value, ascending.

    Parameters
    ----------
    mask
        bool (..., M), exactly n true in each group.
    n
        Lanes kept of each group.
    code
        Name of the code.
    """
    lanes = kept_lanes(mask, n)
    return {"bitmap": mask.to(torch.int64), "index": lanes}[code]


def decode(fields: torch.Tensor, n: int, m: int, code: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of metadata, and whether it was illegal: bool (..., m), bool (...).

    Illegal is what no mask has: a bitmap with a number of ones other than n; an index of m or more,
    or indices equal or not ascending.  Its mask is all false.
    """
    if code == "bitmap":
        mask = fields.to(torch.bool)
        error = mask.sum(-1) != n
    else:
        error = (fields >= m).any(-1) | (fields.diff(dim=-1) <= 0).any(-1)
        lanes = torch.arange(m, device=fields.device)
        mask = (fields.unsqueeze(-1) == lanes).any(-2)
    return mask & ~error.unsqueeze(-1), error
