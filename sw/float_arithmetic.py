"""Golden models of floating-point arithmetic: IEEE 754 on codes, in integers.

Every result is the exact one rounded once to the format, to nearest, ties to the even code,
subnormals included.  What is too large after rounding is infinity, or NaN in a format that has
none.  Every NaN that is made is the canonical one, `NumberFormat.quiet_nan`.  Formats: all float
formats of `hw.formats`.

A finite number is held as ``s * 2**x`` in units of the smallest magnitude above 0, so that s and x
are integers.  Source: IEEE 754-2019, 4.3.1, 5.4.1, 6, 9.6; OCP 8-bit Floating Point
Specification 1.0.
"""

from dataclasses import dataclass

import torch

from hw.formats import FORMATS, NumberFormat
from sw.codes import magnitude_keys, signed

__all__ = [
    "FloatNumbers",
    "add",
    "divide",
    "integer_to_float",
    "maximum",
    "multiply",
    "read_numbers",
    "scaled_to_float",
    "square_root",
    "subtract_shift",
]


@dataclass(frozen=True)
class FloatNumbers:
    """Numbers read from codes: ``(-1)**negative * significand * 2**exponent`` where finite.

    In units of the smallest magnitude above 0 of the format; int64 and bool, of one shape.
    """

    negative: torch.Tensor
    significand: torch.Tensor
    exponent: torch.Tensor
    is_infinite: torch.Tensor
    is_nan: torch.Tensor


def add(
    a: torch.Tensor, b: torch.Tensor, number_format: NumberFormat, subtract: bool = False
) -> torch.Tensor:
    """Codes of ``a + b``, or ``a - b``, rounded once: int64, of the shape both broadcast to.

    A sum of 0 is +0 but for (-0) + (-0) = -0.  Infinities of opposite signs give NaN.

    Parameters
    ----------
    a, b
        Codes, int64.
    number_format
        Their float format and that of the result.
    subtract
        Whether the sign of b is turned first.

    Raises
    ------
    TypeError
        The codes are not int64.
    ValueError
        The format is none of floating-point numbers.
    """
    _check(number_format, a, b)
    if subtract:
        b = b ^ (1 << number_format.key_width)
    x, y = read_numbers(a, number_format), read_numbers(b, number_format)
    # Beyond so many bits the smaller number only matters as something other than 0: the larger one
    # is normal then, and what is added to it below an eighth of its last place.
    guard = number_format.significand_width + 3
    exponent = torch.maximum(x.exponent, y.exponent)
    total = _aligned(x, exponent, guard) + _aligned(y, exponent, guard)
    negative = (total < 0) | ((total == 0) & x.negative & y.negative)
    sums = _round(negative, total.abs(), exponent - guard, number_format)
    sums = torch.where(x.is_infinite, a, torch.where(y.is_infinite, b, sums))
    cancelled = x.is_infinite & y.is_infinite & (x.negative != y.negative)
    return torch.where(x.is_nan | y.is_nan | cancelled, number_format.quiet_nan, sums)


def multiply(a: torch.Tensor, b: torch.Tensor, number_format: NumberFormat) -> torch.Tensor:
    """Codes of ``a * b``, rounded once: int64, of the shape both broadcast to.

    The sign is that of the exact product, also of 0 and infinity; infinity times 0 is NaN.

    Parameters
    ----------
    a, b
        Codes, int64.
    number_format
        Their float format and that of the result.

    Raises
    ------
    TypeError
        The codes are not int64.
    ValueError
        The format is none of floating-point numbers.
    """
    _check(number_format, a, b)
    x, y = read_numbers(a, number_format), read_numbers(b, number_format)
    negative = x.negative ^ y.negative
    exponent = x.exponent + y.exponent + number_format.smallest_exponent
    products = _round(negative, x.significand * y.significand, exponent, number_format)
    infinity = _with_sign(negative, torch.tensor(number_format.overflow_key), number_format)
    products = torch.where(x.is_infinite | y.is_infinite, infinity, products)
    # The significand of infinity is not 0.
    is_undefined = (x.is_infinite & (y.significand == 0)) | (y.is_infinite & (x.significand == 0))
    return torch.where(x.is_nan | y.is_nan | is_undefined, number_format.quiet_nan, products)


