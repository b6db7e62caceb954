"""A linear whose input is made N:M sparse, in the form that hardware computes.

``y = v * (1 + g) * (P(d) W^T) + (d - P(d)) B^T A^T + eta r^T + b``, as `sw.mitigation` explains it.
The first product is the sparse one; everything else is an epilogue, in fp32, on its result.
"""

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sw.activations import DTYPES
from sw.criteria import CRITERIA, sequence_scales
from sw.masks import masked
from sw.method import Method
from sw.mitigation import (
    row_sums,
    scaling_factors,
    sequence_maxima,
    token_shift,
    variance_factor,
)
from sw.selectors import selector_of

__all__ = ["Call", "Sparse", "SparseLinear", "Sparsifier"]


@dataclass
class Call:
    """What the model's current call says about its tokens.

    Parameters
    ----------
    shape
        (sequences, tokens of each) of the call; None: not known, then the linear's input tells.
    attention_mask
        (sequences, tokens), 0 where a token is padding; None: there is none.
    """

    shape: tuple[int, int] | None = None
    attention_mask: torch.Tensor | None = None

    def is_prefill(self, x: torch.Tensor) -> bool:
        """Whether there is more than one token of a sequence."""
        if self.shape is not None:
            return self.shape[1] > 1
        return x.ndim > 1 and x.shape[-2] > 1

    def sequences(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The input as (..., tokens, C), one sequence after the other, and the padding."""
        if self.shape is not None and x[..., 0].numel() == self.shape[0] * self.shape[1]:
            return x.reshape(*self.shape, -1), self.attention_mask
        return (x if x.ndim > 1 else x.unsqueeze(0)), None


@dataclass(frozen=True)
class Sparse:
    """What a sparsifier makes of the input of a linear.

    Parameters
    ----------
    d
        Shifted activations (..., C).
    mask
        What is kept of them, bool (..., C).
    kept
        P(d): d where it is kept, +0 elsewhere.
    eta
        The token's shift (..., 1), None where it is a constant or absent.
    factor
        v (..., 1) in fp32, None without VAR.
    scaling
        s in fp32, None without scaling: weights are those times s.
    """

    d: torch.Tensor
    mask: torch.Tensor
    kept: torch.Tensor
    eta: torch.Tensor | None
    factor: torch.Tensor | None
    scaling: torch.Tensor | None


class Sparsifier:
    """From the input of a linear to what is kept of it.

    Linears with the same input share one if nothing in it depends on the linear: what was computed
    last is kept, and given again for the same tensor.

    Parameters
    ----------
    method
        A method that drops activations.
    call
        What the model's current call says.
    """

    def __init__(self, method: Method, call: Call) -> None:
        self.method = method
        self.call = call
        self._select = selector_of(method)
        self._last: tuple[weakref.ref[torch.Tensor], int, Sparse] | None = None

    @staticmethod
    def is_shared(method: Method) -> bool:
        """Whether a method keeps the same of an input in all linears that read it."""
        return (
            CRITERIA[method.criterion].needs != "weights"
            and method.shift in ("none", "d-pts-mean", "d-pts-median", "l-pts-bias")
            and method.scaling == "none"
        )

    def number_type(self, dtype: torch.dtype) -> torch.dtype:
        """Type of the shift: that of the activations, or where it is one the hardware's."""
        method = self.method
        return DTYPES.get(method.dtype, dtype) if method.exact == "hw" else dtype

    def acts(self, x: torch.Tensor) -> bool:
        """Whether the method acts on this call: on prefill, on decoding, on both."""
        # Experts without a token are called all the same.
        if x.numel() == 0:
            return False
        phase = self.method.phase
        return phase == "both" or (phase == "prefill") == self.call.is_prefill(x)

    def forget(self) -> None:
        """Drop what was kept of the last input."""
        self._last = None

    def __call__(
        self,
        x: torch.Tensor,
        *,
        scale: torch.Tensor | None = None,
        shift: torch.Tensor | None = None,
        input_max: torch.Tensor | None = None,
        weight_max: torch.Tensor | None = None,
    ) -> Sparse:
        """Sparse activations of an input (..., C); the rest are constants of the linear."""
        arguments = scale, shift, input_max, weight_max
        # A graph of gradients serves one backward pass, and tensors of inference mode do not tell
        # whether they have changed.
        needs_gradient = x.requires_grad and torch.is_grad_enabled()
        if not self.is_shared(self.method) or needs_gradient or x.is_inference():
            return self._sparsify(x, *arguments)
        if self._last is not None:
            reference, version, sparse = self._last
            if reference() is x and version == x._version:
                return sparse
        sparse = self._sparsify(x, *arguments)
        self._last = (weakref.ref(x), x._version, sparse)
        return sparse

    def _sparsify(
        self,
        x: torch.Tensor,
        scale: torch.Tensor | None,
        shift: torch.Tensor | None,
        input_max: torch.Tensor | None,
        weight_max: torch.Tensor | None,
    ) -> Sparse:
        scaling = None
        # What hardware reads is rounded to its format, and so is its shift.
        source = x.to(self.number_type(x.dtype))
        if weight_max is not None:
            scaling = self._scaling(x, input_max, weight_max)
            source = x / scaling.to(x.dtype)
        if CRITERIA[self.method.criterion].needs == "sequence":
            tokens, attention_mask = self.call.sequences(source)
            column = sequence_scales(tokens.detach(), attention_mask)
            if tokens.shape == x.shape:
                scale = column
            else:
                scale = column.expand(tokens.shape).reshape(x.shape)
        eta = None
        if self.method.shift in ("d-pts-mean", "d-pts-median"):
            eta = token_shift(source, "mean" if self.method.shift == "d-pts-mean" else "median")
        d, mask = self._select(source, scale, shift if eta is None else eta)
        d = d.to(x.dtype)
        kept = masked(d, mask)
        factor = variance_factor(d, kept) if self.method.var else None
        if scaling is not None and eta is None and shift is None:
            # Weights times s undo the division: what is kept are the activations themselves.
            return Sparse(x, mask, masked(x, mask), None, factor, None)
        return Sparse(d, mask, kept, eta, factor, scaling)

    def _scaling(
        self, x: torch.Tensor, input_max: torch.Tensor | None, weight_max: torch.Tensor
    ) -> torch.Tensor:
        if input_max is not None:
            return scaling_factors(input_max, weight_max)
        tokens, attention_mask = self.call.sequences(x)
        factors = scaling_factors(sequence_maxima(tokens, attention_mask), weight_max)
        if tokens.shape == x.shape:
            return factors
        return factors.expand(tokens.shape).reshape(x.shape)


class SparseLinear(torch.nn.Module):
    """In place of a linear: its weights and bias, which it shares, and a sparse input.

    Parameters are called as in the linear, so that the model's state is the same.

    Parameters
    ----------
    weight
        Parameter of the linear, (O, C), or (C, O) where `transposed`.
    bias
        Its bias (O,) or None.
    transposed
        Whether the weights are stored the other way, as in the `Conv1D` of GPT-2.
    sparsifier
        None: the input stays dense.
    constants
        Role -> fp32 tensor (`sw.constants`).  They stay fp32 when the model changes its type.

    Attributes
    ----------
    is_dense
        Set it, and the linear computes as the dense one for a while.
    """

    weight: torch.nn.Parameter
    bias: torch.nn.Parameter | None

    def __init__(
        self,
        weight: torch.nn.Parameter,
        bias: torch.nn.Parameter | None,
        *,
        transposed: bool = False,
        sparsifier: Sparsifier | None = None,
        constants: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.register_parameter("bias", bias)
        self.transposed = transposed
        self.sparsifier = sparsifier
        self.is_dense = False
        self.constants = {
            role: tensor.to(weight.device) for role, tensor in (constants or {}).items()
        }
        if sparsifier is not None and sparsifier.method.scaling != "none":
            self.constants["weight_max"] = self.matrix.detach().abs().amax(0).float()
        self._folded = self._fold()

    @property
    def matrix(self) -> torch.Tensor:
        """The weights (O, C)."""
        return self.weight.t() if self.transposed else self.weight

    @property
    def in_features(self) -> int:
        """C."""
        return self.matrix.shape[1]

    @property
    def out_features(self) -> int:
        """O."""
        return self.matrix.shape[0]

    @property
    def own_tensors(self) -> dict[str, torch.Tensor]:
        """Constants, and what was computed from them and the weights."""
        return {**self.constants, **self._folded}

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        method = "dense" if self.sparsifier is None else self.sparsifier.method.linear_text
        shape = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{shape}, bias={self.bias is not None}, method={method}"

    def train_constants(self, roles: Iterable[str]) -> list[torch.Tensor]:
        """Let gradients into constants; these tensors are the parameters of a training."""
        trained = [self.constants[role].requires_grad_() for role in roles]
        self._folded = self._fold()
        return trained

    def freeze(self) -> None:
        """End the training of constants."""
        self.constants = {role: tensor.detach() for role, tensor in self.constants.items()}
        self._folded = self._fold()

    def _apply(self, fn: Any, recurse: bool = True) -> "SparseLinear":
        super()._apply(fn, recurse)
        # Constants follow to another device, but not to another type.
        device = self.weight.device
        self.constants = {role: tensor.to(device) for role, tensor in self.constants.items()}
        self._folded = self._fold()
        if self.sparsifier is not None:
            self.sparsifier.forget()
        return self

    def _fold(self) -> dict[str, torch.Tensor]:
        """What follows from the weights and constants, unless these are in training.

        ``offset``: all that is added to each token alike, b and where eta is a constant eta W^T.
        ``row_sums``: r, where eta is the token's.
        """
        method = self.sparsifier.method if self.sparsifier is not None else Method()
        if any(tensor.requires_grad for tensor in self.constants.values()):
            return {}
        folded = {}
        if (offset := self._offset()) is not None:
            folded["offset"] = offset
        if method.shift in ("d-pts-mean", "d-pts-median") and method.scaling == "none":
            folded["row_sums"] = row_sums(self.matrix)
        return folded

    def _offset(self, scaling: torch.Tensor | None = None) -> torch.Tensor | None:
        """Bias and constant shift as one term, fp32 (O,), or of each sequence with its scaling."""
        offset = None if self.bias is None else self.bias.float()
        terms = [self.constants.get("bias")]
        shift = self.constants.get("shift")
        if shift is not None:
            # As it is subtracted: rounded.
            sparsifier = self.sparsifier
            dtype = self.weight.dtype
            number_type = dtype if sparsifier is None else sparsifier.number_type(dtype)
            eta = shift.to(number_type).float().expand(self.in_features)
            if scaling is not None:
                eta = eta * scaling
            terms.append(_linear(eta, self.matrix.float()))
        for term in terms:
            if term is not None:
                offset = term if offset is None else offset + term
        return offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (..., O) of inputs (..., C), in the type of the inputs."""
        sparsifier = self.sparsifier
        if self.is_dense or sparsifier is None or not sparsifier.acts(x):
            return _linear(x, self.matrix, self.bias)
        constants = {role: self.constants[role] for role in _INPUT_SIDE & self.constants.keys()}
        sparse = sparsifier(x, **constants)
        if sparse.factor is None and sparse.eta is None and self.constants.keys() <= _SELECTING:
            return _linear(sparse.kept, self.matrix, self.bias)
        return self._epilogue(sparse, x.dtype)

    def _epilogue(self, sparse: Sparse, dtype: torch.dtype) -> torch.Tensor:
        kept = sparse.kept
        if sparse.scaling is not None:
            kept = kept * sparse.scaling.to(dtype)
        y = _linear(kept, self.matrix).float()
        # Nothing else holds y, but a gradient may need it as it was.
        into = None if torch.is_grad_enabled() else y
        if sparse.factor is not None:
            y = torch.mul(y, sparse.factor, out=into)
        if "gain" in self.constants:
            y = torch.mul(y, 1 + self.constants["gain"], out=into)
        if "left" in self.constants:
            y = torch.add(y, self._low_rank(sparse, dtype), out=into)
        if sparse.eta is not None:
            y = torch.addcmul(y, sparse.eta.float(), self._row_sums(sparse.scaling), out=into)
        offset = self._folded.get("offset")
        if sparse.scaling is not None or offset is None:
            offset = self._offset(sparse.scaling)
        if offset is not None:
            y = torch.add(y, offset, out=into)
        return y.to(dtype)

    def _low_rank(self, sparse: Sparse, dtype: torch.dtype) -> torch.Tensor:
        """``(d - P(d)) B^T A^T``."""
        dropped = masked(sparse.d, ~sparse.mask)
        if sparse.scaling is not None:
            dropped = dropped * sparse.scaling.to(dtype)
        left, right = (self.constants[role].to(dtype) for role in ("left", "right"))
        return _linear(_linear(dropped, right), left).float()

    def _row_sums(self, scaling: torch.Tensor | None) -> torch.Tensor:
        if scaling is not None:
            return _linear(scaling, self.matrix.float())
        folded = self._folded.get("row_sums")
        return row_sums(self.matrix) if folded is None else folded


_linear = torch.nn.functional.linear

#: Constants that the sparsifier reads, and those of them that leave nothing to the epilogue.
_INPUT_SIDE = frozenset({"scale", "shift", "input_max", "weight_max"})
_SELECTING = _INPUT_SIDE - {"shift"}
