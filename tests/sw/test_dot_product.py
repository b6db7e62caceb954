import random

import pytest
import torch

from sw.dot_product import accumulate, group_dot_product, slot_dot_product
from tests.sw import naive


def random_groups(n: int, m: int, count: int, width: int, *, illegal: bool):
    """Values, masks and weights of groups; the range's ends come often."""
    chosen = random.Random(n * m + width)
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1

    def numbers(size: int) -> list[int]:
        return [chosen.choice([low, high, 0, chosen.randint(low, high)]) for _ in range(size)]

    lanes = [
        [] if illegal and chosen.random() < 0.3 else sorted(chosen.sample(range(m), n))
        for _ in range(count)
    ]
    return (
        [numbers(n) for _ in range(count)],
        [[lane in kept for lane in range(m)] for kept in lanes],
        [numbers(m) for _ in range(count)],
        lanes,
    )


@pytest.mark.parametrize(("n", "m"), naive.PATTERNS)
@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("illegal", [False, True])
def test_group(n, m, width, illegal):
    values, mask, weights, lanes = random_groups(n, m, 40, width, illegal=illegal)
    dots = group_dot_product(torch.tensor(values), torch.tensor(mask), torch.tensor(weights))
    # An all-zero mask, that of an illegal code, has no lanes.
    assert dots.tolist() == [
        sum(value[slot] * weight[lane] for slot, lane in enumerate(kept))
        for value, weight, kept in zip(values, weights, lanes, strict=True)
    ]


def test_most_negative_numbers_of_the_widest_group():
    dot = group_dot_product(
        torch.full((64,), -32768), torch.ones(64, dtype=torch.bool), torch.full((64,), -32768)
    )
    assert dot.item() == 64 * 2**30


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0)])
def test_batch_shapes_of_groups(shape):
    dots = group_dot_product(
        torch.tensor([2, -3]).expand(*shape, 2),
        torch.tensor([False, True, False, True]).expand(*shape, 4),
        torch.tensor([100, 10, 100, 7]).expand(*shape, 4),
    )
    assert torch.equal(dots, torch.full(shape, -1))


def reduction(dots: list[int], errors: list[bool], width: int, overflow: str) -> tuple[int, bool]:
    total = 0
    for dot, error in zip(dots, errors, strict=True):
        total = naive.limited(total + (0 if error else dot), width, overflow)
    return total, any(errors)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("width", [2, 8, 17, 32, 63, 64])
def test_accumulation(width, overflow):
    chosen = random.Random(width)
    limit = min(1 << (width + 1), (1 << 62) - 1)
    rows, errors = [], []
    for _ in range(60):
        near = chosen.choice([3, limit // 4, limit])
        rows.append([chosen.randint(-near, near) for _ in range(9)])
        errors.append([chosen.random() < 0.2 for _ in range(9)])
    # Straight to either end and beyond, and back.
    for end in (limit, -limit):
        rows.append([end] * 6 + [-1, 1, -end])
        errors.append([False] * 9)
    sums, failed = accumulate(
        torch.tensor(rows), torch.tensor(errors), acc_width=width, overflow=overflow
    )
    expected = [reduction(r, e, width, overflow) for r, e in zip(rows, errors, strict=True)]
    assert sums.tolist() == [total for total, _ in expected]
    assert failed.tolist() == [error for _, error in expected]
    assert (sums.dtype, failed.dtype) == (torch.int64, torch.bool)


@pytest.mark.parametrize(
    ("dots", "overflow", "width", "expected"),
    [
        ([100, 100], "wrap", 8, -56),
        ([100, 100], "saturate", 8, 127),
        # Saturated after each group, not at the end.
        ([100, 100, -100], "saturate", 8, 27),
        ([100, 100, -100], "wrap", 8, 100),
        ([-128, -1, 1], "saturate", 8, -127),
        ([1, 1], "wrap", 2, -2),
        ([1, 1], "saturate", 2, 1),
        ([-5], "saturate", 2, -2),
        ([1000], "wrap", 2, 0),
    ],
)
def test_worked_examples(dots, overflow, width, expected):
    total, error = accumulate(
        torch.tensor(dots), torch.zeros(len(dots), dtype=torch.bool),
        acc_width=width, overflow=overflow,
    )  # fmt: skip
    assert (total.item(), error.item()) == (expected, False)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_a_group_with_an_error_adds_nothing(overflow):
    total, error = accumulate(
        torch.tensor([[5, 1000, 7], [5, 6, 7], [1, 2, 3]]),
        torch.tensor([[False, True, False], [True, True, True], [False, False, False]]),
        acc_width=16,
        overflow=overflow,
    )
    assert total.tolist() == [12, 0, 6]
    assert error.tolist() == [True, True, False]


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_batch_shapes(shape, overflow):
    dots = torch.tensor([3, -5, 9]).expand(*shape, 3)
    errors = torch.tensor([False, False, True]).expand(*shape, 3)
    total, error = accumulate(dots, errors, acc_width=32, overflow=overflow)
    assert torch.equal(total, torch.full(shape, -2))
    assert torch.equal(error, torch.ones(shape, dtype=torch.bool))


def test_slots():
    values = torch.tensor([[1, -2, 3], [-128, -128, 127]])
    weights = torch.tensor([[10, 20, -30], [-128, 127, 127]])
    assert slot_dot_product(values, weights).tolist() == [10 - 40 - 90, 16384 - 16256 + 16129]
    assert slot_dot_product(values[:0], weights[:0]).shape == (0,)
