import copy
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

import sw
from sw.constants import Constants
from sw.criteria import amber_scales
from sw.errors import InputError
from sw.linears import PROJECTIONS
from sw.method import Method
from sw.model import LanguageModel
from sw.sparse_linear import SparseLinear
from sw.sparse_model import choose_linears, layer_number, sparsify
from tests.sw.tiny_model import CONTEXT, FEED_FORWARD, HIDDEN, LAYERS, WORDS

LINEARS = [
    f"model.layers.{layer}.{part}.{name}_proj"
    for layer in range(LAYERS)
    for part, names in (("self_attn", "qkvo"), ("mlp", ("gate", "up", "down")))
    for name in names
]

SIZES = {
    "vocab_size": WORDS,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
}


def llama() -> Any:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(intermediate_size=FEED_FORWARD, num_key_value_heads=2, **SIZES)
    )


def qwen() -> Any:
    """q, k and v have biases."""
    return transformers.Qwen2ForCausalLM(
        transformers.Qwen2Config(intermediate_size=FEED_FORWARD, num_key_value_heads=2, **SIZES)
    )


def opt() -> Any:
    """All linears have biases; fc1 and fc2 make up the feed-forward part."""
    return transformers.OPTForCausalLM(
        transformers.OPTConfig(ffn_dim=FEED_FORWARD, word_embed_proj_dim=HIDDEN, **SIZES)
    )


def gpt2() -> Any:
    """Linears are Conv1D: their weights stand the other way."""
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=WORDS, n_embd=HIDDEN, n_layer=LAYERS, n_head=4, n_positions=CONTEXT
        )
    )


def phi() -> Any:
    """Projections are fused: qkv_proj and gate_up_proj."""
    return transformers.Phi3ForCausalLM(
        transformers.Phi3Config(
            intermediate_size=FEED_FORWARD, num_key_value_heads=2, pad_token_id=0, **SIZES
        )
    )


#: Model and the linears of its layers.
ARCHITECTURES: dict[str, tuple[Callable[[], Any], str, int]] = {
    "llama": (llama, "q+k+v+o+gate+up+down", 14),
    "qwen": (qwen, "q+k+v+o+gate+up+down", 14),
    "opt": (opt, "q+k+v+out+fc1+fc2", 12),
    "gpt2": (gpt2, "*.c_attn+*.mlp.c_fc+*.c_proj", 8),
    "phi": (phi, "qkv+o+gate_up+down", 8),
}


def make(name: str) -> Any:
    torch.manual_seed(5)
    model = ARCHITECTURES[name][0]().eval().requires_grad_(False)
    # Biases start at 0, where a lost one would not show.
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.add_(torch.randn_like(parameter) / 4)
    return model


@pytest.fixture
def model() -> Any:
    return make("llama")


def ids(count: int, sequences: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, WORDS, (sequences, count), generator=generator)


