import math
from fractions import Fraction
from typing import Any

import pytest
import torch

from sw.errors import InputError
from sw.weight_pruning import WEIGHT_BASELINES, weight_mask

HALF = Fraction(1, 2)


def random_weights(seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Few magnitudes, so that there are ties."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(-4, 5, (6, 20), generator=generator) / 2).to(dtype)


def random_norms(seed: int) -> torch.Tensor:
    return torch.randint(0, 4, (20,), generator=torch.Generator().manual_seed(seed)).float()


def best(scores: list[float], count: int) -> list[bool]:
    """Of equal scores the first."""
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    return [place in order[:count] for place in range(len(scores))]


def naive_mask(
    weight: torch.Tensor, pattern: tuple[int, int] | Fraction, norms: list[float] | None
) -> list[list[bool]]:
    factors = norms or [1.0] * weight.shape[1]
    scores = [
        [abs(w) * factor for w, factor in zip(row, factors, strict=True)] for row in weight.tolist()
    ]
    if isinstance(pattern, tuple):
        n, m = pattern
        rows = []
        for row in scores:
            padded = row + [0.0] * (-len(row) % m)
            groups = [best(padded[start : start + m], n) for start in range(0, len(padded), m)]
            rows.append([kept for group in groups for kept in group][: len(row)])
        return rows
    if norms is None:
        flat = [score for row in scores for score in row]
        mask = best(flat, max(1, math.floor(len(flat) * (1 - pattern))))
        width = weight.shape[1]
        return [mask[start : start + width] for start in range(0, len(mask), width)]
    return [best(row, max(1, math.floor(len(row) * (1 - pattern)))) for row in scores]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "pattern",
    [(2, 4), (8, 16), (3, 5), (3, 7), (1, 1), HALF, Fraction("0.9"), Fraction("0.33"), Fraction(0)],
)
@pytest.mark.parametrize("baseline", WEIGHT_BASELINES)
def test_definition(baseline: str, pattern: Any, dtype: torch.dtype) -> None:
    for seed in range(5):
        weight, norms = random_weights(seed, dtype), random_norms(seed)
        wanda = baseline == "wanda"
        got = weight_mask(weight, pattern, baseline, norms if wanda else None)
        assert got.dtype == torch.bool
        assert got.tolist() == naive_mask(weight, pattern, norms.tolist() if wanda else None)


def test_scopes_differ() -> None:
    # Row 0 is large throughout: the whole matrix keeps it, each row by itself halves it.
    weight = torch.tensor([[5.0, 6.0], [1.0, 2.0]])
    assert weight_mask(weight, HALF).tolist() == [[True, True], [False, False]]
    assert weight_mask(weight, HALF, "wanda", torch.ones(2)).tolist() == [[False, True]] * 2


def test_wanda_by_hand() -> None:
    weight = torch.tensor([[3.0, -2.0, 1.0, 4.0]])
    norms = torch.tensor([1.0, 2.0, 9.0, 0.0])
    # Scores 3, 4, 9, 0.
    assert weight_mask(weight, (2, 4), "wanda", norms).tolist() == [[False, True, True, False]]


def test_exactly_as_many_as_asked_for() -> None:
    # All weights tie.
    mask = weight_mask(torch.ones(30, 33), Fraction("0.25"))
    assert int(mask.sum()) == math.floor(990 * 0.75)
    assert bool(mask.flatten()[:742].all())


@pytest.mark.parametrize("baseline", WEIGHT_BASELINES)
def test_degenerate(baseline: str) -> None:
    norms = torch.zeros(4) if baseline == "wanda" else None
    zeros = weight_mask(torch.zeros(2, 4), (2, 4), baseline, norms)
    assert zeros.tolist() == [[True, True, False, False]] * 2
    one = norms if norms is None else norms[:1]
    assert weight_mask(torch.ones(1, 1), (1, 4), baseline, one).tolist() == [[True]]
    assert weight_mask(torch.ones(1, 1), Fraction("0.9"), baseline, one).tolist() == [[True]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "sparsegpt"}, "weights must be of wt, wanda, not 'sparsegpt'"),
        ({"baseline": "wanda"}, "wanda must have the norms of the inputs, not none (sw.calibrate)"),
        (
            {"baseline": "wanda", "input_norm": torch.ones(3)},
            "input norms must be of shape (4,), not (3,)",
        ),
        (
            {"baseline": "wanda", "input_norm": torch.tensor([1, 1, 1, math.nan])},
            "input norms must be finite and not negative, not nan",
        ),
        (
            {"baseline": "wanda", "input_norm": torch.tensor([1.0, 1, 1, -1])},
            "input norms must be finite and not negative, not -1.0",
        ),
        (
            {"weight": torch.tensor([[1, math.inf, math.nan, 0]])},
            "weights must be finite, not NaN or infinite 2 times",
        ),
    ],
)
def test_what_is_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        weight_mask(**({"weight": torch.ones(2, 4), "pattern": (2, 4)} | options))
    assert str(caught.value) == message
