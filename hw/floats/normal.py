"""Numbers of fp32 between the operations of a unit that computes serially.

They are values of fp32, but with a significand that begins with 1 where they are subnormal, too.
"""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data

from hw.formats import FP32
from hw.logic import named

__all__ = ["EXPONENT_WIDTH", "NORMAL", "RAW_WIDTH", "Raw", "normal_code", "round_to_normal"]

#: Bits of an exponent, which is signed: of products and quotients of any two numbers too.
EXPONENT_WIDTH = 10

#: Bits of what is to be rounded: a significand, the next bit, and another one where the highest bit
#: is 0.
RAW_WIDTH = FP32.significand_width + 2

_SIZE = FP32.significand_width
_INFINITE = (1 << FP32.exponent_width) - 1

#: ``significand * 2**(exponent - 150)``; it is 0 where the highest bit of the significand is 0.  Of
#: NaN and infinity neither significand nor exponent mean anything.
NORMAL = data.StructLayout(
    {"significand": _SIZE, "exponent": signed(EXPONENT_WIDTH), "nan": 1, "infinite": 1}
)


@dataclass(frozen=True)
class Raw:
    """What an operation leaves for the rounding.

    Parameters
    ----------
    number
        `RAW_WIDTH` bits; if the highest one is 0 the next one is 1, or all of it is 0.
    sticky
        Whether anything follows.
    exponent
        That of the result if the highest bit is 1.
    nan, infinite
        Whether the result is, whatever the rest says.
    """

    number: Value
    sticky: Value
    exponent: Value
    nan: Value
    infinite: Value


def round_to_normal(m: Module, name: str, raw: Raw, *, is_float: bool) -> data.View:
    """A number of fp32, rounded to nearest, ties to even, infinity where it is too large.

    Where the result is subnormal fewer bits are kept; the significand stays where it is.

    What is rounded must not be the largest power of two less than half a last place: no product,
    quotient, root or difference of fp32 numbers is.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Of the result, and prefix of the wires.
    raw
        What is rounded.
    is_float
        Whether there may be numbers out of the range of normal ones, infinity and NaN.
    """
    number, exponent = raw.number, raw.exponent
    width = len(number)
    # Places from the lowest one on that fall off: what has no room in a significand, or what is
    # below the last place of subnormal numbers.
    dropped: Value = Cat(Const(1, 1), number[-1], Const(0, width - 1))
    if is_float:
        below = Signal(signed(EXPONENT_WIDTH + 1), name=f"{name}_below")
        m.d.comb += below.eq(~exponent + (width - _SIZE + 2))
        stages = width.bit_length()
        is_far = named(m, f"{name}_is_far", below[stages:].any())
        places = (below[:stages] | is_far.replicate(stages)) & (~below[-1]).replicate(stages)
        limits = _at_least(m, f"{name}_at_least", named(m, f"{name}_places", places))
        dropped = named(m, f"{name}_dropped", dropped | limits[1 : width + 2])
    half = named(m, f"{name}_half", dropped[:-1] & ~dropped[1:])
    is_more = raw.sticky | (number & dropped[1:]).any()
    is_odd = (number[1:] & half[:-1]).any()
    up = named(m, f"{name}_up", (number & half).any() & (is_odd | is_more))
    kept = named(m, f"{name}_kept", number & ~dropped[:-1])
    rounded = Signal(width + 1, name=f"{name}_rounded")
    m.d.comb += rounded.eq(kept + Cat(Const(0, 1), half & up.replicate(width)))
    carry, top = rounded[-1], rounded[-2]
    low = width - _SIZE
    significand = Mux(top, rounded[low:-1], rounded[low - 1 : -2])
    result = Signal(NORMAL, name=name)
    m.d.comb += [
        result.significand.eq(significand | carry << (_SIZE - 1)),
        result.exponent.eq(Mux(carry, exponent + 1, Mux(top, exponent, exponent - 1))),
    ]
    if is_float:
        # 0 has any exponent.
        is_large = (number[-2:].any() & (exponent > _INFINITE)) | (
            (top | carry) & (exponent == _INFINITE)
        )
        m.d.comb += [
            result.nan.eq(raw.nan),
            result.infinite.eq(~raw.nan & (raw.infinite | is_large)),
        ]
    return result


def normal_code(m: Module, name: str, number: data.View, sign: Value, significand: Value) -> Value:
    """The code of a number, of which NaN is the canonical one.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Of the code, and prefix of the wires.
    number
        The number.
    sign
        Its sign.
    significand
        Its significand, shifted down where it is subnormal.
    """
    is_special = named(m, f"{name}_is_special", number.nan | number.infinite)
    is_normal = significand[-1]
    mantissa = significand[:-1] & (~is_special).replicate(FP32.mantissa_width)
    mantissa = mantissa | Cat(Const(0, FP32.mantissa_width - 1), number.nan)
    width = FP32.exponent_width
    field = number.exponent[:width] & is_normal.replicate(width)
    field = field | is_special.replicate(width)
    return named(m, name, Cat(mantissa, field, sign & ~number.nan))


def _at_least(m: Module, name: str, number: Value) -> Value:
    """Bit k: whether the number is at least k; from 0 to all that it can be."""
    if len(number) == 1:
        return Cat(Const(1, 1), number)
    low = _at_least(m, f"{name}_low", number[:-1])
    size = len(low)
    return named(m, name, Cat(low | number[-1].replicate(size), low & number[-1].replicate(size)))
