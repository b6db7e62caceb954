"""From captured floating-point activations to the codes of any number format.

A *code* is the raw bits of a number as an unsigned integer, 0 .. 2**width - 1, in an int64 tensor:
the low bits of two's complement for integers, sign, exponent and mantissa for floating point.
"""

import torch

from hw.formats import FORMATS, NumberFormat
from sw.activations import DTYPES, Activations, group_rows
from sw.errors import InputError

__all__ = ["code_groups", "row_scales", "to_codes"]

_FP8 = {"fp8_e4m3": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}


def to_codes(x: torch.Tensor, dtype_name: str) -> torch.Tensor:
    """Convert activations to the codes of a number format.

    Every row (the last dimension: one token) has its own scale s = `row_scales`, so that the
    element of largest magnitude becomes the largest number of the format; a row of zeros gives
    zeros.  Everything rounds to nearest, ties to even.

    ======================  =================================================================
    format                  value that the code stands for
    ======================  =================================================================
    int4, int8, int16       round(x / s), symmetric: the most negative number never occurs
    fp8_e4m3, fp8_e5m2      x / s, rounded to fp32 and then to the format
    bf16, fp16              x, no scale; beyond fp16's range infinity; bits of a tensor that
                            has the format already stay as they are, NaN payloads included
    ======================  =================================================================

    x / s is computed in float64, which neither overflows nor underflows for any fp32 input.

    Parameters
    ----------
    x
        bf16, fp16 or fp32 of shape (..., K), K >= 1.  Finite for all formats with a scale.
    dtype_name
        A key of `hw.formats.FORMATS`.

    Returns
    -------
    torch.Tensor
        int64 of the shape of x, 0 <= code < 2**width.

    Raises
    ------
    InputError
        The number format is unknown, x has another dtype or no features, or a format with a scale
        meets NaN or infinity.

    Examples
    --------
    >>> to_codes(torch.tensor([[1.0, -2.0, 0.0]]), "int8").tolist()
    [[64, 129, 0]]
    """
    number_format = _format(dtype_name)
    _check_input(x)
    if dtype_name in DTYPES:
        bits = x.to(DTYPES[dtype_name]).contiguous().view(torch.int16)
        return bits.to(torch.int64) & 0xFFFF

    quotient = x.double() / _nonzero(row_scales(x, dtype_name))
    # Only the rounding of the quotient can exceed the largest number, and only by its last bit.
    quotient = quotient.clamp(-_largest(number_format), _largest(number_format))
    if number_format.kind == "int":
        return quotient.round().to(torch.int64) & (2**number_format.width - 1)
    return quotient.float().to(_FP8[dtype_name]).contiguous().view(torch.uint8).to(torch.int64)


def row_scales(x: torch.Tensor, dtype_name: str) -> torch.Tensor:
    """Scale of each row: s = max|row| / L, where L is the largest finite number of the format.

    L = 2**(width - 1) - 1 for integers, 448 for fp8_e4m3 and 57344 for fp8_e5m2.  The value that a
    code stands for, times s, is the activation again.  bf16 and fp16 have no scale: s = 1.

    Parameters
    ----------
    x, dtype_name
        As of `to_codes`.

    Returns
    -------
    torch.Tensor
        float64 of shape (..., 1); 0 for a row of zeros.
    """
    number_format = _format(dtype_name)
    _check_input(x)
    if dtype_name in DTYPES:
        return torch.ones(*x.shape[:-1], 1, dtype=torch.float64)
    if bad := int((~x.isfinite()).sum()):
        raise InputError(
            f"x must be finite to become {dtype_name}, not NaN or infinite {bad} times"
        )
    return x.double().abs().amax(dim=-1, keepdim=True) / _largest(number_format)


def code_groups(activations: Activations, m: int, dtype_name: str) -> torch.Tensor:
    """All groups of all activations as codes of a number format.

    Conversion goes first, by whole tokens, then the cut into groups, so that the scale of a token
    does not depend on m.

    Returns
    -------
    torch.Tensor
        int64 (G, m), in the order of `Activations.groups`; padding has code 0, which is +0 in every
        format.
    """
    codes = (to_codes(tensor, dtype_name) for tensor in activations.tensors.values())
    return torch.cat([group_rows(code, m) for code in codes])


def _format(dtype_name: str) -> NumberFormat:
    if dtype_name not in FORMATS:
        raise InputError(f"dtype must be one of {', '.join(FORMATS)}, not {dtype_name!r}")
    return FORMATS[dtype_name]


def _largest(number_format: NumberFormat) -> float:
    if number_format.kind == "int":
        return 2 ** (number_format.width - 1) - 1
    return torch.finfo(_FP8[number_format.name]).max


def _nonzero(scales: torch.Tensor) -> torch.Tensor:
    return torch.where(scales == 0, 1.0, scales)


def _check_input(x: torch.Tensor) -> None:
    if x.dtype not in DTYPES.values():
        dtype = str(x.dtype).removeprefix("torch.")
        raise InputError(f"x must be a tensor of {', '.join(DTYPES)}, not of {dtype}")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise InputError(f"x must have rows of at least one element, not shape {tuple(x.shape)}")
