"""The weights that captured activations meet, against their definition."""

import pytest
import torch

from sim.weight_groups import weight_groups
from sw.activations import Activations
from sw.sample import WEIGHTS
from sw.weight_sample import read_weight_sample


def captured(name: str, features: int, tokens: int) -> Activations:
    return Activations({name: torch.ones(tokens, features)}, {})


def test_floats_are_rows_of_the_sample() -> None:
    name = "layers.11.gate_proj"
    groups = weight_groups(captured(name, 576, 10), 16, "bf16")
    assert groups.shape == (10 * 36, 16)
    weights = read_weight_sample(WEIGHTS).tensors[name].view(torch.int16).long() & 0xFFFF
    for token, group in ((0, 0), (3, 17), (9, 35)):
        # Eight rows: the tenth token meets the second one.
        expected = weights[token % 8, 16 * group : 16 * group + 16]
        assert torch.equal(groups[token * 36 + group], expected)


def test_integers_have_a_scale_for_each_output() -> None:
    """The largest of an output is 127; a group that is not full is padded."""
    name = "layers.0.down_proj"
    groups = weight_groups(captured(name, 1536, 2), 7, "int8")
    assert groups.shape == (2 * 220, 7)
    for row, weights in enumerate(read_weight_sample(WEIGHTS).tensors[name][:2].double()):
        codes = groups[220 * row : 220 * (row + 1)].flatten()
        numbers = torch.where(codes > 127, codes - 256, codes)
        assert numbers.abs().max() == 127
        assert not numbers[1536:].any()
        scale = weights.abs().max() / 127
        assert (numbers[:1536] * scale - weights).abs().max() <= scale * 0.5000001


@pytest.mark.parametrize(("name", "features"), [("layers.1.q_proj", 576), ("layers.0.q_proj", 64)])
def test_other_model(name: str, features: int) -> None:
    with pytest.raises(ValueError) as error:
        weight_groups(captured(name, features, 1), 4, "int8")
    assert str(error.value) == (
        "captured must be inputs of linears that weights.safetensors has weights of, not of "
        f"{name} with {features} features"
    )
