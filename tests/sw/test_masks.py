from fractions import Fraction
from math import floor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.formats import FORMATS
from sw.codes import codes_of
from sw.masks import keep_largest, kept_count, masked, score_keys
from tests.sw import naive

INF, NAN = float("inf"), float("nan")

#: Few magnitudes, many ties, and all that is awkward in fp32.
SCORES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1.5, 2.0, 1e-45, -1e-40, 3.4e38, INF, -INF, NAN])


def bits(number: float, dtype: torch.dtype) -> int:
    """The bits below the sign, by way of the bytes."""
    return int.from_bytes(bytes(torch.tensor([number], dtype=dtype).view(torch.uint8))[::-1]) & (
        (1 << (8 * dtype.itemsize - 1)) - 1
    )


def naive_largest(row: list[float], count: int, dtype: torch.dtype) -> list[bool]:
    kept = naive.kept([bits(number, dtype) for number in row], count)
    return [place in kept for place in range(len(row))]


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_keys_are_those_of_the_codes(dtype: str) -> None:
    codes = torch.arange(1 << 16)
    numbers = codes.to(torch.int16).view(torch.bfloat16 if dtype == "bf16" else torch.float16)
    assert torch.equal(codes_of(numbers, dtype), codes)
    expected = [naive.key(code, dtype) for code in range(1 << 16)]
    assert score_keys(numbers).tolist() == expected
    assert FORMATS[dtype].key_width == 15


def test_keys_order_fp32() -> None:
    ascending = [0.0, 1e-45, 1e-38, 1.0, 1.0000001, 2.0, 3.4e38, INF, NAN]
    keys = score_keys(torch.tensor(ascending)).tolist()
    assert keys == sorted(set(keys))
    assert score_keys(-torch.tensor(ascending)).tolist() == keys


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(SCORES, min_size=1, max_size=20), st.data())
def test_largest_is_the_definition(row: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(row)))
    dtype = data.draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
    mask = keep_largest(torch.tensor([row, row[::-1]]).to(dtype), count)
    row = torch.tensor(row).to(dtype).tolist()
    assert mask.dtype == torch.bool
    assert mask.tolist() == [naive_largest(one, count, dtype) for one in (row, row[::-1])]


def test_expectation_can_fail() -> None:
    # The other direction of ties is another mask.
    row = [1.0] * 4
    assert naive_largest(row, 2, torch.float32) == [True, True, False, False]
    assert keep_largest(torch.tensor(row), 2).tolist() != [False, False, True, True]


@pytest.mark.parametrize("shape", [(6,), (0, 6), (2, 3, 6), (1, 1)])
def test_shapes(shape: tuple[int, ...]) -> None:
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    mask = keep_largest(scores, 1)
    assert mask.shape == scores.shape
    assert bool((mask.sum(-1) == 1).all())


def test_scores_need_no_gradient() -> None:
    scores = torch.randn(2, 8, requires_grad=True)
    assert not keep_largest(scores, 2).requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32])
def test_scores_of_another_type(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError) as caught:
        keep_largest(torch.zeros(4, dtype=dtype), 2)
    assert str(caught.value) == f"scores must be bf16, fp16 or fp32, not {dtype}"


@pytest.mark.parametrize("count", [-1, 5])
def test_count_out_of_range(count: int) -> None:
    with pytest.raises(ValueError) as caught:
        keep_largest(torch.zeros(4), count)
    assert str(caught.value) == f"count must be between 0 and the 4 features, not {count}"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.integers(1, 100_000),
    st.fractions(0, 1).filter(lambda ratio: ratio < 1) | st.just(Fraction("0.9")),
)
def test_kept_count(size: int, ratio: Fraction) -> None:
    assert kept_count(size, ratio) == max(1, floor(size * (1 - ratio)))


def test_kept_count_of_real_sizes() -> None:
    ratios = [Fraction(text) for text in ("0.2", "0.5", "0.7", "0.9")]
    assert [kept_count(4096, ratio) for ratio in ratios] == [3276, 2048, 1228, 409]
    # Binary floating point gives 255 and 1023.
    assert [kept_count(2560, ratios[3]), kept_count(10240, ratios[3])] == [256, 1024]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gradient", [False, True])
def test_masked_to_the_last_bit(dtype: torch.dtype, gradient: bool) -> None:
    integers = torch.int32 if dtype == torch.float32 else torch.int16
    generator = torch.Generator().manual_seed(3)
    bits = torch.randint(-(2**15), 2**15, (4, 600), generator=generator).to(integers)
    bits = bits << (16 if dtype == torch.float32 else 0)
    x = bits.view(dtype).requires_grad_(gradient)
    mask = torch.rand(4, 600, generator=generator) < 0.5
    assert bool(x.isnan().any())
    got = masked(x, mask)
    assert got.requires_grad == gradient
    expected = [
        number if kept else 0
        for number, kept in zip(bits.flatten().tolist(), mask.flatten().tolist(), strict=True)
    ]
    assert got.detach().view(integers).flatten().tolist() == expected


def test_masked_passes_gradients() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    masked(x, torch.tensor([True, False, True])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 0.0, 1.0]
