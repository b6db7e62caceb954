import math
from itertools import combinations
from typing import Any

import pytest
import torch

from sw.constants import constants_of, from_weights
from sw.method import Method
from sw.mitigation import low_rank_factors
from sw.sparse_linear import Call, SparseLinear, Sparsifier
from tests.sw import naive_linear

OUTPUTS, FEATURES, TOKENS = 6, 20, 5
INF, NAN = math.inf, math.nan

METHODS = [
    "2:4",
    "8:16",
    "3:7",
    "4:4",
    "unstructured=0.5",
    "unstructured=0.9",
    *(f"8:16,criterion={name}" for name in ("clact", "amber", "amber-code", "weight-norm")),
    "8:16,criterion=var-weight",
    *(f"8:16,shift={name}" for name in ("d-pts-mean", "d-pts-median", "s-pts", "s-pts-channel")),
    "8:16,shift=l-pts",
    "8:16,shift=l-pts-bias",
    "8:16,var",
    "8:16,ls",
    "8:16,ls=scale",
    "8:16,low-rank=3",
    "8:16,low-rank=3:trained",
    "8:16,scaling",
    "8:16,scaling=static",
    # Together
    "4:8,shift=d-pts-mean,var",
    "4:8,shift=d-pts-median,var",
    "4:8,shift=s-pts,var,ls",
    "4:8,shift=s-pts-channel,var",
    "4:8,shift=l-pts,var,ls,low-rank=2:trained",
    "4:8,criterion=clact,shift=d-pts-mean,var",
    "4:8,criterion=amber,shift=d-pts-median,var,low-rank=3",
    "4:8,criterion=clact,scaling,var",
    "4:8,scaling,shift=d-pts-mean",
    "4:8,scaling,shift=d-pts-mean,var,ls,low-rank=3",
    "4:8,scaling=static,shift=l-pts,var",
    "4:8,scaling,shift=l-pts",
    "unstructured=0.5,criterion=clact,shift=d-pts-mean,var",
    "unstructured=0.7,criterion=amber,shift=s-pts,ls,low-rank=2",
]


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameter(tensor: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(tensor, requires_grad=False)


def some_constants(method: Method, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Random ones, but for those that follow from the weights."""
    outputs, features = weight.shape
    rank = method.low_rank
    shifts = {"s-pts": torch.tensor(0.3), "l-pts": random(17, features)}
    made = {
        "shift": shifts.get(method.shift, random(11, features)),
        "gain": random(12, outputs) / 5,
        "bias": random(13, outputs),
        "left": random(14, outputs, rank),
        "right": random(15, rank, features),
        "input_max": random(16, features).abs() + 0.5,
    }
    known = from_weights(method, weight.float())
    return {
        constant.role: known.get(constant.name, made.get(constant.role))
        for constant in constants_of(method)
    }


def make(
    text: str, dtype: torch.dtype = torch.float32, bias: bool = True, transposed: bool = False
) -> SparseLinear:
    method = Method.parse(text)
    # A mean and an outlier, so that the criteria of the weights differ.
    weight = random(1, OUTPUTS, FEATURES) + 0.4
    weight[2, 5] = 9
    weight = weight.to(dtype)
    return SparseLinear(
        parameter(weight.t().contiguous() if transposed else weight),
        parameter(random(2, OUTPUTS).to(dtype)) if bias else None,
        transposed=transposed,
        sparsifier=Sparsifier(method, Call()),
        constants=some_constants(method, weight),
    )


def definition(linear: SparseLinear, x: torch.Tensor) -> torch.Tensor:
    assert linear.sparsifier is not None
    constants = {role: value.tolist() for role, value in linear.constants.items()}
    bias = None if linear.bias is None else linear.bias.tolist()
    return torch.tensor(
        [
            naive_linear.sparse_linear(
                sequence, linear.matrix.tolist(), bias, linear.sparsifier.method, constants
            )
            for sequence in x.tolist()
        ]
    )


@pytest.mark.parametrize("text", METHODS)
def test_definition(text: str) -> None:
    # A shift of its own, so that means are not 0.
    x = random(3, 2, TOKENS, FEATURES) + 0.5
    linear = make(text)
    with torch.no_grad():
        got = linear(x)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, definition(linear, x), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("text", METHODS)
def test_with_gradients_it_is_the_same(text: str) -> None:
    x = random(3, 2, TOKENS, FEATURES) + 0.5
    linear = make(text)
    with torch.no_grad():
        expected = linear(x)
    learned = {"shift", "gain", "bias", "left", "right"} & linear.constants.keys()
    trained = linear.train_constants(sorted(learned))
    got = linear(x.requires_grad_())
    torch.testing.assert_close(got, expected)
    got.square().sum().backward()
    for tensor in (x, *trained):
        assert tensor.grad is not None
        assert bool(tensor.grad.isfinite().all())
        assert bool((tensor.grad != 0).any())
    linear.freeze()
    assert not any(tensor.requires_grad for tensor in linear.constants.values())
    with torch.no_grad():
        torch.testing.assert_close(linear(x), expected)


def test_dense_for_a_while() -> None:
    x = random(3, 2, TOKENS, FEATURES)
    linear = make("2:4,shift=d-pts-mean,var")
    with torch.no_grad():
        sparse = linear(x)
        linear.is_dense = True
        torch.testing.assert_close(
            linear(x), torch.nn.functional.linear(x, linear.weight, linear.bias)
        )
        linear.is_dense = False
        assert torch.equal(linear(x), sparse)


def test_methods_differ() -> None:
    # The guard of the first test: nothing in it is without effect.
    x = random(3, 1, TOKENS, FEATURES) + 0.5
    outputs = {text: definition(make(text), x) for text in METHODS}
    equal = [
        pair
        for pair in combinations(METHODS, 2)
        if torch.allclose(outputs[pair[0]], outputs[pair[1]], atol=1e-4)
    ]
    assert equal == []


@pytest.mark.parametrize("text", METHODS)
def test_transposed_weights(text: str) -> None:
    x = random(3, 1, TOKENS, FEATURES)
    with torch.no_grad():
        torch.testing.assert_close(make(text, transposed=True)(x), make(text)(x))


@pytest.mark.parametrize("text", METHODS)
def test_without_a_bias(text: str) -> None:
    x = random(3, 1, TOKENS, FEATURES)
    with torch.no_grad():
        difference = make(text)(x) - make(text, bias=False)(x)
    torch.testing.assert_close(
        difference, random(2, OUTPUTS).expand_as(difference), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("text", METHODS)
def test_half_precision(text: str, dtype: torch.dtype) -> None:
    x = (random(3, 2, TOKENS, FEATURES) + 0.5).to(dtype)
    linear = make(text, dtype)
    with torch.no_grad():
        got = linear(x)
    assert got.dtype == dtype
    # A tie or a near tie may go to another lane where the shift was rounded: most agree.
    expected = definition(linear, x)
    error = (got.float() - expected).abs() / (1 + expected.abs())
    assert error.median() < (0.02 if dtype == torch.bfloat16 else 0.003)


def test_all_that_is_kept_is_dense() -> None:
    x = random(3, 2, TOKENS, FEATURES)
    linear = make("4:4")
    with torch.no_grad():
        expected = torch.nn.functional.linear(x, linear.weight, linear.bias)
        assert torch.equal(linear(x), expected)
        for text in ("4:4,shift=d-pts-mean,var", "4:4,scaling", "unstructured=0,low-rank=2"):
            torch.testing.assert_close(make(text)(x), expected)


def test_full_rank_is_dense() -> None:
    x = random(3, 2, TOKENS, FEATURES)
    linear = make("2:4,low-rank=64")
    assert linear.constants["left"].shape == (OUTPUTS, OUTPUTS)
    with torch.no_grad():
        expected = torch.nn.functional.linear(x, linear.weight, linear.bias)
        torch.testing.assert_close(linear(x), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("text", METHODS)
def test_shapes(text: str) -> None:
    linear = make(text)
    with torch.no_grad():
        for shape in ((), (1,), (0,), (2, 0)):
            assert linear(random(4, *shape, FEATURES)).shape == (*shape, OUTPUTS)
        x = random(4, 2, 2, 3, FEATURES)
        alone = torch.stack([linear(sequence) for sequence in x.flatten(0, 1)])
        torch.testing.assert_close(linear(x).flatten(0, 1), alone)


# Sequences, padding and phases


@pytest.mark.parametrize(
    "text", ["8:16,criterion=clact", "8:16,scaling", "8:16,criterion=clact,scaling"]
)
def test_padding_takes_no_part(text: str) -> None:
    linear = make(text)
    assert linear.sparsifier is not None
    x = random(3, 2, TOKENS, FEATURES)
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    linear.sparsifier.call.shape = (2, TOKENS)
    with torch.no_grad():
        without = linear(x)
        linear.sparsifier.forget()
        linear.sparsifier.call.attention_mask = mask
        got = linear(x)
        # Tokens in one row, as some models pass them, belong to the same sequences.
        flat = linear(x.flatten(0, 1))
        linear.sparsifier.call = Call()
        alone = [linear(x[0, 2:]), linear(x[1])]
    torch.testing.assert_close(flat, got.flatten(0, 1))
    torch.testing.assert_close(got[0, 2:], alone[0])
    torch.testing.assert_close(got[1], alone[1])
    assert not torch.allclose(without[0, 2:], got[0, 2:])


def test_phases() -> None:
    x = random(3, 1, TOKENS, FEATURES)
    outputs = {phase: make(f"2:4,phase={phase}") for phase in ("prefill", "decode")}
    with torch.no_grad():
        linear = make("2:4")
        dense = torch.nn.functional.linear(x, linear.weight, linear.bias)
        sparse = linear(x)
        torch.testing.assert_close(outputs["prefill"](x), sparse)
        torch.testing.assert_close(outputs["decode"](x), dense)
        torch.testing.assert_close(outputs["prefill"](x[:, :1]), dense[:, :1])
        torch.testing.assert_close(outputs["decode"](x[:, :1]), sparse[:, :1])
        # Two sequences of one token each, in one row: the call tells.
        for phase, one in outputs.items():
            assert one.sparsifier is not None
            one.sparsifier.call.shape = (TOKENS, 1)
            expected = sparse if phase == "decode" else dense
            torch.testing.assert_close(one(x[0]), expected[0])


# What linears share


def test_shared_sparsifier_computes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sparsifier = Sparsifier(Method.parse("2:4,criterion=clact,var"), Call())
    calls = []
    sparsify = sparsifier._sparsify

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return sparsify(*arguments)

    monkeypatch.setattr(sparsifier, "_sparsify", counted)
    x = random(1, 2, TOKENS, FEATURES)
    first = sparsifier(x)
    assert sparsifier(x) is first
    assert len(calls) == 1
    # Another tensor of equal values, the same tensor with other values, and after forgetting.
    sparsifier(x.clone())
    first = sparsifier(x)
    x += 1
    assert not torch.equal(sparsifier(x).kept, first.kept)
    sparsifier.forget()
    sparsifier(x)
    assert len(calls) == 5


def test_inference_mode() -> None:
    linear = make("2:4,var")
    with torch.inference_mode():
        x = random(1, 2, TOKENS, FEATURES)
        first = linear(x)
        x += 1
        assert not torch.equal(linear(x), first)
        torch.testing.assert_close(linear(x), make("2:4,var")(x))


@pytest.mark.parametrize("text", METHODS)
def test_sharing(text: str) -> None:
    method = Method.parse(text)
    own = {constant.role for constant in constants_of(method)} & {"scale", "shift", "input_max"}
    assert Sparsifier.is_shared(method) == (not own and method.scaling == "none")


# Degenerate inputs


DEGENERATE = {
    "zeros": torch.zeros(TOKENS, FEATURES),
    "negative zeros": -torch.zeros(TOKENS, FEATURES),
    "equal": torch.full((TOKENS, FEATURES), 0.1),
    "subnormal": random(5, TOKENS, FEATURES) * 1e-40,
    "large": random(6, TOKENS, FEATURES).sign() * 1e30,
    "one token is zero": random(7, TOKENS, FEATURES) * (torch.arange(TOKENS) > 0).unsqueeze(-1),
    "a feature is zero": random(8, TOKENS, FEATURES) * (torch.arange(FEATURES) != 3),
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("text", METHODS)
def test_degenerate_inputs_give_numbers(text: str, name: str) -> None:
    linear = make(text)
    with torch.no_grad():
        assert bool(linear(DEGENERATE[name]).isfinite().all())
        linear.weight.zero_()
        linear.weight[0, 0] = 1
        for role in linear.constants.keys() & {"scale", "input_max", "weight_max"}:
            linear.constants[role].zero_()
        assert bool(linear(DEGENERATE[name]).isfinite().all())


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("text", METHODS)
def test_what_is_not_finite_stays_in_its_token(text: str, value: float) -> None:
    x = random(9, TOKENS, FEATURES) + 0.5
    clean = x.clone()
    x[2, 3], clean[2, 3] = value, 0
    linear = make(text)
    with torch.no_grad():
        got = linear(x)
        assert not bool(got[2].isfinite().any())
        others = [token for token in range(TOKENS) if token != 2]
        torch.testing.assert_close(got[others], linear(clean)[others])


def test_one_feature() -> None:
    linear = SparseLinear(
        parameter(torch.tensor([[2.0]])),
        None,
        sparsifier=Sparsifier(Method.parse("1:2,var"), Call()),
    )
    # It has no variance.
    assert linear(torch.tensor([[3.0], [0.0]])).tolist() == [[0.0], [0.0]]


# As a module


def test_parameters_are_shared() -> None:
    linear = torch.nn.Linear(FEATURES, OUTPUTS)
    sparse = SparseLinear(
        linear.weight, linear.bias, sparsifier=Sparsifier(Method.parse("2:4"), Call())
    )
    assert sparse.weight is linear.weight
    assert sparse.bias is linear.bias
    assert list(sparse.state_dict()) == list(linear.state_dict())
    assert (sparse.in_features, sparse.out_features) == (FEATURES, OUTPUTS)
    assert repr(sparse) == "SparseLinear(in_features=20, out_features=6, bias=True, method=2:4)"


def test_constants_stay_fp32() -> None:
    linear = make("8:16,criterion=amber,shift=s-pts,ls")
    scale = linear.constants["scale"].clone()
    linear.to(torch.bfloat16)
    assert linear.weight.dtype == torch.bfloat16
    assert torch.equal(linear.constants["scale"], scale)
    assert {tensor.dtype for tensor in linear.own_tensors.values()} == {torch.float32}
    x = random(3, 2, TOKENS, FEATURES).bfloat16()
    with torch.no_grad():
        error = (linear(x).float() - definition(linear, x)).abs()
    assert error.median() < 0.05


@pytest.mark.parametrize(
    "text",
    [
        "8:16,shift=d-pts-mean,var",
        "8:16,shift=d-pts-median,criterion=amber",
        "8:16,shift=s-pts,criterion=clact,ls",
        "8:16,shift=l-pts,var",
    ],
)
def test_exact_hw_of_what_needs_no_rounding_is_the_definition(text: str) -> None:
    # Numbers of few bits, whose means and shifts are numbers of bf16.
    generator = torch.Generator().manual_seed(5)
    x = torch.randint(-8, 9, (2, TOKENS, FEATURES), generator=generator) / 4
    x[..., -1] -= x.sum(-1) % 5
    linear = make(f"{text},exact=hw" + (",scale-format=bf16" if "criterion" in text else ""))
    for role in linear.constants.keys() & {"shift", "scale"}:
        linear.constants[role] = (linear.constants[role] * 8).round() / 8
    linear.freeze()
    exact = SparseLinear(
        linear.weight,
        linear.bias,
        sparsifier=Sparsifier(Method.parse(text), Call()),
        constants=linear.constants,
    )
    with torch.no_grad():
        if "clact" not in text:
            torch.testing.assert_close(linear(x), exact(x))
        else:
            # Scales of the sequence are rounded: nearly all masks are the same.
            assert (linear(x) - exact(x)).abs().median() < 1e-3


def test_exact_hw_shift_is_rounded_everywhere() -> None:
    # All is kept: the shift that returns behind the product is the one that was subtracted.
    linear = make("16:16,shift=s-pts-channel,exact=hw")
    linear.constants["shift"] = random(11, FEATURES) * 100
    linear.freeze()
    x = (random(3, 2, TOKENS, FEATURES) * 8).bfloat16().float()
    eta = linear.constants["shift"].bfloat16()
    with torch.no_grad():
        d = (x.bfloat16() - eta).float()
        expected = torch.nn.functional.linear(d + eta.float(), linear.weight, linear.bias)
        torch.testing.assert_close(linear(x), expected, atol=1e-3, rtol=1e-4)


def test_exact_hw_passes_gradients() -> None:
    x = random(3, TOKENS, FEATURES).requires_grad_()
    make("8:16,exact=hw")(x).sum().backward()
    assert x.grad is not None
    assert int((x.grad != 0).sum()) == TOKENS * 12


def test_low_rank_constants_are_those_of_the_weights() -> None:
    linear = make("2:4,low-rank=3")
    left, right = low_rank_factors(linear.weight, 3)
    assert torch.equal(linear.constants["left"], left)
    assert torch.equal(linear.constants["right"], right)
