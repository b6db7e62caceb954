"""Tests of `sw.scores`: scores against exact products of Python's integers."""

import random
from itertools import pairwise

import pytest
import torch

from hw.config import UnitConfig
from hw.formats import FORMATS
from hw.score_formats import ScoreFormat, scale_format_of
from sw.codes import numbers_of
from sw.golden import scores
from sw.scores import comparable_scores, exact_scores
from tests.sw import naive

SCALES = ["u1", "u8", "u13", "u32", "pow2", "bf16"]


def format_of(dtype: str, scale: str) -> ScoreFormat:
    return ScoreFormat(FORMATS[dtype], scale_format_of(scale))


def samples(dtype: str, scale: str, count: int) -> tuple[list[int], list[int]]:
    """Random codes and scales; awkward ones in every combination; small ones, full of ties."""
    rng = random.Random(f"{dtype} {scale}")
    limit = 1 << scale_format_of(scale).width
    corners = [0, 1, 2, 127, 128, 129, limit // 2, limit - 1]
    corners = sorted({value for value in corners if value < limit})
    pairs = [(code, factor) for code in naive.AWKWARD[dtype] for factor in corners]
    pairs += [
        (rng.randrange(1 << FORMATS[dtype].width), rng.randrange(limit)) for _ in range(count)
    ]
    pairs += [(rng.randrange(16), rng.randrange(min(limit, 16))) for _ in range(count)]
    codes, scales = zip(*pairs, strict=True)
    return list(codes), list(scales)


@pytest.mark.parametrize("comparable", [False, True])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", FORMATS)
def test_order_is_that_of_exact_products(dtype, scale, comparable):
    codes, scales = samples(dtype, scale, 400)
    arguments = torch.tensor(scales), format_of(dtype, scale)
    if comparable:
        found = comparable_scores(numbers_of(torch.tensor(codes), dtype), *arguments)
    else:
        found = exact_scores(torch.tensor(codes), *arguments)
    if found.dtype == torch.float32:
        # As they are compared: NaN above infinity.
        found = found.view(torch.int32)
    expected = [naive.score(c, s, dtype, scale) for c, s in zip(codes, scales, strict=True)]
    ranked = sorted(zip(expected, found.tolist(), strict=True))
    for (low, low_score), (high, high_score) in pairwise(ranked):
        assert (low < high) == (low_score < high_score)
        assert (low == high) == (low_score == high_score)


def written(rank: int, product: int, score: ScoreFormat) -> str:
    """Bits of a score from its definition, the highest first."""
    if score.kind == "integer":
        return f"{product:0{score.width}b}"
    after_leading_one = f"{product:b}".rstrip("0")[1:] if product else ""
    assert len(after_leading_one) <= score.f_width
    e = f"{product.bit_length():0{score.e_width}b}"
    kind = f"{rank:0{score.class_width}b}" if score.class_width else ""
    return kind + e + after_leading_one.ljust(score.f_width, "0")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", FORMATS)
def test_bits(dtype, scale):
    score = format_of(dtype, scale)
    codes, scales = samples(dtype, scale, 100)
    found = exact_scores(torch.tensor(codes), torch.tensor(scales), score).tolist()
    for code, factor, bits in zip(codes, scales, found, strict=True):
        text = written(*naive.score(code, factor, dtype, scale), score)
        assert len(text) == score.width
        assert f"{bits:0{score.width}b}" == text


@pytest.mark.parametrize(
    ("dtype", "scale", "code", "factor", "expected"),
    [
        # 1.5 is 192 * 2**126 units; 192 * 5 = 0b1111000000: 10 bits and 126 more.
        ("bf16", "u8", 0x3FC0, 5, 136 << 15 | 0b111000000 << 6),
        ("bf16", "u8", 0xBFC0, 5, 136 << 15 | 0b111000000 << 6),
        ("bf16", "u8", 0x3FC0, 0, 0),
        ("bf16", "u8", 0x8000, 255, 0),
        ("bf16", "u8", 0x0001, 1, 1 << 15),
        ("bf16", "u8", 0x7F80, 0, 1 << 24),
        ("bf16", "u8", 0xFFC1, 0, 2 << 24),
        ("fp8_e4m3", "pow2", 0x7F, 3, 2 << 9),
        ("int8", "u8", 0x80, 255, 128 * 255),
        ("int8", "pow2", 0xFF, 15, 1 << 15),
        # The largest scale of bf16: 255 * 2**254; 128 times it.
        ("int8", "bf16", 0x80, 0x7FFF, 269 << 15 | 0b1111111 << 8),
    ],
)
def test_by_hand(dtype, scale, code, factor, expected):
    score = format_of(dtype, scale)
    assert int(exact_scores(torch.tensor(code), torch.tensor(factor), score)) == expected


def test_leading_bits():
    codes, scales = (torch.tensor(values) for values in samples("bf16", "u8", 200))
    whole = scores(UnitConfig(n=8, m=16, criterion="scaled"), codes, scales)
    cut = scores(UnitConfig(n=8, m=16, criterion="scaled", score_bits=12), codes, scales)
    assert torch.equal(cut, whole >> 14)


def test_one_scale_for_all_lanes_changes_nothing():
    """CLACT's row norm, and its only token, have no effect on the order."""
    codes = torch.randint(0x7F80, (500, 16), generator=torch.Generator().manual_seed(1))
    plain = scores(UnitConfig(n=8, m=16), codes)
    for factor in (1, 7, 255):
        scaled = exact_scores(codes, torch.tensor(factor), format_of("bf16", "u8"))
        order = plain.unsqueeze(-1) > plain.unsqueeze(-2)
        assert torch.equal(scaled.unsqueeze(-1) > scaled.unsqueeze(-2), order)


def test_a_wrong_order_is_found():
    """Signed zero, or an exponent that is one too high, would be seen."""
    codes, scales = samples("bf16", "u8", 100)
    found = exact_scores(torch.tensor(codes), torch.tensor(scales), format_of("bf16", "u8"))
    expected = [naive.score(c, s, "bf16", "u8") for c, s in zip(codes, scales, strict=True)]
    wrong = torch.where(torch.tensor(codes) & 1 == 1, found + (1 << 15), found).tolist()
    pairs = sorted(zip(expected, wrong, strict=True))
    assert any((a < b) != (x < y) for (a, x), (b, y) in pairwise(pairs))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", FORMATS)
def test_fp32_is_used_where_it_is_exact(dtype, scale):
    codes = torch.zeros(4, dtype=torch.int64)
    found = comparable_scores(numbers_of(codes, dtype), codes, format_of(dtype, scale))
    is_exact = FORMATS[dtype].kind == "float" and scale in ("u1", "u8", "u13", "pow2")
    assert (found.dtype == torch.float32) == is_exact