def divide(a: torch.Tensor, b: torch.Tensor, number_format: NumberFormat) -> torch.Tensor:
    """Codes of ``a / b``, rounded once: int64, of the shape both broadcast to.

    The sign is that of the exact quotient, also of 0 and infinity; a finite number other than 0
    divided by 0 is infinity; 0 / 0 and infinity / infinity are NaN.

    Parameters
    ----------
    a, b
        Codes, int64.
    number_format
        Their float format and that of the result.

    Raises
    ------
    TypeError
        The codes are not int64.
    ValueError
        The format is none of floating-point numbers.
    """
    _check(number_format, a, b)
    x, y = read_numbers(a, number_format), read_numbers(b, number_format)
    negative = x.negative ^ y.negative
    top, top_exponent = _normalized(x, number_format)
    bottom, bottom_exponent = _normalized(y, number_format)
    # Two bits more than the result holds, and below them whether anything is left.
    places = number_format.significand_width + 2
    bottom = bottom.clamp(min=1)
    quotient = (top << places) // bottom
    rest = ((top << places) != quotient * bottom).to(torch.int64)
    exponent = top_exponent - bottom_exponent - places - 1 - number_format.smallest_exponent
    quotients = _round(negative, 2 * quotient + rest, exponent, number_format)
    x_is_zero, y_is_zero = x.significand == 0, y.significand == 0
    infinity = _with_sign(negative, torch.tensor(number_format.overflow_key), number_format)
    zero = _with_sign(negative, torch.tensor(0), number_format)
    quotients = torch.where(x.is_infinite | y_is_zero, infinity, quotients)
    quotients = torch.where(y.is_infinite & ~x.is_infinite, zero, quotients)
    is_undefined = (x_is_zero & y_is_zero) | (x.is_infinite & y.is_infinite)
    return torch.where(x.is_nan | y.is_nan | is_undefined, number_format.quiet_nan, quotients)


def square_root(a: torch.Tensor, number_format: NumberFormat) -> torch.Tensor:
    """Codes of the square root of a, rounded once: int64, same shape.

    -0 gives -0, every other negative number NaN, infinity infinity.

    Parameters
    ----------
    a
        Codes, int64.
    number_format
        Their float format and that of the result.

    Raises
    ------
    TypeError
        The codes are not int64.
    ValueError
        The format is none of floating-point numbers.
    """
    _check(number_format, a)
    x = read_numbers(a, number_format)
    significand, exponent = _normalized(x, number_format)
    exponent = exponent + number_format.smallest_exponent
    # An even power of two, so that the root has two bits more than the result holds.
    enough = number_format.significand_width + 4
    places = enough - ((exponent - enough) & 1)
    radicand = significand << places
    # float64 holds the radicand, but its root may round up to the next integer.
    root = radicand.double().sqrt().to(torch.int64)
    root -= (root * root > radicand).to(torch.int64)
    rest = (root * root != radicand).to(torch.int64)
    exponent = (exponent - places) // 2 - 1 - number_format.smallest_exponent
    roots = _round(x.negative, 2 * root + rest, exponent, number_format)
    roots = torch.where(x.is_infinite | (x.significand == 0), a, roots)
    is_undefined = x.negative & (x.significand > 0)
    return torch.where(x.is_nan | is_undefined, number_format.quiet_nan, roots)


def maximum(a: torch.Tensor, b: torch.Tensor, number_format: NumberFormat) -> torch.Tensor:
    """Codes of the larger number: int64, of the shape both broadcast to.

    +0 is larger than -0; the larger of NaN and anything is NaN.

    Parameters
    ----------
    a, b
        Codes, int64.
    number_format
        Their float format.

    Raises
    ------
    TypeError
        The codes are not int64.
    ValueError
        The format is none of floating-point numbers.
    """
    _check(number_format, a, b)
    x, y = read_numbers(a, number_format), read_numbers(b, number_format)
    first, second = (
        torch.where(codes >> number_format.key_width > 0, -1 - keys, keys)
        for codes, keys in ((c, magnitude_keys(c, number_format)) for c in (a, b))
    )
    larger = torch.where(first >= second, a, b)
    return torch.where(x.is_nan | y.is_nan, number_format.quiet_nan, larger)


def integer_to_float(integers: torch.Tensor, number_format: NumberFormat) -> torch.Tensor:
    """Codes of integers, rounded once: int64, same shape.  0 gives +0.

    Parameters
    ----------
    integers
        Any int64.
    number_format
        Float format of the result.

    Raises
    ------
    TypeError
        The integers are not int64.
    ValueError
        The format is none of floating-point numbers.
    """
    return scaled_to_float(integers, torch.zeros_like(integers), number_format)


def scaled_to_float(
    integers: torch.Tensor, exponent: torch.Tensor, number_format: NumberFormat
) -> torch.Tensor:
    """Codes of ``integers * 2**exponent``, rounded once: int64, same shape.  0 gives +0.

    Parameters
    ----------
    integers, exponent
        Any int64; exponents of less than 2**60.
    number_format
        Float format of the result.

    Raises
    ------
    TypeError
        The integers are not int64.
    ValueError
        The format is none of floating-point numbers.
    """
    _check(number_format, integers)
    # Of very large ones the low bits only matter as something other than 0, and an integer of as
    # many bits as float64 holds keeps more than any format here.
    low = 11
    is_large = (integers >= 1 << 52) | (integers <= -(1 << 52))
    shortened = (integers >> low) | ((integers & ((1 << low) - 1)) != 0).to(torch.int64)
    number = torch.where(is_large, shortened, integers)
    exponent = exponent + torch.where(is_large, low, 0) - number_format.smallest_exponent
    return _round(integers < 0, number.abs(), exponent, number_format)


