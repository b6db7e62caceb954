"""Floating-point arithmetic from its definition, one operation at a time, in fractions.

A result is the representable number nearest to the exact one, a tie goes to the even code.
"""

import random
from fractions import Fraction
from functools import cache

from hw.formats import FORMATS, FP32, NumberFormat

FLOATS = {f.name: f for f in (*FORMATS.values(), FP32) if f.kind == "float"}

#: The NaN that operations make.
QUIET = {"fp16": 0x7E00, "bf16": 0x7FC0, "fp8_e4m3": 0x7F, "fp8_e5m2": 0x7E, "fp32": 0x7FC00000}

#: What the tests must find when the definition has it.
MISTAKES = ["ties away", "truncated", "flushed", "saturated", "negative zero", "signed NaN"]


def is_nan(code: int, f: NumberFormat) -> bool:
    key = code % (1 << f.key_width)
    if f.name == "fp8_e4m3":
        return key == 0x7F
    return key > ((1 << f.exponent_width) - 1) << f.mantissa_width


def is_infinite(code: int, f: NumberFormat) -> bool:
    key = code % (1 << f.key_width)
    return f.name != "fp8_e4m3" and key == ((1 << f.exponent_width) - 1) << f.mantissa_width


@cache
def value(code: int, f: NumberFormat) -> Fraction:
    """Of a finite code: (-1)**sign * 2**(e - bias) * 1.m, or 2**(1 - bias) * 0.m where e = 0."""
    key = code % (1 << f.key_width)
    e, mantissa = divmod(key, 1 << f.mantissa_width)
    bias = 2 ** (f.exponent_width - 1) - 1
    fraction = Fraction(mantissa, 1 << f.mantissa_width)
    number = fraction * _power(1 - bias) if e == 0 else (1 + fraction) * _power(e - bias)
    return -number if code >> f.key_width else number


def _power(exponent: int) -> Fraction:
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


@cache
def _round(number: Fraction, f: NumberFormat, mistake: str) -> int:
    """Key of what a number above 0 is rounded to."""
    bias = 2 ** (f.exponent_width - 1) - 1
    place = 1 - bias - f.mantissa_width
    steps = number / _power(place)
    # Every binade above the lowest one has steps twice as large.
    e = max(int(steps).bit_length() - f.mantissa_width, 1)
    steps /= 1 << (e - 1)
    # Python's own rounding of fractions goes to the nearest integer, ties to even.
    count = round(steps)
    if mistake == "ties away":
        count = int(steps + Fraction(1, 2))
    if mistake == "truncated":
        count = int(steps)
    # 0.m in the lowest binade, 1.m elsewhere; 10.0 is the first number of the next binade.
    key = count if e == 1 else ((e - 1) << f.mantissa_width) + count
    if mistake == "flushed" and key < 1 << f.mantissa_width:
        return 0
    largest = (((1 << f.exponent_width) - 1) << f.mantissa_width) - 1
    if f.name == "fp8_e4m3":
        largest = 0x7E
    if key > largest:
        return largest if mistake == "saturated" else largest + 1
    return key


def rounded(number: Fraction, f: NumberFormat, *, negative_zero: bool, mistake: str = "") -> int:
    """Code of a number."""
    if number == 0:
        return int(negative_zero or mistake == "negative zero") << f.key_width
    key = _round(abs(number), f, mistake)
    if is_nan(key, f):
        return QUIET[f.name]
    return key | int(number < 0) << f.key_width


def _nan(sign: int, f: NumberFormat, mistake: str) -> int:
    return QUIET[f.name] | (sign if mistake == "signed NaN" else 0) << f.key_width


def add(a: int, b: int, f: NumberFormat, mistake: str = "") -> int:
    if is_nan(a, f) or is_nan(b, f):
        return _nan(a >> f.key_width, f, mistake)
    if is_infinite(a, f) or is_infinite(b, f):
        if is_infinite(a, f) and is_infinite(b, f) and a != b:
            return QUIET[f.name]
        return a if is_infinite(a, f) else b
    both = bool(a >> f.key_width and b >> f.key_width)
    return rounded(value(a, f) + value(b, f), f, negative_zero=both, mistake=mistake)


def subtract(a: int, b: int, f: NumberFormat, mistake: str = "") -> int:
    return add(a, b ^ 1 << f.key_width, f, mistake)