def logits(model: Any, tokens: torch.Tensor, **options: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(tokens, use_cache=False, **options).logits


def inputs_of(model: Any, paths: list[str], tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """What linears get and give in a forward pass."""
    seen: dict[str, Any] = {}

    def record(path: str) -> Any:
        return lambda _, arguments, output: seen.update({path: (arguments[0], output)})

    handles = [model.get_submodule(path).register_forward_hook(record(path)) for path in paths]
    logits(model, tokens)
    for handle in handles:
        handle.remove()
    return seen


# What is replaced


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_linear_computes_the_method(name: str) -> None:
    model = make(name)
    _, names, count = ARCHITECTURES[name]
    with sparsify(model, f"2:4,linears={names}", progress=False) as sparse:
        assert len(sparse.linears) == count
        seen = inputs_of(model, list(sparse.linears), ids(9))
        for path, (x, y) in seen.items():
            groups = x.unflatten(-1, (-1, 4)).abs()
            kept = x.clone()
            kept.unflatten(-1, (-1, 4))[groups < groups.sort(-1).values[..., 2:3]] = 0
            assert bool((kept != x).any())
            linear = sparse.linear(path)
            bias = 0 if linear.bias is None else linear.bias
            torch.testing.assert_close(y, kept @ linear.matrix.T + bias)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_keeping_everything_is_dense(name: str) -> None:
    # Biases among it.
    model = make(name)
    names = ARCHITECTURES[name][1]
    dense = logits(model, ids(9))
    for method in ("4:4", "4:4,shift=d-pts-mean,var,criterion=weight-norm"):
        with sparsify(model, f"{method},linears={names}", progress=False):
            torch.testing.assert_close(logits(model, ids(9)), dense, atol=1e-5, rtol=1e-4)
    with sparsify(model, f"2:4,linears={names}", progress=False):
        assert not torch.allclose(logits(model, ids(9)), dense, atol=1e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_nothing_else_changes(name: str) -> None:
    model = make(name)
    before = dict(model.named_modules())
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    names = ARCHITECTURES[name][1]
    sparse = sparsify(model, f"2:4,criterion=amber,linears={names}", progress=False)
    replaced = set(sparse.linears)
    after = dict(model.named_modules())
    assert after.keys() == before.keys()
    assert {path for path in before if after[path] is not before[path]} == replaced
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in state.items())
    for path in replaced:
        assert after[path].weight is before[path].weight
    sparse.undo()
    sparse.undo()
    assert all(module is before[path] for path, module in model.named_modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_dense_does_nothing(model: Any) -> None:
    before = dict(model.named_modules())
    sparse = sparsify(model, "dense")
    assert sparse.linears == ()
    assert dict(model.named_modules()) == before
    assert sparse.report() == "method: dense\n0 linears of LlamaForCausalLM have sparse inputs"


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("2:4", LINEARS),
        ("2:4,linears=q+down", [path for path in LINEARS if path.endswith(("q_proj", "n_proj"))]),
        ("2:4,linears=up_proj", [path for path in LINEARS if path.endswith("up_proj")]),
        ("2:4,skip-layers=0", LINEARS[7:]),
        ("2:4,linears=*.1.mlp.*_proj", LINEARS[11:]),
        ("2:4,linears=lm_head", []),
        ("2:4,linears=lm_*", ["lm_head"]),
        ("2:4,linears=model.layers.0.mlp.up_proj+o", [LINEARS[3], LINEARS[5], LINEARS[10]]),
    ],
)
def test_choice(model: Any, text: str, paths: list[str]) -> None:
    if not paths:
        with pytest.raises(InputError) as caught:
            choose_linears(model, Method.parse(text))
        assert str(caught.value) == "linears must be in LlamaForCausalLM, not 'lm_head'"
        return
    assert list(choose_linears(model, Method.parse(text))) == paths


def test_only_the_text_decoder_by_name() -> None:
    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vision = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(4, 4)})
            self.text = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(4, 4)})

        def get_decoder(self) -> torch.nn.Module:
            return self.text

    both = Both()
    assert list(choose_linears(both, Method.parse("2:4,linears=q"))) == ["text.q_proj"]
    assert list(choose_linears(both, Method.parse("2:4,linears=*.q_proj"))) == [
        "vision.q_proj", "text.q_proj",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("model.layers.12.self_attn.q_proj", 12),
        ("transformer.h.0.mlp.experts.7.up_proj", 0),
        ("lm_head", None),
        ("layers2.q_proj", None),
    ],
)
def test_layer_number(path: str, number: int | None) -> None:
    assert layer_number(path) == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2:4,linears=q+w", "linears must be in LlamaForCausalLM, not 'w'"),
        ("2:4,linears=*.w", "linears must be in LlamaForCausalLM, not '*.w'"),
        ("2:4,skip-layers=0+1", "skip-layers must leave a layer with linears, not 0+1"),
        (
            "2:4,linears=*.mlp",
            "linears must be linear layers, not LlamaMLP (model.layers.0.mlp)",
        ),
        (
            "2:4,shift=s-pts",
            "constants must hold shift.s-pts of model.layers.0.self_attn.q_proj, not leave it out"
            " (python -m sw.calibrate '2:4,shift=s-pts')",
        ),
        (
            "2:4,ls=scale",
            "constants must hold gain@2:4,ls=scale of model.layers.0.self_attn.q_proj, not leave"
            " it out (python -m sw.calibrate '2:4,ls=scale')",
        ),
        ("2:5,x", None),
    ],
)
def test_what_is_wrong(model: Any, text: str, message: str | None) -> None:
    before = dict(model.named_modules())
    with pytest.raises(InputError) as caught:
        sparsify(model, text, progress=False)
    assert message is None or str(caught.value) == message
    assert dict(model.named_modules()) == before


