"""Golden model of what a tile does beside its sparsifiers and its PEs."""

import torch

from hw.config import UnitConfig
from sw.packing import pack

__all__ = ["meet", "to_rows", "whole_steps"]

Payload = dict[str, torch.Tensor]

#: What of a tile's input each row has for itself.
_OF_ROW = ("data", "pattern")


def whole_steps(inputs: Payload) -> Payload:
    """The transfers of both input streams as far as both go: a step needs one of each."""
    steps = min(map(len, inputs.values()))
    return {name: codes[:steps] for name, codes in inputs.items()}


def to_rows(config: UnitConfig, inputs: Payload) -> Payload:
    """The input of each row's sparsifier: R transfers for each of the tile's, row after row.

    ``data`` and ``pattern`` are the row's own, as is a ``shift`` of the token; all else is common.

    Parameters
    ----------
    config
        The tile.
    inputs
        Codes (T, ...), a column for each element of the port.
    """
    own = (*_OF_ROW, "shift") if config.shift == "token" else _OF_ROW
    return {
        name: codes.reshape(len(codes) * config.rows, -1)
        if name in own
        else codes.repeat_interleave(config.rows, dim=0)
        for name, codes in inputs.items()
        if name != "weights"
    }


def meet(
    values: torch.Tensor, weights: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors of each PE: kept values of its row, and its column's weights of their lanes.

    Both (T, rows, cols, n).

    Parameters
    ----------
    values
        Packed (T, rows, n).
    weights
        Of all lanes (T, cols, M).
    mask
        bool (T, rows, M); n lanes true.
    """
    n = values.shape[-1]
    rows, cols = values.shape[1], weights.shape[1]
    own = weights.unsqueeze(1).expand(-1, rows, -1, -1)
    chosen = pack(own, mask.unsqueeze(2).expand(-1, -1, cols, -1), n)
    return values.unsqueeze(2).expand_as(chosen), chosen
