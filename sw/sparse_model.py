"""Putting a method of sparsity into a model in place, and taking it out again."""

import fnmatch
import inspect
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from tabulate import tabulate

from hw.progress import progress_bar
from sw.constants import (
    Constants,
    ConstantsError,
    check_shape,
    constants_of,
    from_weights,
    read_constants,
)
from sw.errors import InputError
from sw.linears import PROJECTIONS
from sw.method import Method
from sw.sparse_linear import Call, SparseLinear, Sparsifier
from sw.weight_pruning import weight_mask

__all__ = ["Sparsified", "choose_linears", "layer_number", "sparsify", "weight_matrix"]

_LAYER = re.compile(r"(?:^|\.)(\d+)(?=\.)")


def layer_number(path: str) -> int | None:
    """Number of the layer that a module belongs to: the first number in its path.

    >>> layer_number("model.layers.12.mlp.experts.3.up_proj")
    12
    """
    match = _LAYER.search(path)
    return int(match[1]) if match else None


def choose_linears(model: torch.nn.Module, method: Method) -> dict[str, Any]:
    """The linears of a model that a method names: path -> module, in the model's order.

    A name with a dot or one of ``*?[`` is a pattern of the whole path, as of `fnmatch`.  Any other
    name is that of the module itself, with or without ``_proj``: ``up`` is ``up_proj``, ``fc1`` is
    ``fc1``; of these only the decoder's count, so that the linears of a vision tower stay as they
    are.  Layers of `skip_layers` are left out.

    Raises
    ------
    InputError
        A name fits nothing, fits something that is no linear, or nothing is left.
    """
    chosen: dict[str, Any] = {}
    used = set()
    prefix = _decoder_path(model)
    for path, module in model.named_modules():
        for name in method.linears:
            if _fits(path, name, prefix):
                used.add(name)
                chosen[path] = module
    # The usual names are a list of what may be there; what somebody lists must be.
    if method.linears != PROJECTIONS and (missing := set(method.linears) - used):
        raise InputError(f"linears must be in {type(model).__name__}, not {sorted(missing)[0]!r}")
    if not chosen:
        raise InputError(
            f"linears must be in {type(model).__name__}, not only {', '.join(method.linears)}"
        )
    chosen = {
        path: module
        for path, module in chosen.items()
        if layer_number(path) not in method.skip_layers
    }
    if not chosen:
        raise InputError(
            "skip-layers must leave a layer with linears, not"
            f" {'+'.join(map(str, method.skip_layers))}"
        )
    for path, module in chosen.items():
        if isinstance(module, SparseLinear):
            raise InputError(f"model must be dense, not sparse already in {path} (undo it first)")
        if not isinstance(module, torch.nn.Linear) and not _is_transposed(module):
            raise InputError(f"linears must be linear layers, not {type(module).__name__} ({path})")
    return chosen


def _fits(path: str, name: str, prefix: str) -> bool:
    if "." in name or any(character in name for character in "*?["):
        return fnmatch.fnmatchcase(path, name)
    last = path.rpartition(".")[2]
    return path.startswith(prefix) and last in (name, f"{name}_proj")


def _decoder_path(model: torch.nn.Module) -> str:
    """Beginning of the paths of all modules of the text decoder."""
    get_decoder: Any = getattr(model, "get_decoder", None)
    decoder = None if get_decoder is None else get_decoder()
    paths = (path for path, module in model.named_modules() if module is decoder)
    path = next(paths, "")
    return f"{path}." if path else ""


def _is_transposed(module: torch.nn.Module) -> bool:
    """Whether it is the `Conv1D` of GPT-2: a linear whose weights are (C, O)."""
    return type(module).__name__ == "Conv1D" and getattr(module, "nf", None) is not None


def weight_matrix(linear: Any) -> torch.Tensor:
    """The weights of a linear as (O, C), whichever way they are stored."""
    return linear.weight.t() if _is_transposed(linear) else linear.weight