def test_usual_names_that_are_not_there() -> None:
    with pytest.raises(InputError) as caught:
        sparsify(make("gpt2"), "2:4")
    assert str(caught.value) == (
        f"linears must be in GPT2LMHeadModel, not only {', '.join(PROJECTIONS)}"
    )


def test_twice(model: Any) -> None:
    with sparsify(model, "2:4,linears=q", progress=False):
        sparsify(model, "2:4,linears=k", progress=False).undo()
        with pytest.raises(InputError) as caught:
            sparsify(model, "2:4", progress=False)
        assert str(caught.value) == (
            "model must be dense, not sparse already in model.layers.0.self_attn.q_proj"
            " (undo it first)"
        )


def test_weights_that_are_not_finite(model: Any) -> None:
    model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    for method in ("2:4,criterion=amber", "2:4,low-rank=4", "2:4,weights=wt"):
        with pytest.raises(InputError) as caught:
            sparsify(model, f"{method},linears=up", progress=False)
        assert str(caught.value) == (
            "model.layers.1.mlp.up_proj: weights must be finite, not NaN or infinite 1 times"
        )


# Constants


def test_constants_from_weights(model: Any) -> None:
    with sparsify(model, "2:4,criterion=amber,linears=q", progress=False) as sparse:
        for path in sparse.linears:
            linear = sparse.linear(path)
            assert torch.equal(linear.constants["scale"], amber_scales(linear.weight))


def test_constants_that_are_given(model: Any, tmp_path: Any) -> None:
    shifts = {
        path: {"shift.s-pts": torch.tensor(float(number)), "scale.amber": torch.ones(HIDDEN)}
        for number, path in enumerate(LINEARS)
    }
    constants = Constants(shifts, {})
    file = tmp_path / "constants.safetensors"
    constants.write(file)
    for given in (constants, file, str(file)):
        with sparsify(
            model, "2:4,shift=s-pts,criterion=amber,linears=k", given, progress=False
        ) as sparse:
            got = {path: float(sparse.linear(path).constants["shift"]) for path in sparse.linears}
            assert got == {LINEARS[1]: 1.0, LINEARS[8]: 8.0}
            # What is given is taken, not computed again.
            assert bool((sparse.linear(LINEARS[1]).constants["scale"] == 1).all())


def test_constants_of_another_shape(model: Any) -> None:
    constants = Constants({LINEARS[0]: {"scale.amber": torch.ones(3)}}, {})
    with pytest.raises(InputError) as caught:
        sparsify(model, "2:4,criterion=amber", constants, progress=False)
    assert str(caught.value) == (
        f"scale.amber of {LINEARS[0]} must be of shape ({HIDDEN},), not (3,)"
    )


def test_pruned_weights(model: Any) -> None:
    dense = logits(model, ids(9))
    original = {path: model.get_submodule(path).weight.clone() for path in LINEARS}
    norms = {
        path: {"input_norm": torch.arange(48.0)[: original[path].shape[1]]} for path in LINEARS
    }
    for text in ("2:4,weights=wt", "2:4,weights=wanda", "unstructured=0.75,weights=wt"):
        with sparsify(model, text, Constants(norms, {}), progress=False) as sparse:
            for path in LINEARS:
                weight = sparse.linear(path).weight
                kept = weight != 0
                assert float(kept.float().mean()) == (0.25 if "0.75" in text else 0.5)
                assert torch.equal(weight[kept], original[path][kept])
            assert not torch.allclose(logits(model, ids(9)), dense, atol=1e-2)
            assert "14 linears of LlamaForCausalLM have sparse weights" in sparse.report()
    assert all(torch.equal(model.get_submodule(path).weight, original[path]) for path in LINEARS)
    assert torch.equal(logits(model, ids(9)), dense)


