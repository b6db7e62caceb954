"""Finding the linear layers of a decoder, whatever its architecture."""

import re

import torch

from sw.errors import InputError

__all__ = ["PROJECTIONS", "find_linears", "linear_name", "linear_order"]

#: Short names of the linears of a decoder layer, in canonical order; `q` is the module `q_proj`.
#: q, k and v of a layer have the same input, and so have gate and up.
PROJECTIONS: tuple[str, ...] = ("q", "k", "v", "o", "gate", "up", "down")

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
