import doctest
import random

import pytest
import torch

import sw.linears
from sw.errors import InputError
from sw.linears import PROJECTIONS, find_linears, linear_name, linear_order


class Tree(torch.nn.Module):
    """Linears at the dotted paths given."""

    def __init__(self, *paths: str) -> None:
        super().__init__()
        for path in paths:
            *folders, leaf = path.split(".")
            place: torch.nn.Module = self
            for folder in folders:
                if not hasattr(place, folder):
                    place.add_module(folder, torch.nn.Module())
                place = getattr(place, folder)
            place.add_module(leaf, torch.nn.Linear(1, 1))


def test_doctests() -> None:
    assert doctest.testmod(sw.linears).failed == 0


def test_order_is_numeric_and_by_projection() -> None:
    names = [linear_name(layer, name) for layer in (0, 2, 10) for name in PROJECTIONS]
    names += ["anything", "layers.1.other"]
    shuffled = names.copy()
    random.Random(1).shuffle(shuffled)
    assert sorted(shuffled, key=linear_order) == names


def test_found_wherever_the_layers_are() -> None:
    model = Tree(
        "model.language.layers.10.mlp.down_proj",
        "model.language.layers.2.mlp.down_proj",
        "model.language.layers.2.self_attn.q_proj",
        "model.language.embed",
        "model.language.layers.2.norm",
    )
    found = find_linears(model)
    assert list(found) == [(2, "q"), (2, "down"), (10, "down")]
    assert found[10, "down"] is model.get_submodule("model.language.layers.10.mlp.down_proj")


def test_layers_at_the_top() -> None:
    assert list(find_linears(Tree("layers.0.q_proj"))) == [(0, "q")]


def test_none() -> None:
    with pytest.raises(InputError) as caught:
        find_linears(Tree("h.0.attn.c_attn", "mylayers.0.q_proj", "layers.0.qkv_proj"))
    assert str(caught.value) == (
        "model must have linears named layers.<number>...<projection>_proj with a projection of"
        " q, k, v, o, gate, up, down, not Tree without them"
    )


def test_two_of_one_name() -> None:
    with pytest.raises(InputError) as caught:
        find_linears(Tree("layers.3.expert0.up_proj", "layers.3.expert1.up_proj"))
    assert str(caught.value) == (
        "model must have one up_proj in layer 3, not a second one 'layers.3.expert1.up_proj'"
    )
