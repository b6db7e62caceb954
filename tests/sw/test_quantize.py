import doctest
import math

import pytest
import torch

import sw.quantize
from hw.formats import FORMATS, INTEGER_FORMATS
from sw.activations import Activations
from sw.errors import InputError
from sw.quantize import code_groups, row_scales, to_codes

SCALED = [*INTEGER_FORMATS, "fp8_e4m3", "fp8_e5m2"]
LARGEST = {"int4": 7, "int8": 127, "int16": 32767, "fp8_e4m3": 448, "fp8_e5m2": 57344}
LARGEST_CODE = {"int4": 7, "int8": 127, "int16": 32767, "fp8_e4m3": 0x7E, "fp8_e5m2": 0x7B}


def value(code: int, name: str) -> float:
    """Value of a code, from the definition of the format."""
    number_format = FORMATS[name]
    if number_format.kind == "int":
        return code - (1 << number_format.width if code >> (number_format.width - 1) else 0)
    mantissa_width = number_format.mantissa_width
    exponent = (code >> mantissa_width) & ((1 << number_format.exponent_width) - 1)
    mantissa = code & ((1 << mantissa_width) - 1)
    bias = (1 << (number_format.exponent_width - 1)) - 1
    # A subnormal has the exponent of the smallest normal, and no leading one.
    significand = mantissa + (1 << mantissa_width if exponent else 0)
    magnitude = math.ldexp(significand, max(exponent, 1) - bias - mantissa_width)
    return -magnitude if code >> (number_format.width - 1) else magnitude


