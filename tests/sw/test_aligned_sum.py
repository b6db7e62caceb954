"""Tests of `sw.aligned_sum`: the rule in fractions, one term at a time, and its error."""

import random
from fractions import Fraction
from math import floor

import pytest
import torch

import sw.aligned_sum
from hw.formats import FP32
from sw.aligned_sum import Terms, aligned_sum, rounded_sum
from tests.mutant import mutant

#: (negative, significand, exponent)
Term = tuple[int, int, int]


def definition(groups: list[list[Term]], width: int, bits: int, least: int = 0) -> tuple[int, int]:
    """(A, E) of one reduction, from the rule."""
    total, exponent = 0, least
    room = bits + (len(groups[0]) - 1).bit_length()
    for group in groups:
        largest = max([x for _, s, x in group if s], default=0)
        own = max(largest + width - bits, least)
        added = 0
        for negative, s, x in group:
            cut = floor(Fraction(s) * Fraction(2) ** (x - own))
            assert cut < 1 << bits
            added += -cut if negative else cut
        common = max(exponent, own)
        total = floor(Fraction(total, 2 ** (common - exponent)))
        total += floor(Fraction(added, 2 ** (common - own)))
        if not -(1 << room) <= total < 1 << room:
            total, common = total // 2, common + 1
        exponent = common
    return total, exponent


def reductions(
    count: int, groups: int, terms: int, width: int, largest: int, seed: int
) -> list[list[list[Term]]]:
    """Near and far exponents, zeros, one sign and both."""
    rng = random.Random(seed)
    result = []
    for _ in range(count):
        spread = rng.choice([0, 3, 20, largest])
        low = rng.randrange(largest - spread + 1)
        signs = rng.choice([(0,), (1,), (0, 1)])
        top = rng.choice([1, 1 << width])
        result.append(
            [
                [
                    (rng.choice(signs), rng.randrange(top), rng.randint(low, low + spread))
                    for _ in range(terms)
                ]
                for _ in range(groups)
            ]
        )
    return result


def terms_of(reductions: list[list[list[Term]]], width: int) -> Terms:
    parts = torch.tensor(reductions)
    return Terms(parts[..., 0].bool(), parts[..., 1], parts[..., 2], width)


@pytest.mark.parametrize("least", [0, 9, 100])
@pytest.mark.parametrize("bits", [8, 16, 24, 40])
@pytest.mark.parametrize(("terms", "groups"), [(1, 5), (2, 3), (7, 4), (16, 6)])
def test_definition(terms, groups, bits, least):
    listed = reductions(60, groups, terms, 8, 253, seed=terms * bits)
    total, exponent = aligned_sum(terms_of(listed, 8), bits, least)
    expected = [definition(groups, 8, bits, least) for groups in listed]
    assert list(zip(total.tolist(), exponent.tolist(), strict=True)) == expected


def test_growth_halves():
    """Many equal numbers: the accumulator runs over again and again."""
    listed = [[[(negative, 255, 30)] * 4] * 100 for negative in (0, 1)]
    total, exponent = aligned_sum(terms_of(listed, 8), 8)
    expected = [definition(groups, 8, 8) for groups in listed]
    assert list(zip(total.tolist(), exponent.tolist(), strict=True)) == expected
    assert int(exponent[0]) > 30


def test_nothing_falls_off_where_there_is_room():
    listed = reductions(50, 5, 6, 4, 20, seed=1)
    total, exponent = aligned_sum(terms_of(listed, 4), 40)
    exact = [
        sum((-s if negative else s) << x for group in groups for negative, s, x in group)
        for groups in listed
    ]
    assert exponent.tolist() == [0] * 50
    assert total.tolist() == exact


def test_order_inside_a_group_does_not_matter():
    listed = reductions(50, 3, 8, 8, 200, seed=2)
    turned = [[group[::-1] for group in groups] for groups in listed]
    for first, second in zip(
        aligned_sum(terms_of(listed, 8), 16), aligned_sum(terms_of(turned, 8), 16), strict=True
    ):
        assert torch.equal(first, second)


def test_dead_terms_can_have_a_say():
    """The exponent is that of the live terms, not only of those that are added."""
    terms = terms_of([[[(0, 1, 0), (0, 0, 60)]]], 8)
    assert aligned_sum(terms, 8)[0].tolist() == [1]
    live = Terms(
        terms.negative, terms.significand, terms.exponent, 8, torch.tensor([[[True, True]]])
    )
    assert aligned_sum(live, 8) == (torch.tensor([0]), torch.tensor([60]))


def test_rounded():
    """2**24 + 1 lies half way: to the even one; the unit counts."""
    terms = terms_of([[[(1, 1, 24), (1, 1, 0)]]], 1)
    codes = rounded_sum(terms, 30, -3)
    assert codes.tolist() == [(1 << 31) | (127 + 21) << FP32.mantissa_width]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (".amax(-1)", ".amin(-1)"),
        ("total >= limit", "total > limit + limit"),
        ("common + overflows", "common"),
        (".clamp(min=floor)", ".clamp(min=floor + 1)"),
        ("-cut, cut", "cut, cut"),
    ],
)
def test_the_definition_finds_a_wrong_model(old, new):
    listed = reductions(60, 40, 2, 8, 253, seed=3)
    listed += [[[(0, 255, 30)] * 2] * 40]
    expected = [definition(groups, 8, 9) for groups in listed]
    broken = mutant(sw.aligned_sum, old, new)
    parts = terms_of(listed, 8)
    total, exponent = broken.aligned_sum(parts, 9)
    assert list(zip(total.tolist(), exponent.tolist(), strict=True)) != expected


@pytest.mark.parametrize("seed", range(3))
def test_error_is_no_more_than_that_of_a_chain_of_additions(seed):
    """Sums of bf16 with 24 bits against fp32 additions one after another."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(200, 64, 16, generator=generator).bfloat16()
    x[:, ::7] *= 100
    codes = x.view(torch.int16).to(torch.int64)
    field = codes >> 7 & 255
    significand = (codes & 127) + 128 * (field > 0)
    terms = Terms(codes < 0, significand, (field - 1).clamp(min=0), 8)
    found = rounded_sum(terms, 24, -133).to(torch.int32).view(torch.float32).double()
    exact = x.double().sum((1, 2))
    chain = torch.zeros(200)
    for number in x.float().flatten(1).T:
        chain = chain + number
    errors = ((found - exact).abs(), (chain.double() - exact).abs())
    assert errors[0].mean() <= errors[1].mean()
