"""Expectations come from loops over numbers and from exact fractions."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sw.criteria import (
    CRITERIA,
    OUTLIER_QUANTILES,
    amber_code_scales,
    amber_scales,
    exact_quantiles,
    sequence_scales,
    var_weight_scales,
    weight_norm_scales,
    weighted_magnitude,
)
from sw.errors import InputError
from sw.fast_selection import keep_mask

INF, NAN = math.inf, math.nan
LARGEST = torch.finfo(torch.float32).max

Matrix = list[list[float]]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def columns(matrix: Matrix) -> list[list[float]]:
    return [list(column) for column in zip(*matrix, strict=True)]


def relative(norms: list[float]) -> list[float]:
    positive = [norm for norm in norms if norm > 0]
    return [norm / min(positive) for norm in norms] if positive else [1.0] * len(norms)


def naive_quantile(values: list[float], quantile: float) -> float:
    ascending = sorted(values)
    place = quantile * (len(ascending) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (place - low) * (ascending[high] - ascending[low])


def naive_amber(matrix: Matrix, outliers_in_norm: bool) -> list[float]:
    every = [number for row in matrix for number in row]
    low, high = (naive_quantile(every, quantile) for quantile in OUTLIER_QUANTILES)
    inliers = [number for number in every if low <= number <= high]
    mean = math.fsum(inliers) / len(inliers)
    sigma = math.sqrt(math.fsum((number - mean) ** 2 for number in inliers) / len(inliers))
    return relative(
        [
            math.sqrt(
                math.fsum(
                    ((number - mean) / sigma) ** 2
                    for number in column
                    if outliers_in_norm or low <= number <= high
                )
            )
            for column in columns(matrix)
        ]
    )


def naive_norms(matrix: Matrix) -> list[float]:
    return relative([math.sqrt(math.fsum(w * w for w in column)) for column in columns(matrix)])


def naive_variances(matrix: Matrix) -> list[float]:
    variances = []
    for column in columns(matrix):
        mean = math.fsum(column) / len(column)
        variances.append(math.fsum((w - mean) ** 2 for w in column) / (len(column) - 1))
    return relative(variances)


WEIGHT_CRITERIA = {
    "amber": lambda matrix: naive_amber(matrix, outliers_in_norm=False),
    "amber-code": lambda matrix: naive_amber(matrix, outliers_in_norm=True),
    "weight-norm": naive_norms,
    "var-weight": naive_variances,
}


def scales(name: str, weight: torch.Tensor) -> torch.Tensor:
    compute = CRITERIA[name].weight_scales
    assert compute is not None
    return compute(weight)


# Scales of weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", WEIGHT_CRITERIA)
def test_weight_scales_are_the_formula(name: str, dtype: torch.dtype) -> None:
    weight = torch.randn(40, 24, generator=generator(1))
    # Outliers, so that leaving them out matters.
    weight[3, 5], weight[7, 5], weight[9, 11] = 30, -25, 40
    weight = weight.to(dtype)
    got = scales(name, weight)
    assert got.dtype == torch.float32
    assert got.tolist() == pytest.approx(WEIGHT_CRITERIA[name](weight.tolist()), rel=1e-6)


def test_variants_differ() -> None:
    # The guard of the test above: on its matrix every formula gives something else.
    weight = torch.randn(40, 24, generator=generator(1))
    weight[3, 5] = 30
    found = [scales(name, weight) for name in WEIGHT_CRITERIA]
    for place, one in enumerate(found):
        assert not any(torch.allclose(one, other, rtol=1e-3) for other in found[place + 1 :])


def test_needs() -> None:
    assert {name: criterion.needs for name, criterion in CRITERIA.items()} == {
        "act": "nothing",
        "clact": "sequence",
        "amber": "weights",
        "amber-code": "weights",
        "weight-norm": "weights",
        "var-weight": "weights",
    }
    assert all(name == criterion.name for name, criterion in CRITERIA.items())
    assert all(
        (criterion.weight_scales is None) == (criterion.needs != "weights")
        for criterion in CRITERIA.values()
    )


def test_amber_by_hand() -> None:
    # 201 weights 0 .. 200: the quantiles are 1 and 199, so 0 and 200 are outliers; the mean of
    # 1 .. 199 is 100.  Column 0 holds 0, 100, 130 and column 1 the rest, of which 200 is one.
    weight = torch.arange(201.0).reshape(3, 67)
    low, high = exact_quantiles(weight, OUTLIER_QUANTILES)
    assert (low, high) == (1.0, 199.0)
    squares = [
        sum((w - 100) ** 2 for w in (j, 67 + j, 134 + j) if 1 <= w <= 199) for j in range(67)
    ]
    expected = [math.sqrt(square / min(squares)) for square in squares]
    assert amber_scales(weight).tolist() == pytest.approx(expected, rel=1e-6)
    squares[0] += 100**2
    squares[66] += 100**2
    expected = [math.sqrt(square / min(squares)) for square in squares]
    assert amber_code_scales(weight).tolist() == pytest.approx(expected, rel=1e-6)


def test_weight_norm_and_variance_by_hand() -> None:
    weight = torch.tensor([[3.0, 0.0, -5.0], [4.0, 0.0, 12.0]])
    assert weight_norm_scales(weight).tolist() == pytest.approx([1.0, 0.0, 2.6])
    # Unbiased variances 0.5, 0 and 144.5.
    assert var_weight_scales(weight).tolist() == pytest.approx([1.0, 0.0, 289.0])


@pytest.mark.parametrize("name", WEIGHT_CRITERIA)
@pytest.mark.parametrize(
    "weight",
    [
        torch.zeros(4, 6),
        torch.ones(4, 6),
        torch.full((4, 6), 0.1),
        torch.full((1, 6), -3.0),
        torch.tensor([[2.0]]),
        torch.tensor([[0.0]]),
        torch.full((3, 4), 1e-45),
    ],
    ids=["zeros", "ones", "tenths", "row", "one", "zero", "subnormal"],
)
def test_equal_columns_have_equal_scales(name: str, weight: torch.Tensor) -> None:
    assert scales(name, weight).tolist() == [1.0] * weight.shape[1]


@pytest.mark.parametrize("name", ["amber", "amber-code"])
def test_amber_of_two_weights(name: str) -> None:
    # Both are outside their quantiles; mean 2, deviation 1.
    assert scales(name, torch.tensor([[1.0, 3.0]])).tolist() == [1.0, 1.0]
    assert scales(name, torch.tensor([[1.0], [3.0]])).tolist() == [1.0]


def test_column_of_zeros_comes_last() -> None:
    weight = torch.randn(8, 5, generator=generator(2))
    weight[:, 2] = 0
    for name in ("weight-norm", "var-weight"):
        got = scales(name, weight)
        assert got[2] == 0
        assert float(got[got > 0].min()) == 1


@pytest.mark.parametrize("name", WEIGHT_CRITERIA)
def test_extremes_stay_finite(name: str) -> None:
    weight = torch.randn(8, 6, generator=generator(3))
    weight[:, 0] = torch.tensor([3e38, -3e38] * 4)
    weight[:, 1] *= 1e-44
    got = scales(name, weight)
    assert bool(got.isfinite().all())
    assert bool((got >= 0).all())


@pytest.mark.parametrize("name", WEIGHT_CRITERIA)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_weights_must_be_finite(name: str, value: float) -> None:
    weight = torch.ones(3, 4)
    weight[1, 2] = value
    with pytest.raises(InputError) as caught:
        scales(name, weight)
    assert str(caught.value) == "weights must be finite, not NaN or infinite 1 times"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=40),
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
def test_quantiles(values: list[int], quantiles: list[float]) -> None:
    got = exact_quantiles(torch.tensor(values).float(), tuple(quantiles))
    assert got == pytest.approx([naive_quantile(values, one) for one in quantiles], abs=1e-12)
    usual = torch.quantile(
        torch.tensor(values).double(), torch.tensor(quantiles, dtype=torch.float64)
    )
    assert got == pytest.approx(usual.tolist(), abs=1e-12)


def test_quantiles_beyond_the_limit_of_torch() -> None:
    count = 2**24 + 1
    values = torch.arange(count, dtype=torch.float32).flip(0)
    with pytest.raises(RuntimeError, match="too large"):
        torch.quantile(values, 0.5)
    assert exact_quantiles(values, (0.0, 0.5, 1.0)) == (0.0, 2.0**23, 2.0**24)


# Scales of sequences


def naive_sequence_scales(tokens: Matrix, mask: list[int]) -> list[float]:
    read = [token for token, one in zip(tokens, mask, strict=True) if one]
    return [math.sqrt(math.fsum(token[j] ** 2 for token in read)) for j in range(len(tokens[0]))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_sequence_scales_are_the_formula(dtype: torch.dtype) -> None:
    x = torch.randn(3, 5, 8, generator=generator(4)).to(dtype)
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 0, 0, 0, 0]])
    got = sequence_scales(x, mask)
    assert got.shape == (3, 1, 8)
    assert got.dtype == torch.float32
    for b in range(3):
        expected = naive_sequence_scales(x[b].tolist(), mask[b].tolist())
        assert got[b, 0].tolist() == pytest.approx(expected, rel=1e-6)
    full = sequence_scales(x)
    for b in range(3):
        expected = naive_sequence_scales(x[b].tolist(), [1] * 5)
        assert full[b, 0].tolist() == pytest.approx(expected, rel=1e-6)
    # Padding matters, and sequences know nothing of each other.
    assert not torch.equal(full, got)
    assert torch.equal(sequence_scales(x[1:2]), full[1:2])


def test_norms_beyond_fp16_and_fp32() -> None:
    # Squares of 300 overflow in fp16, those of 1e30 in fp32, and those of 1e-30 vanish there.
    assert float(sequence_scales(torch.tensor([[300.0], [400.0]]).half())) == 500
    assert float(sequence_scales(torch.tensor([[3e30], [4e30]]))) == pytest.approx(5e30)
    assert float(sequence_scales(torch.tensor([[3e-30], [4e-30]]))) == pytest.approx(5e-30)
    assert float(sequence_scales(torch.full((4, 1), LARGEST))) == LARGEST


def test_what_is_not_finite_takes_no_part() -> None:
    x = torch.tensor([[3.0, 1.0, NAN], [INF, 2.0, -INF], [4.0, 2.0, 0.0]])
    assert sequence_scales(x).tolist() == [[5.0, 3.0, 0.0]]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([(2, 4), (3, 5), (8, 16)]))
def test_norm_of_the_token_selects_nothing(seed: int, pattern: tuple[int, int]) -> None:
    # The published score, in fp64; scores that differ in fp32 still differ after the division.
    x = torch.randn(6, 24, generator=generator(seed)) * torch.randn(
        24, generator=generator(seed + 1)
    )
    column = sequence_scales(x).double()
    effective = x.abs().double() * column
    published = x.abs().double() / (x.double().norm(dim=1, keepdim=True) + 1e-8) * column
    n, m = pattern
    assert torch.equal(order_mask(effective, n, m), order_mask(published, n, m))
    # Scores in fp32 select the same but where two of them become equal.
    got = keep_mask(weighted_magnitude(x, sequence_scales(x)), n, m)
    assert float((got != order_mask(effective, n, m)).float().mean()) < 0.02


def order_mask(scores: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """Lanes that fewer than n others of their group beat, by comparing all pairs."""
    groups = torch.nn.functional.pad(scores, (0, -scores.shape[-1] % m)).unflatten(-1, (-1, m))
    own, other = groups.unsqueeze(-1), groups.unsqueeze(-2)
    lanes = torch.arange(m)
    lower = lanes.unsqueeze(0) < lanes.unsqueeze(1)
    beaten = (other > own) | ((other == own) & lower)
    return (beaten.sum(-1) < n).flatten(-2)[..., : scores.shape[-1]]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=24),
    st.sampled_from([(1, 2), (2, 4), (3, 5), (8, 16)]),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
# Squares that vanish, overflow, or round to the same number.
@example([1e-30, 2e-30, 3e-30, 4e-30], (2, 4), torch.float32)
@example([1e30, 2e30, 3e30, 4e30], (2, 4), torch.bfloat16)
@example([1.0, 1.0 + 2**-23], (1, 2), torch.float32)
def test_clact_of_one_token_is_act(
    row: list[float], pattern: tuple[int, int], dtype: torch.dtype
) -> None:
    x = torch.tensor([row], dtype=torch.float64).to(dtype)
    clact = keep_mask(weighted_magnitude(x, sequence_scales(x)), *pattern)
    assert torch.equal(clact, keep_mask(weighted_magnitude(x), *pattern))


def test_clact_of_two_tokens_is_not_act() -> None:
    x = torch.tensor([[1.0, 2.0], [9.0, 0.0]])
    assert keep_mask(weighted_magnitude(x, sequence_scales(x)), 1, 2).tolist()[0] == [True, False]
    assert keep_mask(weighted_magnitude(x), 1, 2).tolist()[0] == [False, True]


# Scores


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(0, LARGEST, width=32),
)
def test_score_is_the_product(x: float, scale: float) -> None:
    got = weighted_magnitude(torch.tensor([x]), torch.tensor([scale]))
    exact = min(Fraction(abs(x)) * Fraction(scale), Fraction(LARGEST))
    assert got.dtype == torch.float32
    # One rounding, to 24 bits or to a multiple of the smallest subnormal number.
    error = abs(Fraction(float(got)) - exact)
    assert error <= max(exact / 2**24, Fraction(2) ** -150)


@pytest.mark.parametrize("scale", [0.0, 1e-45, 1.0, LARGEST])
def test_classes_stay_apart(scale: float) -> None:
    x = torch.tensor([NAN, -INF, -LARGEST, 0.0])
    scores = weighted_magnitude(x, torch.full((4,), scale))
    assert scores.isnan().tolist() == [True, False, False, False]
    assert scores.isinf().tolist() == [False, True, False, False]
    assert scores[3] == 0
    assert keep_mask(scores.flip(0), 2, 4).tolist() == [False, False, True, True]


def test_without_a_scale_the_type_stays() -> None:
    x = torch.tensor([-1.5, 2.0]).bfloat16()
    assert weighted_magnitude(x).dtype == torch.bfloat16
    assert weighted_magnitude(x).tolist() == [1.5, 2.0]
    assert weighted_magnitude(x, torch.ones(2)).dtype == torch.float32


def test_half_precision_scores_do_not_overflow() -> None:
    x = torch.tensor([60000.0, -50000.0]).half()
    assert weighted_magnitude(x, torch.tensor([2.0, 3.0])).tolist() == pytest.approx(
        [119_998, 150_000], rel=1e-3
    )
