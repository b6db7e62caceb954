import random
import re
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch

from hw.formats import FORMATS, FP32, NumberFormat
from sw.codes import TORCH_DTYPES
from sw.float_arithmetic import (
    add,
    divide,
    integer_to_float,
    maximum,
    multiply,
    square_root,
    subtract_shift,
)
from tests.sw import exact_floats, naive
from tests.sw.exact_floats import FLOATS, MISTAKES, QUIET, is_nan, pairs

FP8 = [FLOATS["fp8_e4m3"], FLOATS["fp8_e5m2"]]
WIDE = [FLOATS["fp16"], FLOATS["bf16"], FP32]

OPERATIONS = ["add", "subtract", "multiply", "divide"]


def model(operation: str, a: torch.Tensor, b: torch.Tensor, f: NumberFormat) -> torch.Tensor:
    if operation in ("multiply", "divide"):
        return {"multiply": multiply, "divide": divide}[operation](a, b, f)
    return add(a, b, f, subtract=operation == "subtract")


def definition(
    operation: str, a: torch.Tensor, b: torch.Tensor, f: NumberFormat, mistake: str = ""
) -> torch.Tensor:
    function: Callable[..., int] = getattr(exact_floats, operation)
    codes = zip(a.tolist(), b.tolist(), strict=True)
    return torch.tensor([function(x, y, f, mistake) for x, y in codes])


def all_pairs(f: NumberFormat) -> tuple[torch.Tensor, torch.Tensor]:
    codes = torch.arange(1 << f.width)
    return codes.repeat_interleave(1 << f.width), codes.repeat(1 << f.width)


