"""Statistics of what a linear reads, gathered window by window: the constants that need tokens."""

import math
from collections.abc import Iterable

import torch

from sw.mitigation import token_shift

__all__ = ["NAMES", "InputStatistics"]

#: Names of the constants (`sw.constants`) that can be gathered.
NAMES: tuple[str, ...] = ("shift.s-pts", "shift.s-pts-channel", "input_norm", "input_max")


class InputStatistics:
    """Constants of one linear from all that it reads; sums are fp64.

    =======================  =====================================================================
    name                     value
    =======================  =====================================================================
    ``shift.s-pts``          mean over tokens of the median of the token's features
    ``shift.s-pts-channel``  mean over tokens of each feature
    ``input_norm``           sqrt(mean over windows of sum over the window's tokens of x**2)
    ``input_max``            max over tokens of |x|
    =======================  =====================================================================

    Parameters
    ----------
    names
        Which of them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(name for name in NAMES if name in set(names))
        self._tokens = 0
        self._windows = 0
        self._totals: dict[str, torch.Tensor] = {}

    def update(self, x: torch.Tensor) -> None:
        """Take in the activations of one window (tokens, C)."""
        self._tokens += len(x)
        self._windows += 1
        for name in self.names:
            if name == "shift.s-pts":
                value = token_shift(x, "median").double().sum()
            elif name == "shift.s-pts-channel":
                value = x.sum(0, dtype=torch.float64)
            elif name == "input_norm":
                value = x.double().square().sum(0)
            else:
                value = x.abs().amax(0).double()
            total = self._totals.get(name)
            if total is None:
                self._totals[name] = value
            else:
                self._totals[name] = (
                    torch.maximum(total, value) if name == "input_max" else total + value
                )

    def constants(self) -> dict[str, torch.Tensor]:
        """Name -> fp32 tensor; at least one window was taken in."""
        values = {}
        for name, total in self._totals.items():
            if name == "input_max":
                value = total
            elif name == "input_norm":
                value = total.sqrt() / math.sqrt(self._windows)
            else:
                value = total / self._tokens
            values[name] = value.float()
        return values