class Sparsified:
    """A model that a method was put into; `undo` takes it out, and so does a ``with`` block.

    Attributes
    ----------
    model
        The model.
    method
        The method.
    linears
        Paths of the linears that were replaced, in the model's order.
    call
        What the model's current call says about its tokens.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        method: Method,
        originals: Mapping[str, Any],
        replacements: Mapping[str, SparseLinear],
        call: Call,
    ) -> None:
        self.model = model
        self.method = method
        self.linears = tuple(replacements)
        self.call = call
        self._originals = dict(originals)
        self._replacements = dict(replacements)
        self._hooks: list[Any] = []
        self._install()

    def _install(self) -> None:
        for path, replacement in self._replacements.items():
            _replace(self.model, path, replacement)
        base = getattr(self.model, "base_model", self.model)
        if self.linears and isinstance(base, torch.nn.Module):
            self._hooks = [
                base.register_forward_pre_hook(self._before, with_kwargs=True),
                base.register_forward_hook(self._after, always_call=True),
            ]

    def _before(
        self, module: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        names = inspect.signature(module.forward).parameters
        given = dict(zip(names, arguments, strict=False)) | named
        tokens = given.get("input_ids")
        tokens = given.get("inputs_embeds") if tokens is None else tokens
        attention_mask = given.get("attention_mask")
        if isinstance(tokens, torch.Tensor) and tokens.ndim >= 2:
            self.call.shape = tokens.shape[0], tokens.shape[1]
            if isinstance(attention_mask, torch.Tensor) and attention_mask.ndim == 2:
                # With a cache the mask is of all tokens, of which the last are in this call.
                mask = attention_mask[:, -tokens.shape[1] :]
                self.call.attention_mask = mask if mask.shape == self.call.shape else None

    def _after(self, *_: Any) -> None:
        self.call.shape = self.call.attention_mask = None
        for replacement in self._replacements.values():
            if replacement.sparsifier is not None:
                replacement.sparsifier.forget()

    def undo(self) -> None:
        """Put the linears back, with the parameters that the model has now; again does nothing."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        for path, original in self._originals.items():
            replacement = self._replacements[path]
            if self.method.weights == "none":
                original.weight = replacement.weight
            else:
                original.to(replacement.weight.device, replacement.weight.dtype)
            original.bias = replacement.bias
            _replace(self.model, path, original)
        self._originals = {}

    def __enter__(self) -> "Sparsified":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()

    def linear(self, path: str) -> SparseLinear:
        """What stands in the place of a linear."""
        return self._replacements[path]

    def report(self) -> str:
        """What was done, as text: linears by name, kept features, constants and their memory."""
        kinds: dict[tuple[str, int, int], list[SparseLinear]] = {}
        for path, replacement in self._replacements.items():
            key = path.rpartition(".")[2], replacement.in_features, replacement.out_features
            kinds.setdefault(key, []).append(replacement)
        rows = []
        for (name, features, outputs), linears in kinds.items():
            tensors = [tensor for linear in linears for tensor in linear.own_tensors.values()]
            size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            roles = Counter(role for linear in linears for role in linear.own_tensors)
            rows.append(
                [
                    name,
                    len(linears),
                    f"{features:,}",
                    f"{outputs:,}",
                    ", ".join(roles) or "none",
                    f"{size:,}",
                ]
            )
        headers = ["linear", "count", "inputs", "outputs", "constants", "bytes"]
        table = tabulate(
            rows,
            headers,
            colalign=("left", "right", "right", "right", "left", "right"),
            disable_numparse=True,
        )
        kept = "weights" if self.method.weights != "none" else "inputs"
        lines = [
            f"method: {self.method}",
            f"{len(self.linears)} linears of {type(self.model).__name__} have sparse {kept}",
        ]
        if self.method.skip_layers:
            lines.append(f"dense layers: {', '.join(map(str, self.method.skip_layers))}")
        if self.method.phase != "both":
            lines.append(f"sparse in {self.method.phase} only")
        return "\n".join([*lines, table]) if rows else "\n".join(lines)


def sparsify(
    model: torch.nn.Module,
    method: Method | str,
    constants: Constants | Path | str | None = None,
    *,
    progress: bool = True,
) -> Sparsified:
    """Put a method into a causal language model of `transformers`, in place.

    Each chosen linear is replaced by one with a sparse input that shares its weights and bias
    (`sw.sparse_linear`); every other module stays what it is, and so do the names of all
    parameters.  Two hooks on the base model read the attention mask and the number of tokens of
    each call.  Constants that follow from the weights and are not given are computed; those and the
    sums of the weights are of the weights as they are now.

    A call is prefill when it has more than one token of a sequence.

    Parameters
    ----------
    model
        Any module with linears of the names that the method lists; bf16, fp16 or fp32.
    method
        The method or its text; ``dense`` changes nothing.
    constants
        Of `sw.calibrate`, or their file.
    progress
        Whether a progress bar shows while constants are computed.

    Raises
    ------
    InputError
        The method does not fit the model, or a constant is missing or does not fit.
    """
    if isinstance(method, str):
        method = Method.parse(method)
    if isinstance(constants, Path | str):
        constants = read_constants(constants)
    chosen = choose_linears(model, method) if method.pattern is not None else {}
    call = Call()
    shared = None
    if method.weights == "none" and method.pattern is not None and Sparsifier.is_shared(method):
        shared = Sparsifier(method, call)
    replacements = {}
    with progress_bar(
        total=len(chosen), desc="constants", unit="linear", disable=not progress
    ) as bar:
        for path, module in chosen.items():
            values = _constants(path, module, method, constants)
            if method.weights != "none":
                replacements[path] = _pruned(path, module, method, values)
            else:
                replacements[path] = SparseLinear(
                    module.weight,
                    module.bias,
                    transposed=_is_transposed(module),
                    sparsifier=shared or Sparsifier(method, call),
                    constants=values,
                )
            bar.update()
    return Sparsified(model, method, chosen, replacements, call)


def _constants(
    path: str, module: Any, method: Method, constants: Constants | None
) -> dict[str, torch.Tensor]:
    """Role -> constant of one linear."""
    weight = weight_matrix(module)
    values = {}
    computed: dict[str, torch.Tensor] | None = None
    for constant in constants_of(method):
        value = None if constants is None else constants.get(path, constant)
        if value is None and constant.source == "weights":
            if computed is None:
                computed = _from_weights(path, method, weight)
            value = computed[constant.name]
        if value is None:
            raise ConstantsError(
                f"constants must hold {constant.name} of {path}, not leave it out"
                f" (python -m sw.calibrate {str(method)!r})"
            )
        check_shape(f"{constant.name} of {path}", method, constant, value, weight.shape)
        values[constant.role] = value
    return values


def _from_weights(path: str, method: Method, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    try:
        return from_weights(method, weight)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _pruned(
    path: str, module: Any, method: Method, values: Mapping[str, torch.Tensor]
) -> SparseLinear:
    """A linear with pruned weights of its own and a dense input."""
    if method.pattern is None:
        raise InputError("weights must have a pattern, not be dense")
    try:
        mask = weight_mask(
            weight_matrix(module), method.pattern, method.weights, values.get("input_norm")
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    transposed = _is_transposed(module)
    pruned = torch.where(mask.t() if transposed else mask, module.weight.detach(), 0)
    parameter = torch.nn.Parameter(pruned, requires_grad=module.weight.requires_grad)
    return SparseLinear(parameter, module.bias, transposed=transposed)


def _replace(model: torch.nn.Module, path: str, module: torch.nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
