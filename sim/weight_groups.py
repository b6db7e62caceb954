"""The weights that captured activations meet in their model, group by group."""

import torch

from sw.activations import Activations, group_rows
from sw.quantize import to_codes
from sw.sample import WEIGHTS
from sw.weight_sample import read_weight_sample

__all__ = ["weight_groups"]


def weight_groups(activations: Activations, m: int, dtype: str) -> torch.Tensor:
    """For each group of `sw.quantize.code_groups` the weights of one output, codes (G, m).

    The outputs are those of the committed sample of weights, token by token another one.  Formats
    that have a scale have one for each output, that of its whole row (`sw.quantize.to_codes`);
    padding is 0.

    Raises
    ------
    ValueError
        The sample has no weights of a linear that was captured.
    """
    sample = read_weight_sample(WEIGHTS).tensors
    groups = []
    for name, x in activations.tensors.items():
        tokens, features = x.shape
        weights = sample.get(name)
        if weights is None or weights.shape[1] != features:
            raise ValueError(
                f"captured must be inputs of linears that {WEIGHTS.name} has weights of, not of "
                f"{name} with {features} features"
            )
        rows = group_rows(to_codes(weights, dtype), m).unflatten(0, (len(weights), -1))
        groups.append(rows[torch.arange(tokens) % len(weights)].flatten(0, 1))
    return torch.cat(groups)
