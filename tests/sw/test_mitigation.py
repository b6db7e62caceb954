"""Pure functions against exact arithmetic, and the algebra that their use in hardware rests on."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sw.errors import InputError
from sw.fast_selection import keep_mask
from sw.masks import masked
from sw.mitigation import (
    low_rank_factors,
    row_sums,
    scaling_factors,
    sequence_maxima,
    token_shift,
    variance_factor,
)

INF, NAN = math.inf, math.nan
DTYPES = [torch.float32, torch.bfloat16, torch.float16]

SEEDS = st.integers(0, 10**6)
PATTERNS = st.sampled_from([(2, 4), (4, 8), (3, 5), (8, 16), (1, 2), (3, 3)])


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def variance(row: list[float]) -> Fraction:
    """Times the number of elements, exactly."""
    exact = [Fraction(number) for number in row]
    mean = sum(exact) / len(exact)
    return sum(((number - mean) ** 2 for number in exact), start=Fraction(0))


def close(got: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool(torch.allclose(got, expected, rtol=1e-10, atol=1e-10))


# D-PTS


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", [1, 2, 5, 64])
def test_mean(dtype: torch.dtype, features: int) -> None:
    x = (random(1, 7, features) * 3 + 1).to(dtype)
    exact = [float(sum(map(Fraction, row)) / features) for row in x.tolist()]
    got = token_shift(x, "mean")
    assert got.dtype == dtype
    assert got.flatten().tolist() == torch.tensor(exact, dtype=torch.float64).to(dtype).tolist()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(-10, 10, width=16), min_size=1, max_size=9), st.sampled_from(DTYPES))
def test_median_is_the_lower_one(row: list[float], dtype: torch.dtype) -> None:
    x = torch.tensor([row]).to(dtype)
    assert token_shift(x, "median").tolist() == [[sorted(x[0].tolist())[(len(row) - 1) // 2]]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_median_of_many_features(dtype: torch.dtype) -> None:
    # Whole numbers tie, and infinities are at both ends.
    x = (random(5, 3, 4, 1536) * 9).round().to(dtype)
    x[0, 0, ::3], x[0, 1, 1::3] = math.inf, -math.inf
    expected = [sorted(row)[767] for row in x.flatten(0, 1).tolist()]
    got = token_shift(x, "median")
    assert (got.dtype, got.shape) == (dtype, (3, 4, 1))
    assert got.flatten().tolist() == expected


def test_gradient_of_the_median() -> None:
    x = torch.tensor([[4.0, 1.0, 2.0, 9.0]], requires_grad=True)
    token_shift(x, "median").sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 0.0, 1.0, 0.0]]


def test_shift_by_hand() -> None:
    x = torch.tensor([[4.0, 1.0, 2.0, 9.0]])
    assert token_shift(x, "mean").tolist() == [[4.0]]
    assert token_shift(x, "median").tolist() == [[2.0]]


def test_sum_beyond_the_format() -> None:
    assert token_shift(torch.full((1, 8), 3e38), "mean").tolist() == torch.tensor([[3e38]]).tolist()
    assert token_shift(torch.full((1, 8), 6e4).half(), "mean").item() == 60000


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_shift_of_nan_is_nan(statistic: str) -> None:
    assert math.isnan(token_shift(torch.tensor([1.0, NAN, 2.0]), statistic).item())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SEEDS, PATTERNS)
def test_shift_is_a_sparse_product_and_a_rank_one_term(seed: int, pattern: tuple[int, int]) -> None:
    # (P(x - eta) + eta) W^T = P(x - eta) W^T + eta r^T, for eta of a token and of a linear.
    x, weight = random(seed, 3, 20), random(seed + 1, 7, 20)
    for eta in (token_shift(x, "mean"), token_shift(x, "median"), torch.tensor(0.25)):
        d = x - eta
        kept = masked(d, keep_mask(d, *pattern)).double()
        dense = (kept + eta) @ weight.double().T
        sparse = kept @ weight.double().T + eta * weight.double().sum(1)
        assert close(sparse, dense)
        r = row_sums(weight)
        assert r.dtype == torch.float32
        assert torch.allclose(r.double(), weight.double().sum(1), rtol=1e-6)
    # One number a feature: the term is eta W^T.
    eta = random(seed + 2, 20)
    kept = masked(x - eta, keep_mask(x - eta, *pattern)).double()
    dense = (kept + eta) @ weight.double().T
    assert close(kept @ weight.double().T + weight.double() @ eta.double(), dense)
    # The guard: without the term it is something else.
    assert not close(kept @ weight.double().T, dense)


# VAR


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_factor_is_the_formula(dtype: torch.dtype, offset: float) -> None:
    d = (random(2, 6, 32) + offset).to(dtype)
    kept = masked(d, keep_mask(d, 2, 4))
    expected = [
        math.sqrt(variance(before) / variance(after))
        for before, after in zip(d.tolist(), kept.tolist(), strict=True)
    ]
    got = variance_factor(d, kept)
    assert got.dtype == torch.float32
    assert got.shape == (6, 1)
    assert got.flatten().tolist() == pytest.approx(expected, rel=1e-6)
    # The guard: means matter.
    uncentred = [
        math.sqrt(sum(a * a for a in before) / sum(a * a for a in after))
        for before, after in zip(d.tolist(), kept.tolist(), strict=True)
    ]
    assert got.flatten().tolist() != pytest.approx(uncentred, rel=1e-6)


def test_factor_by_hand() -> None:
    # Means 0; squares 1 + 9 + 9 + 1 = 20 before, 18 after.
    d = torch.tensor([[-1.0, 3.0, -3.0, 1.0]])
    kept = torch.tensor([[0.0, 3.0, -3.0, 0.0]])
    assert variance_factor(d, kept).item() == pytest.approx(math.sqrt(20 / 18))
    assert variance_factor(d, d).item() == 1


@pytest.mark.parametrize(
    ("d", "kept", "factor"),
    [
        ([0.0, 0, 0, 0], [0.0, 0, 0, 0], 0.0),
        # Equal features have no variance.
        ([5.0, 5, 5, 5], [5.0, 5, 0, 0], 0.0),
        ([0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.0, 0.0], 0.0),
        ([5.0, 5, 5, 5], [5.0, 5, 5, 5], 0.0),
        ([7.0], [7.0], 0.0),
        # What is kept has variances of 2 / 3 e-10, 0 and 32 / 3 e-10: below 1e-9 that counts.
        ([1e-5, -1e-5, 1e-5, -1e-5], [1e-5, -1e-5, 0, 0], math.sqrt(4 / 30)),
        ([2.0, -2, 2, -2], [0.0, 0, 0, 0], math.sqrt(16 / 3e-9)),
        ([4e-5, -4e-5, 4e-5, -4e-5], [4e-5, -4e-5, 0, 0], math.sqrt(2)),
        ([NAN, 1, 2, 3], [NAN, 0, 0, 3], NAN),
        ([INF, 1, 2, 3], [INF, 0, 0, 3], NAN),
        ([3e38, -3e38, 1, 1], [3e38, -3e38, 0, 0], 1.0),
        ([2e-45, -2e-45, 2e-45, -2e-45], [2e-45, -2e-45, 0, 0], 0.0),
        # Almost equal: means 1000.5 and 500.5, spreads 1 and 1002001.
        ([1000.0, 1000, 1001, 1001], [0.0, 0, 1001, 1001], math.sqrt(1 / 1002001)),
    ],
)
def test_degenerate_factor(d: list[float], kept: list[float], factor: float) -> None:
    got = variance_factor(torch.tensor([d]), torch.tensor([kept])).item()
    assert got == pytest.approx(factor, rel=1e-6, abs=1e-35, nan_ok=True)


@pytest.mark.parametrize("features", [2, 3, 7, 100, 576, 1536])
def test_equal_features_have_no_variance(features: int) -> None:
    # Sums of squares alone leave rounding errors in place of 0.
    d = torch.tensor([0.1, 1 / 3, 1e-20, 7e20]).unsqueeze(1).expand(4, features).contiguous()
    kept = masked(d, keep_mask(d, 1, 2))
    assert variance_factor(d, kept).flatten().tolist() == [0.0] * 4


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SEEDS, PATTERNS)
def test_variance_commutes_with_the_product(seed: int, pattern: tuple[int, int]) -> None:
    # Applied to the activations or to the sums, v is the same; a shift leaves Var(d) as Var(x).
    x, weight = random(seed, 3, 20), random(seed + 1, 7, 20).double()
    d = x - token_shift(x, "mean")
    kept = masked(d, keep_mask(d, *pattern))
    v = variance_factor(d, kept).double()
    assert close((v * kept.double()) @ weight.T, v * (kept.double() @ weight.T))
    assert torch.allclose(variance_factor(x, kept).double(), v, rtol=1e-4)


def test_factor_has_no_gradient() -> None:
    d = random(3, 2, 8).requires_grad_()
    assert not variance_factor(d, masked(d, keep_mask(d, 2, 4))).requires_grad


# R-Sparse


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 9))
def test_low_rank_is_the_nearest_matrix(seed: int, rank: int) -> None:
    # Eckart and Young: what is missing has the norm of the singular values left out.
    weight = random(seed, 6, 8)
    left, right = low_rank_factors(weight, rank)
    assert left.shape == (6, min(rank, 6))
    assert right.shape == (min(rank, 6), 8)
    assert torch.linalg.matrix_rank(left @ right) == min(rank, 6)
    gram = torch.linalg.eigvalsh((weight @ weight.T).double()).flip(0)
    missing = (weight - left @ right).double().norm().square()
    assert missing.item() == pytest.approx(gram[rank:].sum().item(), abs=1e-4)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(SEEDS, PATTERNS)
def test_full_rank_gives_the_dense_product(seed: int, pattern: tuple[int, int]) -> None:
    x, weight = random(seed, 3, 20), random(seed + 1, 7, 20)
    left, right = low_rank_factors(weight, 7)
    kept = masked(x, keep_mask(x, *pattern))
    y = kept @ weight.T + ((x - kept) @ right.T) @ left.T
    assert torch.allclose(y, x @ weight.T, atol=1e-4)


def test_low_rank_of_zeros() -> None:
    left, right = low_rank_factors(torch.zeros(3, 4), 2)
    assert torch.equal(left @ right, torch.zeros(3, 4))


@pytest.mark.parametrize(
    ("weight", "rank", "message"),
    [
        (torch.ones(2, 2), 0, "rank must be at least 1, not 0"),
        (torch.tensor([[NAN, 1]]), 1, "weights must be finite, not NaN or infinite 1 times"),
    ],
)
def test_low_rank_of_what_is_wrong(weight: torch.Tensor, rank: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        low_rank_factors(weight, rank)
    assert str(caught.value) == message


# Scaling


@pytest.mark.parametrize("dtype", DTYPES)
def test_maxima_of_sequences(dtype: torch.dtype) -> None:
    x = random(5, 2, 4, 6).to(dtype)
    x[0, 1, 2], x[0, 2, 3] = NAN, -INF
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0]])
    got = sequence_maxima(x, mask)
    assert got.shape == (2, 1, 6)
    assert got.dtype == torch.float32
    for b in range(2):
        read = [token for token, one in zip(x[b].tolist(), mask[b], strict=True) if one]
        expected = [max(abs(t[j]) for t in read if math.isfinite(t[j])) for j in range(6)]
        assert got[b, 0].tolist() == expected


def test_factors_by_hand() -> None:
    weight_maxima = torch.tensor([4.0, 2.0, 0.0, 5.0, 1.0])
    input_maxima = torch.tensor([9.0, 0.5, 3.0, 0.0, INF])
    assert scaling_factors(input_maxima, weight_maxima).tolist() == [1.5, 0.5, 1.0, 1.0, 1.0]
    # The quotient is beyond fp32, its root is not.
    assert scaling_factors(torch.tensor([3e38]), torch.tensor([3e-38])).item() == pytest.approx(
        1e38
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SEEDS, PATTERNS)
def test_scaling_is_a_criterion(seed: int, pattern: tuple[int, int]) -> None:
    # P(x / s) (W s)^T keeps x itself, where x / s is selected: s cancels.
    x, weight = random(seed, 3, 20), random(seed + 1, 7, 20)
    s = scaling_factors(sequence_maxima(x), weight.abs().amax(0))
    mask = keep_mask(x / s, *pattern)
    scaled = masked(x / s, mask).double() @ (weight.double() * s).T
    assert torch.allclose(scaled, masked(x, mask).double() @ weight.double().T, atol=1e-5)
