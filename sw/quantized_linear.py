"""A linear layer in integers: activations with a scale a token, weights with a scale an output."""

from dataclasses import dataclass

import torch

from hw.config import UnitConfig
from sw.codes import signed
from sw.golden import sparsify
from sw.groups import to_groups
from sw.packing import unpack
from sw.quantize import row_scales, to_codes

__all__ = ["ErrorOfOutputs", "QuantizedLinear", "error_of"]


@dataclass(frozen=True)
class ErrorOfOutputs:
    """How far outputs are from those that they should be.

    Parameters
    ----------
    relative
        ``||y - z|| / ||z||`` over all tokens and outputs.
    of_token
        The same of each token, averaged.
    cosine
        ``y . z / (||y|| ||z||)`` of each token, averaged.
    """

    relative: float
    of_token: float
    cosine: float


def error_of(outputs: torch.Tensor, wanted: torch.Tensor) -> ErrorOfOutputs:
    """Of y = `outputs` against z = `wanted`, both (tokens, outputs), in float64."""
    y, z = outputs.double(), wanted.double()
    of_token = (y - z).norm(dim=-1) / z.norm(dim=-1)
    cosine = torch.nn.functional.cosine_similarity(y, z, dim=-1)
    return ErrorOfOutputs(
        float((y - z).norm() / z.norm()), float(of_token.mean()), float(cosine.mean())
    )


@dataclass(frozen=True)
class QuantizedLinear:
    """``y = x @ W.T`` of one linear on some tokens, and the same in integers.

    With s(t) and s(o) the largest magnitude of token t and of output o's weights, over the largest
    number of the format (`sw.quantize.row_scales`): ``y(t, o) ~ s(t) s(o) * the product of codes``.

    Parameters
    ----------
    x
        Activations (tokens, features), floating point.
    weight
        Weights (outputs, features), floating point.
    dtype
        Number format of both, one of integers.
    """

    x: torch.Tensor
    weight: torch.Tensor
    dtype: str = "int8"

    @property
    def data(self) -> torch.Tensor:
        """Codes of the activations (tokens, features)."""
        return to_codes(self.x, self.dtype)

    @property
    def weights(self) -> torch.Tensor:
        """Codes of the weights (outputs, features)."""
        return to_codes(self.weight, self.dtype)

    @property
    def outputs(self) -> torch.Tensor:
        """``x @ W.T`` in float64."""
        return self.x.double() @ self.weight.double().T

    def kept(self, config: UnitConfig) -> torch.Tensor:
        """Which activations are kept of a pattern: bool (tokens, features), by their codes."""
        _, mask = sparsify(config, to_groups(self.data, config.m))
        return mask.flatten(-2)[:, : self.x.shape[-1]]

    def sparse_outputs(self, config: UnitConfig) -> torch.Tensor:
        """``outputs`` of the kept activations alone."""
        return torch.where(self.kept(config), self.x.double(), 0) @ self.weight.double().T

    def product(self, config: UnitConfig) -> torch.Tensor:
        """The exact product of the kept codes and the weights' codes: int64 (tokens, outputs)."""
        values, mask = sparsify(config, to_groups(self.data, config.m))
        width = config.format.width
        kept = signed(unpack(values, mask), width).flatten(-2)[:, : self.x.shape[-1]]
        return kept @ signed(self.weights, width).T

    def numbers(self, product: torch.Tensor) -> torch.Tensor:
        """What a product of codes stands for: float64."""
        tokens, outputs = row_scales(self.x, self.dtype), row_scales(self.weight, self.dtype)
        return product.double() * tokens * outputs.T
