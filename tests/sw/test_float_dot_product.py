"""Tests of `sw.float_dot_product` against fractions, and of its error."""

import random
from fractions import Fraction
from math import floor

import pytest
import torch

import sw.float_dot_product
from hw.formats import FORMATS, FP32, NumberFormat
from sw.activations import read_activations
from sw.codes import codes_of, magnitude_keys, numbers_of
from sw.float_dot_product import float_dot_product
from sw.groups import to_groups
from sw.packing import pack
from sw.sample import SAMPLE
from sw.selection import select
from tests.mutant import mutant
from tests.sw.exact_floats import FLOATS, QUIET, is_infinite, is_nan, rounded, value

#: Three places below the last one of fp32.
LAST_PLACE = -152

PAIRS = [("bf16", "bf16"), ("fp16", "fp16"), ("fp8_e4m3", "fp8_e5m2"), ("bf16", "fp8_e4m3")]


def definition(
    groups: list[tuple[list[tuple[int, int]], bool]],
    formats: tuple[NumberFormat, NumberFormat],
    bits: int,
) -> int:
    """Code of the sum of one reduction: pairs of codes and whether there is an error, by group."""
    a, b = formats
    width = a.mantissa_width + b.mantissa_width + 2
    room = bits + (len(groups[0][0]) - 1).bit_length()
    specials: set[str] = set()
    total, place = 0, LAST_PLACE
    lowest = a.smallest_exponent + b.smallest_exponent
    if lowest > LAST_PLACE:
        place = lowest
    first_place = place
    for pairs, error in groups:
        numbers = []
        for x, y in [] if error else pairs:
            negative = (x >> a.key_width) ^ (y >> b.key_width)
            infinite = (is_infinite(x, a), is_infinite(y, b))
            if is_nan(x, a) or is_nan(y, b):
                specials.add("nan")
            elif any(infinite):
                zero = (not infinite[0] and value(x, a) == 0) or (
                    not infinite[1] and value(y, b) == 0
                )
                specials.add("nan" if zero else "+-"[negative])
            else:
                numbers.append((value(x, a) * value(y, b), exponent(x, a) + exponent(y, b)))
        # The place of the lowest bit of a product of the largest exponent, less what falls off.
        own = max([first_place, *(e + width - bits for number, e in numbers if number)])
        added = sum(_cut(number, own) for number, _ in numbers)
        common = max(place, own)
        total = floor(Fraction(total) / 2 ** (common - place))
        total += floor(Fraction(added) / 2 ** (common - own))
        if not -(1 << room) <= total < 1 << room:
            total, common = total // 2, common + 1
        place = common
    if "nan" in specials or {"+", "-"} <= specials:
        return QUIET["fp32"]
    if specials:
        return FP32.overflow_key | ("-" in specials) << FP32.key_width
    number = Fraction(total) * Fraction(2) ** place
    return rounded(number, FP32, negative_zero=False)


def exponent(code: int, f: NumberFormat) -> int:
    """Place of the lowest bit of a significand."""
    field = code % (1 << f.key_width) >> f.mantissa_width
    return max(field, 1) - f.bias - f.mantissa_width


def _cut(number: Fraction, place: int) -> int:
    """Towards 0."""
    size = floor(abs(number) / Fraction(2) ** place)
    return -size if number < 0 else size


def drawn(formats: tuple[NumberFormat, ...], count: int, groups: int, slots: int, seed: int):
    """Anything, numbers around 1 that cancel, the ends of the range."""
    rng = random.Random(seed)

    def code(f: NumberFormat, kind: int) -> int:
        if kind == 0:
            return rng.randrange(1 << f.width)
        sign = rng.randrange(2) << f.key_width
        mantissa = rng.choice(
            [0, 1, (1 << f.mantissa_width) - 1, rng.getrandbits(f.mantissa_width)]
        )
        top = (1 << f.exponent_width) - 2
        if kind == 1:
            field = min(max(f.bias + rng.randint(-5, 5), 0), top)
        elif rng.random() < 0.03:
            return sign | f.overflow_key
        else:
            field = rng.choice([0, 0, 1, 2, f.bias, top])
        return sign | field << f.mantissa_width | mantissa

    result = []
    for _ in range(count):
        kind = rng.choice([0, 1, 1, 1, 2, 2])
        result.append(
            [
                (
                    [tuple(code(f, kind) for f in formats) for _ in range(slots)],
                    rng.random() < 0.2,
                )
                for _ in range(groups)
            ]
        )
    return result