def heavy_tailed(tokens: int = 16, features: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(tokens, features, generator=generator)
    return x * torch.exp(2 * torch.randn(features, generator=generator))


def test_doctests() -> None:
    assert doctest.testmod(sw.quantize).failed == 0


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_codes_are_raw_bits(name: str, dtype: torch.dtype) -> None:
    x = heavy_tailed().to(dtype).reshape(2, 8, 96)
    codes = to_codes(x, name)
    assert codes.dtype == torch.int64
    assert codes.shape == x.shape
    assert int(codes.min()) >= 0
    assert int(codes.max()) < 2 ** FORMATS[name].width


@pytest.mark.parametrize("name", SCALED)
def test_nearest_value_of_the_format(name: str) -> None:
    x = heavy_tailed()
    codes = to_codes(x, name)
    scales = row_scales(x, name)
    # Candidates: every finite value of the format.
    finite = torch.tensor(
        sorted(
            value(code, name)
            for code in range(2 ** FORMATS[name].width)
            if FORMATS[name].kind == "int" or (code & 0x7F) <= LARGEST_CODE[name]
        ),
        dtype=torch.float64,
    )
    exact = x.double() / scales
    decoded = torch.tensor([value(code, name) for code in codes.flatten().tolist()])
    decoded = decoded.double().reshape(x.shape)
    above = torch.searchsorted(finite, exact.contiguous()).clamp(1, len(finite) - 1)
    nearest = torch.minimum((finite[above] - exact).abs(), (finite[above - 1] - exact).abs())
    torch.testing.assert_close((decoded - exact).abs(), nearest, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("magnitude", [1.4e-45, 1e-30, 1.0, 3.3, 3.4e38])
def test_row_maximum_becomes_the_largest_number(name: str, magnitude: float) -> None:
    codes = to_codes(torch.tensor([[magnitude, -magnitude], [0.5, -magnitude]]), name)
    assert value(int(codes[0, 0]), name) == LARGEST[name]
    assert value(int(codes[0, 1]), name) == -LARGEST[name]
    assert codes[0, 0] == LARGEST_CODE[name]


@pytest.mark.parametrize("name", SCALED)
def test_every_row_has_its_own_scale(name: str) -> None:
    x = heavy_tailed()
    for row in range(len(x)):
        assert torch.equal(to_codes(x, name)[row], to_codes(x[row], name))


def test_ties_go_to_even() -> None:
    # Scale 1: the row's maximum is the largest number.
    x = torch.tensor([127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5])
    assert to_codes(x, "int8").tolist() == [127, 0, 2, 2, 0, 254, 254]
    # Neighbours of 448 in fp8_e4m3 are 32 apart, those of 2 ** -6 are 2 ** -9 apart.
    x = torch.tensor([448.0, 400.0, 432.0, 2.0**-10, 3 * 2.0**-10])
    assert to_codes(x, "fp8_e4m3").tolist() == [0x7E, 0x7C, 0x7E, 0, 2]


@pytest.mark.parametrize("name", FORMATS)
def test_zeros(name: str) -> None:
    assert to_codes(torch.zeros(2, 5), name).tolist() == [[0] * 5] * 2


@pytest.mark.parametrize("name", SCALED)
def test_scale_of_zeros_is_zero(name: str) -> None:
    assert row_scales(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), name)[0].item() == 0


def test_sign_of_zero_survives_in_floats() -> None:
    x = torch.tensor([1.0, -0.0])
    top = {"bf16": 15, "fp16": 15, "fp8_e4m3": 7, "fp8_e5m2": 7}
    assert {name: int(to_codes(x, name)[1]) for name in top} == {
        name: 1 << bit for name, bit in top.items()
    }
    assert to_codes(x, "int8").tolist() == [127, 0]


def test_casts() -> None:
    x = torch.tensor([1.0, -2.0, 1 + 2.0**-8, 1 + 3 * 2.0**-8, math.inf, -math.inf, 70000.0])
    assert [f"{code:04x}" for code in to_codes(x, "bf16").tolist()] == [
        "3f80", "c000", "3f80", "3f82", "7f80", "ff80", "4789",
    ]  # fmt: skip
    assert [f"{code:04x}" for code in to_codes(x, "fp16").tolist()] == [
        "3c00", "c000", "3c04", "3c0c", "7c00", "fc00", "7c00",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_own_format_passes_unchanged(name: str, dtype: torch.dtype) -> None:
    codes = torch.arange(2**16)
    x = codes.to(torch.int32).to(torch.int16).view(dtype)
    assert torch.equal(to_codes(x, name), codes)


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scale_needs_finite_values(name: str, bad: float) -> None:
    with pytest.raises(InputError) as caught:
        to_codes(torch.tensor([[1.0, bad], [bad, 2.0]]), name)
    assert str(caught.value) == f"x must be finite to become {name}, not NaN or infinite 2 times"


def test_wrong_arguments() -> None:
    with pytest.raises(InputError) as caught:
        to_codes(torch.ones(1, 1), "int3")
    assert str(caught.value) == (
        "dtype must be one of int4, int8, int16, fp16, bf16, fp8_e4m3, fp8_e5m2, not 'int3'"
    )
    with pytest.raises(InputError) as caught:
        to_codes(torch.ones(1, 1, dtype=torch.int32), "int8")
    assert str(caught.value) == "x must be a tensor of bf16, fp16, fp32, not of int32"
    for shape in ((), (3, 0)):
        with pytest.raises(InputError) as caught:
            to_codes(torch.ones(shape), "int8")
        assert str(caught.value) == (f"x must have rows of at least one element, not shape {shape}")


@pytest.mark.parametrize("name", FORMATS)
def test_groups_of_codes(name: str) -> None:
    tensors = {"layers.0.q_proj": heavy_tailed(3, 5), "layers.1.q_proj": heavy_tailed(2, 8)}
    groups = code_groups(Activations(tensors, {}), 4, name)
    first, second = (to_codes(tensor, name) for tensor in tensors.values())
    assert torch.equal(groups[:6].reshape(3, 8)[:, :5], first)
    assert not groups[:6].reshape(3, 8)[:, 5:].any()
    assert torch.equal(groups[6:].reshape(2, 8), second)
