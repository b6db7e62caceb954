import math

import pytest
import torch

from hw.formats import FORMATS
from sw.codes import (
    TORCH_DTYPES,
    bits_of,
    codes_of,
    codes_of_bits,
    magnitude_keys,
    numbers_of,
    signed,
)
from tests.sw import naive


def all_codes(dtype: str) -> torch.Tensor:
    return torch.arange(1 << FORMATS[dtype].width)


def value(code: int, dtype: str) -> float:
    """Value of a code, from the definition of the format."""
    number_format = FORMATS[dtype]
    if number_format.kind == "int":
        return naive.signed(code, number_format.width)
    e_width, f_width = number_format.exponent_width, number_format.mantissa_width
    exponent, fraction = (code >> f_width) % (1 << e_width), code % (1 << f_width)
    sign = -1.0 if code >> (number_format.width - 1) else 1.0
    top = (1 << e_width) - 1
    if dtype == "fp8_e4m3":
        if exponent == top and fraction == (1 << f_width) - 1:
            return math.nan
    elif exponent == top:
        return math.nan if fraction else sign * math.inf
    significand = fraction + ((1 << f_width) if exponent else 0)
    bias = (1 << (e_width - 1)) - 1
    return sign * math.ldexp(significand, max(exponent, 1) - bias - f_width)


def test_every_format_has_a_type():
    assert TORCH_DTYPES.keys() == FORMATS.keys()


@pytest.mark.parametrize("dtype", FORMATS)
def test_round_trip_of_every_code(dtype):
    codes = all_codes(dtype)
    numbers = numbers_of(codes, dtype)
    assert numbers.dtype == TORCH_DTYPES[dtype]
    again = codes_of(numbers, dtype)
    assert again.dtype == torch.int64
    assert torch.equal(again, codes)


@pytest.mark.parametrize("dtype", FORMATS)
def test_values_of_every_code(dtype):
    codes = all_codes(dtype)
    expected = torch.tensor([value(code, dtype) for code in codes.tolist()], dtype=torch.float64)
    numbers = numbers_of(codes, dtype).to(torch.float64)
    assert torch.equal(numbers.isnan(), expected.isnan())
    finite = ~expected.isnan()
    assert torch.equal(numbers[finite], expected[finite])
    assert torch.equal(numbers[finite].signbit(), expected[finite].signbit())


@pytest.mark.parametrize("dtype", FORMATS)
def test_keys_of_every_code(dtype):
    codes = all_codes(dtype)
    keys = magnitude_keys(codes, FORMATS[dtype])
    assert keys.tolist() == [naive.key(code, dtype) for code in codes.tolist()]
    assert int(keys.min()) == 0
    assert int(keys.max()) < 1 << FORMATS[dtype].key_width


@pytest.mark.parametrize("dtype", FORMATS)
def test_order_of_keys_is_that_of_magnitudes(dtype):
    """Also: both zeros have key 0; infinity above all finite values, NaN above infinity."""
    magnitude = {}
    for code in all_codes(dtype).tolist():
        x = abs(value(code, dtype))
        magnitude.setdefault(naive.key(code, dtype), math.inf if math.isnan(x) else x)
    keys = magnitude_keys(all_codes(dtype), FORMATS[dtype]).unique().tolist()
    values = [magnitude[key] for key in keys]
    assert values == sorted(values)
    finite = [x for x in values if x < math.inf]
    assert finite == sorted(set(finite))
    assert magnitude[0] == 0
    nan_keys = {
        naive.key(c, dtype) for c in all_codes(dtype).tolist() if math.isnan(value(c, dtype))
    }
    others = set(keys) - nan_keys
    assert not nan_keys or min(nan_keys) > max(others)


