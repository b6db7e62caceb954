"""A decoder layer by layer: the hidden states of many windows, one layer at a time.

What a layer needs beside its input, such as positions and the causal mask, is the same for all
windows of one length; it is taken from one forward pass of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sw.errors import InputError
from sw.sparse_model import layer_number

__all__ = ["Layer", "LayerWalk"]

#: How far the walk may be off the model's own forward pass, relative to the largest number.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Layer:
    """A layer of a decoder.

    Parameters
    ----------
    number
        Its number in its paths.
    path
        Its path in the model.
    module
        The layer.
    """

    number: int
    path: str
    module: torch.nn.Module


class _Reached(Exception):
    """The rest of the forward pass is of no use."""


class LayerWalk:
    """Hidden states of windows on their way through the layers of a decoder.

    Parameters
    ----------
    model
        A causal language model of `transformers` whose layers follow each other.
    linears
        Paths of linears in the model: those layers are walked that hold them, and all before.
    windows
        Tokens (1, T) each, all of one length.

    Attributes
    ----------
    layers
        The layers in order.
    hidden
        Input of the next layer for each window, (1, T, hidden size).

    Raises
    ------
    InputError
        A linear is in no layer, or the layers cannot be walked.
    """

    def __init__(self, model: Any, linears: Sequence[str], windows: Sequence[torch.Tensor]) -> None:
        self.layers = _layers(model, linears)
        self._arguments: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self.hidden = [self._first_input(model, window) for window in windows]
        self._check(model, windows[-1])

    def _first_input(self, model: Any, window: torch.Tensor) -> torch.Tensor:
        """Run the model up to its first layer; all of it for the first window."""
        seen: list[torch.Tensor] = []

        def look(layer: Layer) -> Any:
            def hook(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
                hidden, rest, named = _split(arguments, named)
                if layer is self.layers[0]:
                    seen.append(hidden.detach())
                self._arguments[layer.path] = rest, named
                if layer is self.layers[-1]:
                    raise _Reached

            return hook

        is_first = not self._arguments
        hooked = self.layers if is_first else self.layers[:1]
        _run(model, window, {layer: look(layer) for layer in hooked}, stop_at_once=not is_first)
        return seen[0]

    def _check(self, model: Any, window: torch.Tensor) -> None:
        """Compare the first step of the last window with the model's own."""
        if len(self.layers) < 2:
            return
        seen: list[torch.Tensor] = []

        def look(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            seen.append(_split(arguments, named)[0])
            raise _Reached

        _run(model, window, {self.layers[1]: look})
        with torch.no_grad():
            walked = self.run(self.layers[0], self.hidden[-1])
        off = (walked - seen[0]).abs().max() / seen[0].abs().max()
        if not bool(off <= _TOLERANCE):
            raise InputError(
                f"model must run its layers one after the other, each window alike, not"
                f" {type(model).__name__}, whose layer {self.layers[1].path} gets something else"
            )

    def run(self, layer: Layer, hidden: torch.Tensor) -> torch.Tensor:
        """Output of a layer for an input."""
        rest, named = self._arguments[layer.path]
        output = layer.module(hidden, *rest, **named)
        return output[0] if isinstance(output, tuple) else output

    @torch.no_grad()
    def advance(self, layer: Layer, window: int) -> None:
        """Replace the hidden state of a window by the output of a layer."""
        self.hidden[window] = self.run(layer, self.hidden[window])


def _run(
    model: Any, window: torch.Tensor, hooks: dict[Layer, Any], *, stop_at_once: bool = False
) -> None:
    handles = [
        layer.module.register_forward_pre_hook(hook, with_kwargs=True)
        for layer, hook in hooks.items()
    ]
    if stop_at_once:
        layer = next(iter(hooks))
        handles.append(layer.module.register_forward_pre_hook(_stop))
    try:
        with torch.no_grad():
            model.base_model(window, use_cache=False)
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()


def _stop(*_: Any) -> None:
    raise _Reached


def _split(
    arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[torch.Tensor, tuple[Any, ...], dict[str, Any]]:
    """Hidden states, and the rest of the arguments of a layer."""
    if arguments:
        return arguments[0], arguments[1:], dict(named)
    rest = dict(named)
    return rest.pop("hidden_states"), (), rest


def _layers(model: Any, linears: Sequence[str]) -> list[Layer]:
    modules = dict(model.named_modules())
    lists = set()
    last = 0
    for path in linears:
        number = layer_number(path)
        if number is None:
            raise InputError(f"linears must lie in numbered layers, not {path}")
        parts = path.split(".")
        lists.add(".".join(parts[: parts.index(str(number))]))
        last = max(last, number)
    if len(lists) != 1:
        raise InputError(f"linears must lie in one list of layers, not in {', '.join(lists)}")
    prefix = lists.pop()
    return [
        Layer(number, f"{prefix}.{number}", modules[f"{prefix}.{number}"])
        for number in range(last + 1)
    ]
