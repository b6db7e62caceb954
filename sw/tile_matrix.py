"""Products of matrices as the steps of a tile, and back."""

import torch

from hw.config import UnitConfig
from sw.codes import signed
from sw.groups import to_groups
from sw.tile import Payload

__all__ = ["product_of_sums", "steps_of_product"]


def steps_of_product(config: UnitConfig, data: torch.Tensor, weights: torch.Tensor) -> Payload:
    """Steps for ``data @ weights.T``: a reduction for each R tokens and C outputs.

    The tokens of one reduction meet all outputs before the next ones come.  Rows, columns and lanes
    that are left over are fed with zeros.

    Parameters
    ----------
    config
        The tile, R x C of M lanes.
    data
        Codes of the activations (tokens, features).
    weights
        Codes of the weights (outputs, features).

    Returns
    -------
    Payload
        ``data`` (T, R * M), ``last`` (T, 1) and ``weights`` (T, C * M), T = ceil(tokens / R) *
        ceil(outputs / C) * ceil(features / M).
    """
    rows, cols = (
        _blocks(to_groups(codes, config.m), count)
        for codes, count in ((data, config.rows), (weights, config.cols))
    )
    shape = (len(rows), len(cols), -1, -1)
    steps = {
        "data": rows.unsqueeze(1).expand(shape),
        "weights": cols.unsqueeze(0).expand(shape),
    }
    last = torch.zeros(len(rows), len(cols), rows.shape[1], 1, dtype=torch.int64)
    last[:, :, -1] = 1
    return {name: codes.flatten(0, 2) for name, codes in {**steps, "last": last}.items()}


def _blocks(groups: torch.Tensor, count: int) -> torch.Tensor:
    """(rows, groups, M) to (blocks, groups, count * M): so many rows side by side."""
    missing = -len(groups) % count
    padded = torch.nn.functional.pad(groups, (0, 0, 0, 0, 0, missing))
    return padded.unflatten(0, (-1, count)).transpose(1, 2).flatten(2)


def product_of_sums(
    config: UnitConfig, sums: torch.Tensor, tokens: int, outputs: int
) -> torch.Tensor:
    """What the tile made of `steps_of_product`: int64 (tokens, outputs).

    Parameters
    ----------
    config
        The tile, of integers.
    sums
        Codes of its results (reductions, R * C).
    tokens, outputs
        Rows and columns of the product.
    """
    blocks = signed(sums, config.acc_width).unflatten(1, (config.rows, config.cols))
    product = blocks.unflatten(0, (-(-tokens // config.rows), -1)).transpose(1, 2)
    return product.flatten(2).flatten(0, 1)[:tokens, :outputs]