def found(model, listed, formats, bits):
    pairs = torch.tensor([[group for group, _ in groups] for groups in listed])
    errors = torch.tensor([[error for _, error in groups] for groups in listed])
    return model(pairs[..., 0], pairs[..., 1], errors, formats=formats, bits=bits).tolist()


@pytest.mark.parametrize("extra", [0, 5, 12])
@pytest.mark.parametrize("pair", PAIRS, ids="*".join)
def test_definition(pair, extra):
    formats = FORMATS[pair[0]], FORMATS[pair[1]]
    bits = sum(FLOATS[name].mantissa_width + 1 for name in pair) + extra
    listed = drawn(formats, 300, 4, 5, seed=extra)
    # What one group brings the next one takes.
    listed.append([([(sign << formats[0].key_width | 9, 11)] * 5, False) for sign in (0, 1, 1, 0)])
    # Subnormal numbers around 1, which stay subnormal where fp32 has no more room.
    ones = formats[1].bias << formats[1].mantissa_width
    listed.append([([(3, ones)] * 5, False)] * 4)
    expected = [definition(groups, formats, bits) for groups in listed]
    assert found(float_dot_product, listed, formats, bits) == expected
    # All kinds of results come.
    assert QUIET["fp32"] in expected
    assert 0 in expected
    assert any(is_infinite(code, FP32) for code in expected)
    if pair == ("bf16", "bf16"):
        assert any(0 < code % (1 << 31) < 1 << 23 for code in expected)


def test_long_reductions():
    """The accumulator runs over again and again."""
    formats = FORMATS["fp8_e5m2"], FORMATS["fp8_e5m2"]
    listed = [[([(0x7B, 0x7B), (0x7B, 0x7A)], False)] * 200, [([(0xFB, 0x7B)] * 2, False)] * 200]
    expected = [definition(groups, formats, 6) for groups in listed]
    assert found(float_dot_product, listed, formats, 6) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a.exponent + b.exponent", "a.exponent + b.exponent + 1"),
        ("a.negative ^ b.negative", "a.negative"),
        ("legal & ~nan", "~nan"),
        ("nan & legal", "nan"),
        ("(a.is_infinite & _is_zero(b))", "(a.is_infinite & a.is_nan)"),
        ("(a.is_infinite | b.is_infinite) & ~nan", "a.is_infinite & ~nan"),
    ],
)
def test_the_definition_finds_a_wrong_model(old, new):
    formats = FORMATS["bf16"], FORMATS["bf16"]
    listed = drawn(formats, 300, 4, 5, seed=1)
    expected = [definition(groups, formats, 20) for groups in listed]
    broken = mutant(sw.float_dot_product, old, new)
    assert found(broken.float_dot_product, listed, formats, 20) != expected


@pytest.mark.parametrize(("n", "m"), [(2, 4), (8, 16), (16, 16)])
def test_error_is_no_more_than_that_of_a_chain_of_fused_operations(n, m):
    """Captured activations with 28 bits, against fp32 fused multiply-adds one after another."""
    generator = torch.Generator().manual_seed(m)
    form = FORMATS["bf16"]
    for x in read_activations(SAMPLE).tensors.values():
        groups = to_groups(codes_of(x[:6].bfloat16(), "bf16"), m)
        mask = select(magnitude_keys(groups, form), n)
        values = pack(groups, mask, n)
        # Such weights as a linear of that size begins with.
        weights = torch.randn(16, *groups.shape[1:], generator=generator) / x.shape[-1] ** 0.5
        shape = len(groups), 16, *groups.shape[1:]
        dense = codes_of(weights.bfloat16(), "bf16").expand(shape)
        kept = pack(dense.flatten(0, 1), mask.unsqueeze(1).expand(shape).flatten(0, 1), n)
        values = values.unsqueeze(1).expand(len(groups), 16, -1, -1).flatten(0, 1)
        sums = float_dot_product(
            values, kept, torch.zeros(values.shape[:2], dtype=torch.bool),
            formats=(form, form), bits=28,
        )  # fmt: skip
        products = numbers_of(values, "bf16").double() * numbers_of(kept, "bf16").double()
        exact = products.sum((1, 2))
        chain = torch.zeros(len(products))
        for product in products.flatten(1).T:
            chain = (chain.double() + product).float()
        errors = [(y.double() - exact).abs().mean() for y in (numbers_of(sums, "fp32"), chain)]
        assert errors[0] <= errors[1]
