"""Groups: M consecutive elements along the reduction dimension of one token."""

import torch

__all__ = ["to_groups"]


def to_groups(rows: torch.Tensor, m: int) -> torch.Tensor:
    """Rows of length K cut into groups: (..., K) to (..., ceil(K / m), m).

    A row whose length is not a multiple of m is padded with zeros (code 0 is +0 in every format) at
    its end, so that no group crosses a row.  Otherwise the groups share the memory of the rows.
    """
    if missing := -rows.shape[-1] % m:
        rows = torch.nn.functional.pad(rows, (0, missing))
    return rows.unflatten(-1, (-1, m))
