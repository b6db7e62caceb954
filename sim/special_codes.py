"""Codes about which something is special, and choices among them."""

import torch

from hw.formats import NumberFormat

__all__ = ["choice", "special_codes"]


def special_codes(number_format: NumberFormat) -> list[int]:
    """Zeros, ones, extremes, subnormals, infinities, NaNs of a format."""
    width = number_format.width
    top = 1 << (width - 1)
    if number_format.kind == "int":
        return [0, 1, 2, top - 1, top, top + 1, 2 * top - 1, 2 * top - 2]
    exponent = ((1 << number_format.exponent_width) - 1) << number_format.mantissa_width
    smallest_normal = 1 << number_format.mantissa_width
    magnitudes = [
        0, 1, smallest_normal - 1, smallest_normal, exponent - 1, exponent, exponent + 1,
        top - 1, top >> 1,
    ]  # fmt: skip
    return [code for magnitude in magnitudes for code in (magnitude, magnitude | top)]


def choice(values: list[int], shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Codes (shape) drawn from some values."""
    table = torch.tensor(values)
    return table[torch.randint(len(values), shape, generator=generator)]
