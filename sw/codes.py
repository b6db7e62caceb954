"""Codes: numbers as the bits that travel on the ports.

A *code* is the bit pattern of one number, read as an unsigned integer and held in an int64 tensor:
0 .. 2**width - 1.  All golden models work on codes, since hardware sees nothing else.
"""

import numpy as np
import torch

from hw.formats import FORMATS, FP32, NumberFormat

__all__ = [
    "TORCH_DTYPES",
    "bits_of",
    "codes_of",
    "codes_of_bits",
    "magnitude_keys",
    "numbers_of",
    "signed",
]

#: The torch type that holds numbers of each format; int4 has none of its own and uses int8.
TORCH_DTYPES: dict[str, torch.dtype] = {
    "int4": torch.int8,
    "int8": torch.int8,
    "int16": torch.int16,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}


def codes_of(numbers: torch.Tensor, dtype: str) -> torch.Tensor:
    """Codes of numbers: int64, same shape.

    Parameters
    ----------
    numbers
        Tensor of type ``TORCH_DTYPES[dtype]``, for fp32 float32; int4 in -8 .. 7.
    dtype
        Name of the number format, or ``fp32``.

    Raises
    ------
    TypeError
        The tensor has another type.
    ValueError
        An int4 number is out of range.
    """
    expected, integer_type, width = _types(dtype)
    if numbers.dtype != expected:
        raise TypeError(f"numbers must be {expected} for {dtype}, not {numbers.dtype}")
    integers = numbers.contiguous().view(integer_type).to(torch.int64)
    if dtype == "int4" and bool(((integers < -8) | (integers > 7)).any()):
        raise ValueError(f"numbers must be between -8 and 7 for int4, not {numbers.min()} .. "
                         f"{numbers.max()}")  # fmt: skip
    return integers & ((1 << width) - 1)


def numbers_of(codes: torch.Tensor, dtype: str) -> torch.Tensor:
    """Numbers of codes: the inverse of `codes_of`."""
    number_type, integer_type, width = _types(dtype)
    return signed(codes, width).to(integer_type).view(number_type)


def _types(dtype: str) -> tuple[torch.dtype, torch.dtype, int]:
    """Type of the numbers of a format, type of integers as wide as that, and bits of a code."""
    if dtype == FP32.name:
        return torch.float32, torch.int32, FP32.width
    width = FORMATS[dtype].width
    return TORCH_DTYPES[dtype], torch.int8 if width <= 8 else torch.int16, width


def signed(codes: torch.Tensor, width: int) -> torch.Tensor:
    """Two's complement value of codes: ``c - 2**width`` where the top bit is set, else ``c``."""
    if width == 64:
        return codes
    half = 1 << (width - 1)
    return ((codes + half) & ((1 << width) - 1)) - half


def magnitude_keys(codes: torch.Tensor, number_format: NumberFormat) -> torch.Tensor:
    """Unsigned integers in the order of magnitudes: int64, same shape.

    Integer formats: ``|x|``, exact for the most negative value.  Float formats: the bits below the
    sign, in which NaN ranks above infinity, infinity above finite values, and both zeros are 0.
    """
    if number_format.kind == "int":
        return signed(codes, number_format.width).abs()
    return codes & ((1 << number_format.key_width) - 1)


def bits_of(codes: torch.Tensor, width: int) -> torch.Tensor:
    """Bits of codes, each from its lowest one: uint8 (T, count * width) of codes (T, count)."""
    rows, count = codes.shape
    little = np.ascontiguousarray(codes.numpy(), dtype="<i8").view(np.uint8)
    size = -(-width // 8)
    kept = little.reshape(rows, count, 8)[:, :, :size]
    bits = np.unpackbits(kept, axis=-1, bitorder="little")[:, :, :width]
    return torch.from_numpy(bits.reshape(rows, count * width))


def codes_of_bits(bits: torch.Tensor, count: int) -> torch.Tensor:
    """Codes (T, count) of bits (T, count * width): the inverse of `bits_of`; 0 of no bits."""
    rows, width = bits.shape[0], bits.shape[1] // count
    whole = np.zeros((rows, count, 8), np.uint8)
    cut = bits.numpy().reshape(rows, count, width)
    whole[:, :, : -(-width // 8)] = np.packbits(cut, axis=-1, bitorder="little")
    return torch.from_numpy(whole.view("<i8").reshape(rows, count).astype(np.int64))