# Calls of the model


@pytest.mark.parametrize(
    "text", ["2:4", "2:4,criterion=clact", "2:4,criterion=clact,scaling,var", "2:4,scaling"]
)
def test_padding_and_batches(model: Any, text: str) -> None:
    tokens = ids(9, 3)
    mask = torch.ones(3, 9, dtype=torch.int64)
    mask[1, :4] = 0
    mask[2, :8] = 0
    with sparsify(model, text, progress=False):
        together = logits(model, tokens, attention_mask=mask)
        for number in range(3):
            real = mask[number].bool()
            # Attention knows differences of positions only.
            alone = logits(model, tokens[number : number + 1, real])[0]
            torch.testing.assert_close(together[number, real], alone, atol=1e-4, rtol=1e-3)
        # Padding on the left, and its contents, change nothing.
        other = tokens.clone()
        other[mask == 0] = 7
        again = logits(model, other, attention_mask=mask)
    real = mask.bool()
    torch.testing.assert_close(again[real], together[real], atol=1e-4, rtol=1e-3)


def test_without_the_mask_padding_counts(model: Any) -> None:
    # The guard of the test above.
    mask = torch.ones(1, 9, dtype=torch.int64)
    mask[0, :4] = 0
    tokens = ids(9)
    other = tokens.clone()
    other[0, :4] = 7
    with sparsify(model, "2:4,criterion=clact", progress=False) as sparse:
        first = logits(model, tokens, attention_mask=mask)
        sparse.call.shape = None
        sparse._before = lambda *_: None
        for hook in sparse._hooks:
            hook.remove()
        second, third = (logits(model, one, attention_mask=mask) for one in (tokens, other))
    assert not torch.allclose(first[0, 4:], second[0, 4:], atol=1e-4)
    assert not torch.allclose(third[0, 4:], second[0, 4:], atol=1e-4)


