from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.formats import FORMATS
from sw.codes import magnitude_keys
from sw.selection import select
from tests.sw import naive


@pytest.mark.parametrize(("n", "m"), naive.PATTERNS)
@pytest.mark.parametrize("dtype", FORMATS)
def test_definition(dtype, n, m):
    groups = naive.groups(dtype, m, 24, seed=n * m)
    mask = select(magnitude_keys(torch.tensor(groups), FORMATS[dtype]), n)
    assert mask.dtype == torch.bool
    expected = [
        naive.bitmap(naive.kept([naive.key(code, dtype) for code in group], n), m)
        for group in groups
    ]
    assert mask.to(torch.int64).tolist() == expected


def test_every_order_of_small_keys():
    keys = list(product(range(4), repeat=4))
    for n in range(1, 5):
        expected = [naive.bitmap(naive.kept(list(group), n), 4) for group in keys]
        assert select(torch.tensor(keys), n).to(torch.int64).tolist() == expected


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.integers(2, 20).flatmap(
        lambda m: st.tuples(
            st.integers(1, m),
            st.lists(
                st.integers(0, 3) | st.integers(0, 2**56 - 1) | st.just(2**56 - 1),
                min_size=m,
                max_size=m,
            ),
        )
    )
)
def test_large_keys_and_ties(problem):
    n, keys = problem
    expected = naive.bitmap(naive.kept(keys, n), len(keys))
    assert select(torch.tensor(keys), n).to(torch.int64).tolist() == expected


@pytest.mark.parametrize(("n", "m"), naive.PATTERNS)
def test_lower_lane_wins_ties(n, m):
    mask = select(torch.full((3, m), 7), n)
    assert mask.tolist() == [[lane < n for lane in range(m)]] * 3


def test_minimum_of_integers_is_the_largest():
    codes = torch.tensor([[0x7F, 0x80, 0x81, 0x80]])
    assert select(magnitude_keys(codes, FORMATS["int8"]), 2).tolist() == [
        [False, True, False, True]
    ]


def test_nan_above_infinity_above_finite():
    codes = torch.tensor([[0x7F7F, 0xFF80, 0x7F81, 0x8000], [0x7F80, 0xFFC0, 0x7F80, 0xFF80]])
    assert select(magnitude_keys(codes, FORMATS["bf16"]), 2).tolist() == [
        [False, True, True, False],
        [True, True, False, False],
    ]


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (0,), (2, 0, 3)])
def test_batch_shapes(shape):
    keys = torch.randint(0, 3, (*shape, 6), generator=torch.Generator().manual_seed(1))
    mask = select(keys, 2)
    assert mask.shape == keys.shape
    flat = [select(group, 2) for group in keys.reshape(-1, 6)]
    assert torch.equal(mask.reshape(-1, 6), torch.stack(flat) if flat else mask.reshape(-1, 6))


@pytest.mark.parametrize("n", [0, -1, 5])
def test_n_out_of_range(n):
    with pytest.raises(ValueError) as caught:
        select(torch.zeros(2, 4, dtype=torch.int64), n)
    assert str(caught.value) == f"n must be between 1 and m = 4, not {n}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.bool])
def test_keys_of_another_type(dtype):
    with pytest.raises(TypeError) as caught:
        select(torch.zeros(2, 4, dtype=dtype), 2)
    assert str(caught.value) == f"keys must be torch.int64, not {dtype}"
