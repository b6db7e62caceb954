import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from sw.constants import Constants, constants_of
from sw.errors import InputError
from sw.layer_walk import LayerWalk
from sw.method import Method
from sw.parts import Parts
from sw.sparse_model import choose_linears, sparsify
from sw.training import Recipe, initial_constants, steps_of, train
from tests.sw.test_sparse_model import ids, make

WINDOWS = [ids(12), ids(12) + 1, (ids(12) * 5) % 60, (ids(12) * 7 + 3) % 60]
FAST = Recipe(epochs=4, learning_rate=5e-4)

METHODS = [
    "2:4,ls",
    "2:4,ls=scale",
    "2:4,shift=l-pts",
    "2:4,shift=l-pts-bias",
    "2:4,low-rank=8:trained",
    "2:4,criterion=amber,shift=d-pts-mean,var,ls",
    "2:4,shift=l-pts,var,ls,low-rank=4:trained",
    "2:4,ls,exact=hw",
    "2:4,ls,phase=decode",
]


@pytest.fixture(scope="module")
def model() -> Any:
    return make("llama")


def output_error(model: Any, method: Method, constants: Constants) -> float:
    """Of the last layer, from the whole model's own forward pass."""
    with torch.no_grad():
        dense = [model(w, output_hidden_states=True).hidden_states[-1] for w in WINDOWS]
        with sparsify(model, method, constants, progress=False):
            got = [model(w, output_hidden_states=True).hidden_states[-1] for w in WINDOWS]
    return sum(float((a - b).square().mean()) for a, b in zip(dense, got, strict=True))


@pytest.mark.parametrize("text", METHODS)
def test_training_helps(model: Any, text: str) -> None:
    method = Method.parse(text)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    constants, losses = train(model, method, WINDOWS, recipe=FAST)
    assert [loss.layer for loss in losses] == [0, 1]
    assert all(loss.after < loss.before for loss in losses)
    names = {one.name for one in constants_of(method) if one.source == "training"}
    linears = choose_linears(model, method)
    assert list(constants.tensors) == list(linears)
    assert all(named.keys() == names for named in constants.tensors.values())
    assert all(
        bool((tensor != 0).any()) and not tensor.requires_grad
        for named in constants.tensors.values()
        for tensor in named.values()
    )
    # The model is as it was.
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    if "phase" not in text:
        start = Constants(initial_constants(method, linears, FAST.seed), {})
        assert output_error(model, method, constants) < output_error(model, method, start)


def test_recipe_step_by_step(model: Any) -> None:
    # One layer, one linear, the published recipe written out for its only constant.
    method = Method.parse("2:4,ls=scale,linears=model.layers.0.mlp.down_proj")
    recipe = Recipe(epochs=2, learning_rate=3e-3, warmup=0.3, clip=1e-6)
    constants, _ = train(model, method, WINDOWS, recipe=recipe)
    (got,) = constants.tensors["model.layers.0.mlp.down_proj"].values()

    path = "model.layers.0.mlp.down_proj"
    walk = LayerWalk(model, [path], WINDOWS)
    down = model.get_submodule(path)
    seen: list[torch.Tensor] = []
    hook = down.register_forward_hook(lambda _, arguments, __: seen.append(arguments[0]))
    for number in range(4):
        walk.advance(walk.layers[0], number)
    hook.remove()
    gain = torch.zeros(32)
    first, second = torch.zeros(32), torch.zeros(32)
    steps, warm = 8, 3
    generator = torch.Generator().manual_seed(0)
    step = 0
    for _ in range(2):
        for window in torch.randperm(4, generator=generator).tolist():
            x = seen[window]
            groups = x.unflatten(-1, (-1, 4)).abs()
            kept = x.clone()
            kept.unflatten(-1, (-1, 4))[groups < groups.sort(-1).values[..., 2:3]] = 0
            y = kept @ down.weight.T
            # d/dg of mean((y (1 + g) - target)**2); what is beside the linear cancels.
            error = y * (1 + gain) - x @ down.weight.T
            gradient = (2 * error * y / error.numel()).sum((0, 1))
            gradient = gradient * min(1.0, 1e-6 / (float(gradient.norm()) + 1e-6))
            rate = 3e-3 * (step / warm if step < warm else (steps - step) / (steps - warm))
            step += 1
            first = 0.9 * first + 0.1 * gradient
            second = 0.95 * second + 0.05 * gradient.square()
            unbiased = (second / (1 - 0.95**step)).sqrt() + 1e-8
            gain = gain - rate * (first / (1 - 0.9**step)) / unbiased
    torch.testing.assert_close(got, gain, rtol=1e-3, atol=1e-6)


