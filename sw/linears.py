"""Finding the linear layers of a decoder, whatever its architecture."""

import operator
import re
from collections.abc import Sequence

import torch

from sw.errors import InputError

__all__ = [
    "DISTINCT",
    "PROJECTIONS",
    "SPREAD",
    "check_projections",
    "choose_linears",
    "find_linears",
    "linear_name",
    "linear_order",
    "parse_layers",
]

#: Short names of the linears of a decoder layer, in canonical order; `q` is the module `q_proj`.
#: q, k and v of a layer have the same input, and so have gate and up.
PROJECTIONS: tuple[str, ...] = ("q", "k", "v", "o", "gate", "up", "down")

#: The projections with inputs of their own: k and v read what q reads, up what gate reads.
DISTINCT: tuple[str, ...] = ("q", "o", "gate", "down")

#: The layers that stand for all when none are named: the first, the middle and the last.
SPREAD = "spread"

_MODULE = re.compile(rf"(?:.*\.)?layers\.(\d+)\.(?:.*\.)?({'|'.join(PROJECTIONS)})_proj")
_NAME = re.compile(rf"layers\.(\d+)\.({'|'.join(PROJECTIONS)})_proj")


def linear_name(layer: int, projection: str) -> str:
    """Name of a linear in files and tables: ``layers.<layer>.<projection>_proj``."""
    return f"layers.{layer}.{projection}_proj"


def linear_order(name: str) -> tuple[int, int, int, str]:
    """Sort key: layers as numbers, in a layer the order of `PROJECTIONS`, foreign names last.

    >>> sorted(["layers.10.q_proj", "layers.2.down_proj", "layers.2.q_proj"], key=linear_order)
    ['layers.2.q_proj', 'layers.2.down_proj', 'layers.10.q_proj']
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return 1, 0, 0, name
    return 0, int(match[1]), PROJECTIONS.index(match[2]), name


def find_linears(model: torch.nn.Module) -> dict[tuple[int, str], torch.nn.Module]:
    """Find the linears ``...layers.<layer>...<projection>_proj`` of a model by their names.

    Returns
    -------
    dict
        (layer, projection) -> module, by layer and then in the order of `PROJECTIONS`.

    Raises
    ------
    InputError
        There are none, or two modules claim the same layer and projection.
    """
    found: dict[tuple[int, str], torch.nn.Module] = {}
    for name, module in model.named_modules():
        match = _MODULE.fullmatch(name)
        if match is None:
            continue
        key = int(match[1]), match[2]
        if key in found:
            raise InputError(
                f"model must have one {key[1]}_proj in layer {key[0]}, not a second one {name!r}"
            )
        found[key] = module
    if not found:
        raise InputError(
            "model must have linears named layers.<number>...<projection>_proj with a projection"
            f" of {', '.join(PROJECTIONS)}, not {type(model).__name__} without them"
        )
    return dict(sorted(found.items(), key=lambda item: linear_order(linear_name(*item[0]))))


def check_projections(projections: Sequence[str]) -> list[str]:
    """Short names of linears, each once and in canonical order.

    Raises
    ------
    InputError
        There is none, or one that is not in `PROJECTIONS`.
    """
    if not projections:
        raise InputError(
            f"projections must name at least one of {', '.join(PROJECTIONS)}, not none"
        )
    for name in projections:
        if name not in PROJECTIONS:
            raise InputError(f"projections must be of {', '.join(PROJECTIONS)}, not {name!r}")
    return [name for name in PROJECTIONS if name in projections]


def choose_linears(
    model: torch.nn.Module, layers: Sequence[int] | str, projections: Sequence[str]
) -> tuple[list[int], dict[str, torch.nn.Module]]:
    """The numbers of the chosen layers, and name -> module of the chosen linears.

    Parameters
    ----------
    model
        The model.
    layers
        Numbers of layers from 0, ``all``, or ``spread``: the first, the middle and the last.
    projections
        From `check_projections`.

    Raises
    ------
    InputError
        The model has no such layer, or a layer has no such linear.
    """
    found = find_linears(model)
    available = sorted({layer for layer, _ in found})
    if isinstance(layers, str):
        if layers not in ("all", SPREAD):
            raise InputError(f"layers must be numbers, all or {SPREAD}, not {layers!r}")
        middle = available[(len(available) - 1) // 2]
        numbers = available if layers == "all" else [available[0], middle, available[-1]]
    else:
        numbers = list(map(operator.index, layers))
        if not numbers:
            raise InputError("layers must name at least one layer, not none")
    for layer in numbers:
        if layer not in available:
            raise InputError(
                f"layers must be of {available[0]} to {available[-1]} in this model, not {layer}"
            )
    numbers = sorted(set(numbers))
    chosen = {}
    for layer in numbers:
        for projection in projections:
            if (layer, projection) not in found:
                names = ", ".join(name for number, name in found if number == layer)
                raise InputError(
                    f"projections must be of {names} in layer {layer} of this model,"
                    f" not {projection!r}"
                )
            chosen[linear_name(layer, projection)] = found[layer, projection]
    return numbers, chosen


def parse_layers(argument: str) -> list[int] | str:
    """``0,14,29``, ``0-4``, both mixed, ``all`` or ``spread``, as `choose_linears` takes them.

    Raises
    ------
    InputError
        It is none of these.
    """
    if argument in ("all", SPREAD):
        return argument
    layers: list[int] = []
    for part in argument.split(","):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part, re.ASCII)
        last = int(match[2] or match[1]) if match else -1
        if match is None or last < int(match[1]):
            raise InputError(
                f"layers must be like 0,14,29 or 0-4, or all or {SPREAD}, not {argument!r}"
            )
        layers += range(int(match[1]), last + 1)
    return layers