@pytest.mark.parametrize("phase", ["prefill", "decode", "both"])
def test_phases(model: Any, phase: str) -> None:
    tokens = ids(8)

    def steps() -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the prompt, and of one more token."""
        with torch.no_grad():
            first = model(tokens[:, :7], use_cache=True)
            second = model(tokens[:, 7:], past_key_values=first.past_key_values, use_cache=True)
        return first.logits, second.logits

    dense = steps()
    with sparsify(model, f"2:4,phase={phase}", progress=False):
        prompt, token = steps()
        assert torch.equal(prompt, dense[0]) == (phase == "decode")
        # What prefill left in the cache shows in the token too.
        assert not torch.equal(token, dense[1])
        with torch.no_grad():
            single = model(tokens[:, :1], use_cache=False).logits
    with torch.no_grad():
        expected = model(tokens[:, :1], use_cache=False).logits
    assert torch.equal(single, expected) == (phase == "prefill")


def test_generation(model: Any) -> None:
    with sparsify(model, "2:4,criterion=clact,shift=d-pts-mean,var", progress=False) as sparse:
        tokens = model.generate(
            ids(5, 2), max_new_tokens=4, do_sample=False, attention_mask=torch.ones(2, 5),
            pad_token_id=0, eos_token_id=None,
        )  # fmt: skip
        assert tokens.shape == (2, 9)
        assert sparse.call.shape is None
        assert sparse.call.attention_mask is None


def test_call_is_forgotten_after_an_error(model: Any) -> None:
    with sparsify(model, "2:4", progress=False) as sparse:
        with pytest.raises(IndexError):
            logits(model, torch.full((2, 3), WORDS))
        assert sparse.call.shape is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_types(model: Any, dtype: torch.dtype) -> None:
    with sparsify(model, "2:4,criterion=amber,shift=d-pts-mean,var", progress=False):
        exact = logits(model, ids(9))
    model.to(dtype)
    with sparsify(model, "2:4,criterion=amber,shift=d-pts-mean,var", progress=False) as sparse:
        got = logits(model, ids(9))
        assert got.dtype == dtype
        assert {
            tensor.dtype
            for path in sparse.linears
            for tensor in sparse.linear(path).own_tensors.values()
        } == {torch.float32}
    assert float((got.float() - exact).abs().median()) < 0.05


def test_type_changes_while_sparse(model: Any) -> None:
    sparse = sparsify(model, "2:4", progress=False)
    model.to(torch.bfloat16)
    sparse.undo()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    logits(model, ids(4))
    sparse = sparsify(model, "2:4,weights=wt", progress=False)
    model.to(torch.float32)
    sparse.undo()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    logits(model, ids(4))


def test_new_parameters_while_sparse(model: Any) -> None:
    sparse = sparsify(model, "2:4", progress=False)
    new = torch.nn.Parameter(torch.ones(FEED_FORWARD, HIDDEN))
    model.model.layers[0].mlp.up_proj.weight = new
    sparse.undo()
    assert model.model.layers[0].mlp.up_proj.weight is new


def test_copy_of_a_sparse_model(model: Any) -> None:
    with sparsify(model, "2:4,shift=d-pts-mean", progress=False):
        expected = logits(model, ids(9))
        twin = copy.deepcopy(model)
    torch.testing.assert_close(logits(twin, ids(9)), expected)
    assert isinstance(twin.model.layers[0].mlp.up_proj, SparseLinear)


# Report, and the door to it all


def test_report(model: Any) -> None:
    sparse = sparsify(
        model, "8:16,criterion=amber,shift=d-pts-mean,phase=prefill,skip-layers=1", progress=False
    )
    lines = sparse.report().splitlines()
    assert lines[:4] == [
        "method: 8:16,criterion=amber,shift=d-pts-mean,phase=prefill,skip-layers=1",
        "7 linears of LlamaForCausalLM have sparse inputs",
        "dense layers: 1",
        "sparse in prefill only",
    ]
    assert lines[4].split() == ["linear", "count", "inputs", "outputs", "constants", "bytes"]
    assert lines[6].split() == ["q_proj", "1", "32", "32", "scale,", "row_sums", "256"]
    assert lines[12].split() == ["down_proj", "1", "48", "32", "scale,", "row_sums", "320"]


def test_reachable_from_the_package(model: Any) -> None:
    assert sw.sparsify is sparsify
    with sw.sparsify(model, Method(pattern=(2, 4)), progress=False) as sparse:
        assert len(sparse.linears) == 14
    with pytest.raises(AttributeError) as caught:
        _ = sw.dessert
    assert str(caught.value) == "module 'sw' has no attribute 'dessert'"


def test_importing_the_package_imports_nothing() -> None:
    code = "import sys, sw; print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_default_model(default_model: LanguageModel) -> None:
    model = default_model.model
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 40_000, (1, 48), generator=generator)
    dense = logits(model, tokens)
    with sparsify(model, "8:16,shift=d-pts-mean,var", progress=False) as sparse:
        assert len(sparse.linears) == 210
        got = logits(model, tokens)
    assert not torch.equal(got, dense)
    assert bool(got.isfinite().all())
    assert torch.equal(logits(model, tokens), dense)


@pytest.mark.slow
def test_speed(default_model: LanguageModel) -> None:
    model = default_model.model
    tokens = torch.arange(1000, 1512).unsqueeze(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def seconds() -> float:
        # Of this process: others may be at work.
        start = time.process_time()
        logits(model, tokens)
        return time.process_time() - start

    try:
        ratios = []
        for _ in range(4):
            dense = seconds()
            with sparsify(model, "8:16,shift=d-pts-mean,var", progress=False):
                ratios.append(seconds() / dense)
    finally:
        torch.set_num_threads(threads)
    # The first pair warms up.
    assert sorted(ratios[1:])[1] <= 1.6