def some_pairs(f: NumberFormat, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = torch.tensor(pairs(f, count, seed)).unbind(-1)
    return a, b


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("f", FP8, ids=lambda f: f.name)
def test_all_pairs_of_eight_bits(f, operation):
    a, b = all_pairs(f)
    assert torch.equal(model(operation, a, b, f), definition(operation, a, b, f))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("f", WIDE, ids=lambda f: f.name)
def test_corners_and_random_pairs(f, operation):
    a, b = some_pairs(f, 2000, seed=f.width)
    assert torch.equal(model(operation, a, b, f), definition(operation, a, b, f))


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("f", FLOATS.values(), ids=lambda f: f.name)
def test_a_mistake_is_found(f, operation, mistake):
    a, b = some_pairs(f, 400, seed=1)
    assert not torch.equal(model(operation, a, b, f), definition(operation, a, b, f, mistake))


TORCH = {16: torch.int16, 32: torch.int32}


def in_torch(operation: str, a: torch.Tensor, b: torch.Tensor, f: NumberFormat) -> torch.Tensor:
    dtype = TORCH_DTYPES.get(f.name, torch.float32)
    half = 1 << f.key_width
    x, y = (((c + half) % (2 * half) - half).to(TORCH[f.width]).view(dtype) for c in (a, b))
    functions = {"add": torch.add, "subtract": torch.sub, "multiply": torch.mul}
    result = {**functions, "divide": torch.div}[operation](x, y)
    return result.view(TORCH[f.width]).to(torch.int64) & (2 * half - 1)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("f", WIDE, ids=lambda f: f.name)
def test_torch_agrees(f, operation):
    a, b = some_pairs(f, 50_000, seed=2)
    ours, theirs = model(operation, a, b, f), in_torch(operation, a, b, f)
    key = (1 << f.key_width) - 1
    nan = (theirs & key) > f.overflow_key
    assert torch.equal(ours == QUIET[f.name], nan)
    assert torch.equal(ours[~nan], theirs[~nan])


def some_codes(f: NumberFormat, count: int) -> torch.Tensor:
    """Corners, random codes, and squares, of which half are one unit off."""
    chosen = random.Random(f.width)
    codes = exact_floats.corners(f) + [chosen.randrange(1 << f.width) for _ in range(count)]
    roots = [chosen.randrange(1 << f.width) for _ in range(count)]
    squares = [exact_floats.multiply(root, root, f) for root in roots]
    codes += [code + chosen.choice([-1, 0, 0, 1]) for code in squares]
    return torch.tensor(codes) % (1 << f.width)


@pytest.mark.parametrize("f", FLOATS.values(), ids=lambda f: f.name)
def test_square_root(f):
    codes = torch.arange(1 << f.width) if f in FP8 else some_codes(f, 700)
    expected = [exact_floats.square_root(code, f) for code in codes.tolist()]
    assert square_root(codes, f).tolist() == expected
    for mistake in ("truncated", "negative zero", "signed NaN"):
        wrong = [exact_floats.square_root(code, f, mistake) for code in codes.tolist()]
        assert wrong != expected


def test_numpy_agrees_on_square_roots():
    # Roots of fp32 in torch may be one unit off, as the library behind it computes them.
    codes = some_codes(FP32, 10_000)
    numbers = codes.numpy().astype(np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):
        roots = np.sqrt(numbers)
    ours = square_root(codes, FP32).numpy()
    assert np.array_equal(ours == QUIET["fp32"], np.isnan(roots))
    valid = ~np.isnan(roots)
    assert np.array_equal(ours[valid], roots.view(np.uint32)[valid])


@pytest.mark.parametrize("f", FLOATS.values(), ids=lambda f: f.name)
def test_maximum(f):
    def definition(a: int, b: int) -> int:
        if is_nan(a, f) or is_nan(b, f):
            return QUIET[f.name]
        # Infinity is what the next binade would begin with; -0 is below +0.
        return max((a, b), key=lambda code: (exact_floats.value(code, f), -(code >> f.key_width)))

    a, b = some_pairs(f, 500, seed=5)
    expected = [definition(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert maximum(a, b, f).tolist() == expected
    assert add(a, b, f).tolist() != expected


@pytest.mark.parametrize("f", FLOATS.values(), ids=lambda f: f.name)
def test_worked_examples(f):
    one = ((1 << (f.exponent_width - 1)) - 1) << f.mantissa_width
    half = one - (1 << f.mantissa_width)
    sign = 1 << f.key_width
    nan = QUIET[f.name]
    last = 1 << f.mantissa_width
    cases = [
        # 1 + ulp/2 is a tie, down to even; the next number's goes up.
        (add, one, one - (f.mantissa_width + 1) * last, one),
        (add, one + 1, one - (f.mantissa_width + 1) * last, one + 2),
        (add, one, one | sign, 0),
        (add, one | sign, one, 0),
        (add, 0, 0, 0),
        (add, 0, sign, 0),
        (add, sign, 0, 0),
        (add, sign, sign, sign),
        # The largest subnormal and the smallest make the smallest normal.
        (add, last - 1, 1, last),
        (add, last, sign | 1, last - 1),
        (add, half, half, one),
        (multiply, half, half, half - last),
        (multiply, sign, one, sign),
        (multiply, sign, one | sign, 0),
        # Half the smallest subnormal is a tie, down to 0; three halves go up to 2.
        (multiply, half, 1, 0),
        (multiply, half | sign, 3, sign | 2),
        (add, nan | sign, one, nan),
        (multiply, one, nan, nan),
        (divide, one, half, one + last),
        (divide, one | sign, one + last, half | sign),
        (divide, 0, sign | one, sign),
        (divide, 0, sign, nan),
        # Half the smallest subnormal is a tie, down to 0; three halves go up to 2.
        (divide, 1, one + last, 0),
        (divide, 3, one + last | sign, sign | 2),
        (maximum, 0, sign, 0),
        (maximum, sign, 0, 0),
        (maximum, one | sign, 1 | sign, 1 | sign),
        (maximum, nan | sign, one, nan),
    ]
    if f.name != "fp8_e4m3":
        infinity = nan & -last
        cases += [
            (add, infinity, infinity, infinity),
            (add, infinity, infinity | sign, nan),
            (add, infinity | sign, one, infinity | sign),
            (add, infinity - 1, infinity - 1, infinity),
            (multiply, infinity, sign, nan),
            (divide, one, sign, infinity | sign),
            (divide, infinity, infinity, nan),
            (divide, infinity | sign, 0, infinity | sign),
            (divide, one | sign, infinity, sign),
            (maximum, infinity | sign, sign, sign),
            (multiply, infinity, one | sign, infinity | sign),
            # A NaN that signals, and one whose payload is all ones.
            (add, infinity + 1, one, nan),
            (multiply, one, infinity + last - 1 + sign, nan),
        ]
    else:
        # 448 + 448; 448 + 16 is halfway to 480, which would be the code of NaN.
        cases += [(add, 0x7E, 0x7E, 0x7F), (add, 0xFE, 0xFE, 0x7F), (add, 0x7E, 0x58, 0x7E)]
        cases += [(add, 0x7E, 0x59, 0x7F), (multiply, 0xFE, 0x7E, 0x7F), (divide, 0xFE, 0, 0x7F)]
    for function, a, b, expected in cases:
        result = function(torch.tensor(a), torch.tensor(b), f)
        assert result.item() == expected, (function.__name__, hex(a), hex(b))


@pytest.mark.parametrize("f", FLOATS.values(), ids=lambda f: f.name)
def test_integers(f):
    chosen = random.Random(f.width)
    numbers = {s * (1 << k) + d for k in range(63) for d in (-1, 0, 1) for s in (-1, 1)}
    numbers |= {chosen.getrandbits(bits) - (1 << bits >> 1) for bits in range(1, 65)}
    # Halfway between two floats, and one off it.
    for high in range(f.mantissa_width + 1, 63):
        tie = (1 << high) + (
            chosen.getrandbits(f.mantissa_width) * 2 + 1 << high >> f.mantissa_width + 1
        )
        numbers |= {sign * (tie + d) for d in (-1, 0, 1) for sign in (-1, 1)}
    numbers |= {(1 << 63) - 1, -(1 << 63)}
    expected = [exact_floats.rounded(Fraction(k), f, negative_zero=False) for k in numbers]
    assert integer_to_float(torch.tensor(list(numbers)), f).tolist() == expected
    away = [
        exact_floats.rounded(Fraction(k), f, negative_zero=False, mistake="ties away")
        for k in numbers
    ]
    assert away != expected


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_integers_in_torch(dtype):
    integers = torch.arange(-70_000, 70_000)
    # float64 holds them exactly, so that torch rounds once.
    theirs = integers.to(torch.float64).to(TORCH_DTYPES[dtype]).view(torch.int16)
    ours = integer_to_float(integers, FORMATS[dtype])
    assert torch.equal(ours, theirs.to(torch.int64) & 0xFFFF)


@pytest.mark.parametrize("dtype", ["int4", "int8", "int16"])
def test_shift_of_integers(dtype):
    width = FORMATS[dtype].width
    chosen = random.Random(width)
    codes = [*naive.AWKWARD[dtype], *(chosen.getrandbits(width) for _ in range(60))]
    grid = [(a, b) for a in codes for b in codes]
    data, shift = torch.tensor(grid).unbind(-1)
    expected, wrapped = (
        [
            naive.limited(naive.signed(a, width) - naive.signed(b, width), width, overflow)
            % (1 << width)
            for a, b in grid
        ]
        for overflow in ("saturate", "wrap")
    )
    assert subtract_shift(data, shift, dtype).tolist() == expected
    assert wrapped != expected


@pytest.mark.parametrize("dtype", [name for name in FORMATS if name in FLOATS])
def test_shift_of_floats(dtype):
    f = FLOATS[dtype]
    data, shift = some_pairs(f, 500, seed=4)
    result = subtract_shift(data, shift, dtype)
    assert torch.equal(result, definition("subtract", data, shift, f))
    assert not torch.equal(result, definition("add", data, shift, f))


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_shapes_broadcast(dtype, shape):
    data = torch.zeros((*shape, 4), dtype=torch.int64)
    lanes = torch.tensor([0, 1, 2, 3])
    expected = subtract_shift(torch.zeros_like(lanes), lanes, dtype)
    assert torch.equal(subtract_shift(data, lanes, dtype), expected.expand(*shape, 4))
    single = subtract_shift(data, torch.tensor([2]), dtype)
    assert torch.equal(single, expected[2].expand(*shape, 4))
    if FORMATS[dtype].kind == "float":
        products = multiply(data, lanes, FORMATS[dtype])
        assert torch.equal(products, torch.zeros_like(data))


def test_nan_of_the_definition_is_that_of_the_format():
    for f in FLOATS.values():
        assert f.quiet_nan == QUIET[f.name]
        assert is_nan(f.quiet_nan, f)


def test_operands_of_another_kind():
    codes = torch.tensor([1.0])
    for call in (
        lambda: add(codes, torch.tensor([1]), FP32),
        lambda: multiply(torch.tensor([1]), codes, FP32),
        lambda: divide(torch.tensor([1]), codes, FP32),
        lambda: maximum(codes, torch.tensor([1]), FP32),
        lambda: square_root(codes, FP32),
        lambda: integer_to_float(codes, FP32),
        lambda: subtract_shift(codes, torch.tensor([1]), "int8"),
    ):
        with pytest.raises(
            TypeError, match=f"^{re.escape('codes must be torch.int64, not torch.float32')}$"
        ):
            call()
    number = torch.tensor([1])
    for call in (
        lambda: add(number, number, FORMATS["int8"]),
        lambda: multiply(number, number, FORMATS["int8"]),
        lambda: divide(number, number, FORMATS["int8"]),
        lambda: maximum(number, number, FORMATS["int8"]),
        lambda: square_root(number, FORMATS["int8"]),
        lambda: integer_to_float(number, FORMATS["int8"]),
    ):
        with pytest.raises(ValueError, match=r"^number format must be a float format, not int8$"):
            call()