def subtract_shift(data: torch.Tensor, shift: torch.Tensor, dtype: str) -> torch.Tensor:
    """Codes of ``data - shift`` in the format of both: int64, of the shape both broadcast to.

    Integer formats: the exact difference, limited to the range of the format.  Float formats:
    rounded once, see `add`.

    Parameters
    ----------
    data, shift
        Codes, int64.
    dtype
        Name of the number format.

    Raises
    ------
    TypeError
        The codes are not int64.
    """
    number_format = FORMATS[dtype]
    if number_format.kind == "float":
        return add(data, shift, number_format, subtract=True)
    _check_codes(data, shift)
    width = number_format.width
    half = 1 << (width - 1)
    difference = signed(data, width) - signed(shift, width)
    return difference.clamp(-half, half - 1) & ((1 << width) - 1)


def _check(number_format: NumberFormat, *codes: torch.Tensor) -> None:
    _check_codes(*codes)
    number_format.check_float()


def _check_codes(*codes: torch.Tensor) -> None:
    for tensor in codes:
        if tensor.dtype != torch.int64:
            raise TypeError(f"codes must be torch.int64, not {tensor.dtype}")


def read_numbers(codes: torch.Tensor, number_format: NumberFormat) -> FloatNumbers:
    """The numbers of codes."""
    keys = magnitude_keys(codes, number_format)
    field = keys >> number_format.mantissa_width
    mantissa = keys & ((1 << number_format.mantissa_width) - 1)
    is_normal = field > 0
    is_overflow = keys == number_format.overflow_key
    return FloatNumbers(
        negative=codes != keys,
        significand=mantissa + (is_normal.to(torch.int64) << number_format.mantissa_width),
        exponent=torch.where(is_normal, field - 1, 0),
        is_infinite=is_overflow & number_format.has_infinity,
        is_nan=(keys > number_format.overflow_key)
        | (is_overflow & (not number_format.has_infinity)),
    )


def _normalized(
    numbers: FloatNumbers, number_format: NumberFormat
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same numbers with the highest bit of the significand 1, but of 0, and their exponents."""
    length = torch.frexp(numbers.significand.to(torch.float64)).exponent.to(torch.int64)
    places = number_format.significand_width - length
    return numbers.significand << places, numbers.exponent - places


def _aligned(numbers: FloatNumbers, exponent: torch.Tensor, guard: int) -> torch.Tensor:
    """``s * 2**(x - exponent + guard)`` where no bit is lost, elsewhere the sign of s."""
    number = torch.where(numbers.negative, -numbers.significand, numbers.significand)
    places = guard - (exponent - numbers.exponent)
    return torch.where(places >= 0, number << places.clamp(min=0), number.sign())


def _round(
    negative: torch.Tensor,
    magnitude: torch.Tensor,
    exponent: torch.Tensor,
    number_format: NumberFormat,
) -> torch.Tensor:
    """Codes of ``magnitude * 2**exponent`` with a sign, the magnitude from 0 to 2**53."""
    size = number_format.significand_width
    length = torch.frexp(magnitude.to(torch.float64)).exponent.to(torch.int64)
    # The last place of the result is 2**last.
    last = torch.where(magnitude > 0, (length + exponent - size).clamp(min=0), 0)
    # Everything goes when more than all bits do, with or without what is above them.
    dropped = (last - exponent).clamp(max=60)
    kept = (magnitude << (-dropped).clamp(0, size)) >> dropped.clamp(min=0)
    rest = magnitude - (kept << dropped.clamp(min=0))
    twice = torch.where(dropped > 0, 2 * rest, 0)
    last_place = 1 << dropped.clamp(min=0)
    kept += ((twice > last_place) | ((twice == last_place) & (kept % 2 == 1))).to(torch.int64)
    # A significand of full size adds one to the exponent field, and so does one that overflows.
    keys = (last << number_format.mantissa_width) + kept
    return _with_sign(negative, keys.clamp(max=number_format.overflow_key), number_format)


def _with_sign(
    negative: torch.Tensor, keys: torch.Tensor, number_format: NumberFormat
) -> torch.Tensor:
    """Codes of magnitudes with a sign; NaN is the canonical one."""
    codes = keys + (negative.to(torch.int64) << number_format.key_width)
    if number_format.has_infinity:
        return codes
    return torch.where(keys == number_format.overflow_key, number_format.quiet_nan, codes)