def multiply(a: int, b: int, f: NumberFormat, mistake: str = "") -> int:
    sign = (a ^ b) >> f.key_width
    if is_nan(a, f) or is_nan(b, f):
        return _nan(sign, f, mistake)
    if is_infinite(a, f) or is_infinite(b, f):
        other = b if is_infinite(a, f) else a
        if not is_infinite(other, f) and value(other, f) == 0:
            return QUIET[f.name]
        return sign << f.key_width | ((1 << f.exponent_width) - 1) << f.mantissa_width
    product = value(a, f) * value(b, f)
    return rounded(product, f, negative_zero=bool(sign), mistake=mistake)


def divide(a: int, b: int, f: NumberFormat, mistake: str = "") -> int:
    sign = (a ^ b) >> f.key_width
    infinity = 0x7F if f.name == "fp8_e4m3" else ((1 << f.exponent_width) - 1) << f.mantissa_width
    zeros = [not (is_nan(x, f) or is_infinite(x, f)) and value(x, f) == 0 for x in (a, b)]
    if is_nan(a, f) or is_nan(b, f):
        return _nan(sign, f, mistake)
    if (is_infinite(a, f) and is_infinite(b, f)) or all(zeros):
        return _nan(sign, f, mistake)
    if is_infinite(a, f) or zeros[1]:
        return infinity if is_nan(infinity, f) else sign << f.key_width | infinity
    if is_infinite(b, f):
        return sign << f.key_width
    quotient = value(a, f) / value(b, f)
    return rounded(quotient, f, negative_zero=bool(sign), mistake=mistake)


def square_root(a: int, f: NumberFormat, mistake: str = "") -> int:
    """The largest key whose square is not above the number, or the next one: no root is a tie."""
    sign = a >> f.key_width
    if is_nan(a, f):
        return _nan(sign, f, mistake)
    if not is_infinite(a, f) and value(a, f) == 0:
        return a if mistake != "negative zero" else a ^ 1 << f.key_width
    if sign:
        return _nan(sign, f, mistake)
    if is_infinite(a, f):
        return a
    number = value(a, f)
    low, high = 0, ((1 << f.exponent_width) - 1) << f.mantissa_width
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if value(middle, f) ** 2 <= number else (low, middle)
    if mistake == "truncated":
        return low
    return high if (value(low, f) + value(high, f)) ** 2 < 4 * number else low


def corners(f: NumberFormat) -> list[int]:
    """Codes about which something is special, of both signs."""
    one = ((1 << (f.exponent_width - 1)) - 1) << f.mantissa_width
    normal = 1 << f.mantissa_width
    top = 1 << f.key_width
    around = [0, normal, 2 * normal, one, one + normal, QUIET[f.name]]
    around.append(((1 << f.exponent_width) - 1) << f.mantissa_width)
    keys = {k for centre in around for k in range(centre - 1, centre + 2) if 0 <= k < top}
    keys |= {normal // 2, one + normal // 2, one - normal * f.mantissa_width, top - 1}
    return sorted(key + sign for key in keys for sign in (0, top))


def pairs(f: NumberFormat, count: int, seed: int) -> list[tuple[int, int]]:
    """All pairs of corners, and random ones.

    A quarter of these are any, near in exponent, nearly equal, and with few bits set, so that ties
    are frequent.
    """
    chosen = random.Random(seed)
    special = corners(f)
    result = [(a, b) for a in special for b in special]
    top = 1 << f.width
    unit = 1 << f.mantissa_width
    for number in range(count):
        a = chosen.randrange(top)
        b = chosen.randrange(top)
        if number % 4 == 1:
            # Half of them begin just above a power of two, below which places are half as far.
            a = chosen.choice([a, a - a % unit + chosen.randrange(2)])
            b = (a + chosen.randint(-f.mantissa_width - 3, f.mantissa_width + 3) * unit) % top
            b = b - b % unit + chosen.randrange(unit) ^ chosen.randrange(2) << f.key_width
        elif number % 4 == 2:
            b = (a + chosen.randint(-4, 4)) % top ^ chosen.randrange(2) << f.key_width
        elif number % 4 == 3:
            few = [chosen.choice([0, 1, unit // 2, unit - 1, unit - 2]) for _ in range(2)]
            shift = chosen.randint(-f.mantissa_width - 2, f.mantissa_width + 2)
            b = (a + shift * unit) % top
            a, b = a - a % unit + few[0], b - b % unit + few[1]
        result.append((a, b))
    return result