def test_each_layer_starts_from_the_sparse_ones(model: Any) -> None:
    # The loss before training of layer 1 is that on what the trained sparse layer 0 gives.
    method = Method.parse("2:4,ls")
    constants, losses = train(model, method, WINDOWS, recipe=FAST)
    linears = choose_linears(model, method)
    start = initial_constants(method, linears, 0)
    mixed = {path: constants.tensors[path] if ".0." in path else start[path] for path in linears}
    walk = LayerWalk(model, list(linears), WINDOWS)
    total = 0.0
    for number in range(4):
        with sparsify(model, method, Constants(mixed, {}), progress=False):
            walk.advance(walk.layers[0], number)
        with torch.no_grad():
            dense = walk.run(walk.layers[1], walk.hidden[number])
            with sparsify(model, method, Constants(mixed, {}), progress=False):
                sparse = walk.run(walk.layers[1], walk.hidden[number])
        total += float((dense - sparse).square().mean()) / 4
    assert losses[1].before == pytest.approx(total, rel=1e-4)


def test_token0_counts_or_not(model: Any) -> None:
    both = [
        train(model, Method.parse("2:4,ls"), WINDOWS, recipe=Recipe(), token0=token0)[1][0].before
        for token0 in (True, False)
    ]
    assert both[0] != pytest.approx(both[1], rel=1e-3)


def test_equal_seeds_give_equal_constants(model: Any) -> None:
    method = Method.parse("2:4,low-rank=4:trained,linears=down")
    runs = [
        train(model, method, WINDOWS, recipe=Recipe(seed=seed))[0].to_bytes() for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_start(model: Any) -> None:
    method = Method.parse("2:4,ls,low-rank=64:trained")
    start = initial_constants(method, choose_linears(model, method), 0)
    up, down = (start[f"model.layers.0.mlp.{name}_proj"] for name in ("up", "down"))
    for constant in constants_of(method):
        value = down[constant.name]
        if constant.role in ("left", "right"):
            assert float(value.std()) == pytest.approx(0.02, rel=0.1)
            assert float(value.mean()) == pytest.approx(0, abs=0.002)
            assert value.flatten()[:9].tolist() != up[constant.name].flatten()[:9].tolist()
        else:
            assert not bool(value.any())


def test_stopped_and_taken_up(model: Any, tmp_path: Path) -> None:
    method = Method.parse("2:4,ls,low-rank=4:trained")
    whole, losses = train(model, method, WINDOWS, recipe=FAST)
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == steps_of(4, FAST) + 7:
            raise KeyboardInterrupt

    parts = Parts(tmp_path / "parts", {})
    with pytest.raises(KeyboardInterrupt):
        train(model, method, WINDOWS, recipe=FAST, parts=parts, step=step)
    assert parts.resume("training")[0] == 1
    count = 10**6
    again, rest = train(model, method, WINDOWS, recipe=FAST, parts=parts, step=step)
    assert count - 10**6 == 2 * steps_of(4, FAST)
    assert again.to_bytes() == whole.to_bytes()
    assert rest == losses[1:]


def test_transposed_weights() -> None:
    method = Method.parse("2:4,ls,low-rank=4:trained,linears=*.mlp.c_fc+*.mlp.c_proj")
    _, losses = train(make("gpt2"), method, WINDOWS, recipe=FAST)
    assert all(loss.after < loss.before for loss in losses)


def test_layers_that_stay_dense(model: Any) -> None:
    constants, losses = train(model, Method.parse("2:4,ls,skip-layers=0"), WINDOWS, recipe=FAST)
    assert [loss.layer for loss in losses] == [1]
    assert all(".1." in path for path in constants.tensors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2:4", "method must have something to learn, not 2:4"),
        ("2:4,criterion=amber", "method must have something to learn, not 2:4,criterion=amber"),
    ],
)
def test_nothing_to_learn(model: Any, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        train(model, Method.parse(text), WINDOWS)
    assert str(caught.value) == message


def test_diverging(model: Any) -> None:
    recipe = Recipe(epochs=9, learning_rate=1e30, warmup=0)
    with pytest.raises(InputError) as caught:
        train(model, Method.parse("2:4,ls"), WINDOWS, recipe=recipe)
    assert str(caught.value) == ("learning-rate must keep the loss of layer 0 finite, not 1e+30")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"learning_rate": 0.0}, "learning-rate must be positive, not 0.0"),
        ({"learning_rate": math.nan}, "learning-rate must be positive, not nan"),
        ({"clip": -1.0}, "clip must be positive, not -1.0"),
        ({"warmup": 1.5}, "warmup must be between 0 and 1, not 1.5"),
    ],
)
def test_wrong_recipe(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Recipe(**options)
    assert str(caught.value) == message


def test_published_recipe() -> None:
    assert Recipe() == Recipe(1, 1e-4, 0.03, (0.9, 0.95), 0.0, 1.0, 0)
    assert transformers.get_linear_schedule_with_warmup is not None
