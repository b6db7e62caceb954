from typing import Any

import pytest
import torch

from sw.errors import InputError
from sw.layer_walk import LayerWalk
from sw.method import Method
from sw.sparse_model import choose_linears
from tests.sw.test_sparse_model import ARCHITECTURES, ids, make


def hidden_states(model: Any, tokens: torch.Tensor) -> list[torch.Tensor]:
    """Input of each layer, and behind the last one the result of its norm."""
    with torch.no_grad():
        return model(tokens, use_cache=False, output_hidden_states=True).hidden_states


def paths(model: Any, name: str) -> list[str]:
    return list(choose_linears(model, Method.parse(f"2:4,linears={ARCHITECTURES[name][1]}")))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_walk_is_the_forward_pass(name: str) -> None:
    model = make(name)
    windows = [ids(9), ids(9) + 1, ids(9) // 2]
    walk = LayerWalk(model, paths(model, name), windows)
    assert [layer.number for layer in walk.layers] == [0, 1]
    expected = [hidden_states(model, window) for window in windows]
    for place, layer in enumerate(walk.layers):
        for number in range(3):
            torch.testing.assert_close(walk.hidden[number], expected[number][place])
            walk.advance(layer, number)
    # No hook stays.
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_walk_ends_with_the_last_linear() -> None:
    model = make("llama")
    walk = LayerWalk(model, ["model.layers.0.mlp.up_proj"], [ids(5)])
    assert [layer.path for layer in walk.layers] == ["model.layers.0"]
    assert walk.layers[0].module is model.model.layers[0]


def test_linears_outside_of_layers() -> None:
    model = make("llama")
    with pytest.raises(InputError) as caught:
        LayerWalk(model, ["lm_head"], [ids(5)])
    assert str(caught.value) == "linears must lie in numbered layers, not lm_head"


def test_layers_that_depend_on_the_window() -> None:
    # Something that a layer needs differs from window to window: silently wrong, if not checked.
    model = make("llama")
    decoder, first = model.model, model.model.layers[0]
    forward = first.forward
    calls: list[bool] = []

    def scaled(hidden: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        return forward(hidden * named.pop("factor"), *arguments, **named)

    def give(_: Any, arguments: Any, named: Any) -> Any:
        # Only inside of the model does a layer get what belongs to the window.
        return (arguments, named | {"factor": 1.0 + len(calls)}) if calls[-1] else None

    first.forward = scaled
    decoder.register_forward_pre_hook(lambda *_: calls.append(True))
    decoder.register_forward_hook(lambda *_: calls.append(False), always_call=True)
    first.register_forward_pre_hook(give, with_kwargs=True, prepend=True)
    with pytest.raises(InputError) as caught:
        LayerWalk(model, paths(model, "llama"), [ids(5), ids(5)])
    assert str(caught.value) == (
        "model must run its layers one after the other, each window alike, not LlamaForCausalLM,"
        " whose layer model.layers.1 gets something else"
    )