@pytest.mark.parametrize(
    ("dtype", "code", "expected"),
    [
        ("int4", 0x8, 8),
        ("int8", 0x80, 128),
        ("int16", 0x8000, 32768),
        ("int8", 0xFF, 1),
        ("bf16", 0x8000, 0),
        ("bf16", 0xFF80, 0x7F80),
        ("fp16", 0xFFFF, 0x7FFF),
        ("fp8_e4m3", 0xFF, 0x7F),
        ("fp8_e5m2", 0xFC, 0x7C),
    ],
)
def test_worked_keys(dtype, code, expected):
    assert magnitude_keys(torch.tensor(code), FORMATS[dtype]).item() == expected


@pytest.mark.parametrize(
    ("number", "code"),
    [(0.0, 0), (-0.0, 1 << 31), (1.5, 0x3FC00000), (-math.inf, 0xFF800000), (2.0**-149, 1)],
)
def test_fp32(number, code):
    assert codes_of(torch.tensor([number]), "fp32").tolist() == [code]
    assert numbers_of(torch.tensor([code]), "fp32").view(torch.int32).item() & 0xFFFFFFFF == code
    assert numbers_of(torch.tensor([code]), "fp32").item() == number


@pytest.mark.parametrize("width", [2, 4, 8, 32, 63, 64])
def test_signed(width):
    half = 1 << (width - 1)
    values = [0, 1, half - 1, -1, -half]
    codes = [x % (1 << width) if width < 64 else x for x in values]
    assert signed(torch.tensor(codes), width).tolist() == values


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (0,), (0, 4)])
def test_shapes(shape):
    numbers = torch.full(shape, -1, dtype=torch.int8)
    codes = codes_of(numbers, "int4")
    assert codes.shape == shape
    assert bool((codes == 15).all())
    assert numbers_of(codes, "int4").shape == shape


def test_strided_numbers():
    numbers = torch.arange(12, dtype=torch.float32).to(torch.bfloat16).reshape(3, 4)
    assert torch.equal(codes_of(numbers.T, "bf16"), codes_of(numbers, "bf16").T)


@pytest.mark.parametrize(
    ("numbers", "dtype", "message"),
    [
        (
            torch.zeros(2),
            "bf16",
            "numbers must be torch.bfloat16 for bf16, not torch.float32",
        ),
        (
            torch.zeros(2, dtype=torch.int64),
            "int4",
            "numbers must be torch.int8 for int4, not torch.int64",
        ),
        (
            torch.zeros(2, dtype=torch.int8),
            "fp8_e4m3",
            "numbers must be torch.float8_e4m3fn for fp8_e4m3, not torch.int8",
        ),
    ],
)
def test_wrong_types(numbers, dtype, message):
    with pytest.raises(TypeError) as caught:
        codes_of(numbers, dtype)
    assert str(caught.value) == message


@pytest.mark.parametrize(("low", "high"), [(-9, 0), (-8, 8), (-100, 100)])
def test_int4_out_of_range(low, high):
    with pytest.raises(ValueError) as caught:
        codes_of(torch.tensor([low, high], dtype=torch.int8), "int4")
    assert str(caught.value) == f"numbers must be between -8 and 7 for int4, not {low} .. {high}"


@pytest.mark.parametrize("width", [1, 3, 8, 9, 16, 31, 62])
@pytest.mark.parametrize("shape", [(5, 4), (1, 1), (0, 3)])
def test_bits_and_back(shape, width):
    codes = torch.randint(1 << width, shape, generator=torch.Generator().manual_seed(width))
    bits = bits_of(codes, width)
    assert bits.dtype == torch.uint8
    for row, listed in zip(codes.tolist(), bits.tolist(), strict=True):
        assert listed == [code >> place & 1 for code in row for place in range(width)]
    assert torch.equal(codes_of_bits(bits, shape[1]), codes)


def test_codes_of_no_bits_are_zero():
    bits = bits_of(torch.zeros(3, 1, dtype=torch.int64), 0)
    assert bits.shape == (3, 0)
    assert codes_of_bits(bits, 1).tolist() == [[0], [0], [0]]
