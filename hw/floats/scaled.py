"""Integers times powers of two as floating-point numbers."""

from functools import partial

from amaranth.hdl import Cat, Const, Module, Mux, Value

from hw.floats.alignment import align
from hw.floats.lanes import lane_step
from hw.floats.rounding import round_step
from hw.formats import NumberFormat
from hw.logic import named
from hw.normalize import normalize
from hw.pipeline import Step

__all__ = ["scaled_to_float_steps"]


def scaled_to_float_steps(
    number_format: NumberFormat,
    *,
    widths: tuple[int, int],
    unit: int,
    least: int = 0,
    result: str,
    count: int,
) -> list[Step]:
    """Steps from ``<result>_integer``, i, and ``<result>_exponent``, e, to ``i * 2**(e + unit)``.

    Rounded once, to nearest, ties to even, subnormals included; 0 gives +0, and what is too large
    infinity.  Where ``<result>_special`` of a lane is 1 the result is infinity, negative where
    ``<result>_minus`` is 1, or, where ``<result>_nan`` is 1 too, the canonical NaN.

    Parameters
    ----------
    number_format
        Format of the result, one with infinity.
    widths
        Bits of an integer, which is signed, and of an exponent, which is not.
    unit
        Added to all exponents.
    least
        The least exponent that there is.
    result
        Name of the result; those of the values on the way begin with it and an underscore.
    count
        Number of lanes.
    """
    integer_width, exponent_width = widths
    size, field_width = number_format.significand_width, number_format.exponent_width
    prefix = f"{result}_"
    # Exponent field of an integer whose highest bit is 1, of exponent 0.
    highest = integer_width + unit - number_format.smallest_exponent - size + 1
    lowest = highest + least - integer_width + 1
    # Whether the highest bit of a subnormal result is never above that of the integer: then a
    # subnormal one is shifted up as far as its place allows, and otherwise down to its place.
    is_limited = lowest < 1 <= highest + least
    top = highest + (1 << exponent_width) - 1
    wide = max(abs(lowest), abs(top)).bit_length() + 1
    # Leading bit, the rest of the significand, and two more.
    length = max(integer_width, size + 2)

    def normalized(
        m: Module, name: str, integer: Value, exponent: Value, special: Value, minus: Value
    ) -> dict[str, Value]:
        negative = integer[-1]
        magnitude = named(m, f"{name}_magnitude", Mux(negative, -integer, integer)[:integer_width])
        limit = None
        if is_limited:
            limit = named(m, f"{name}_limit", (exponent + highest - 1)[: wide - 1])
        number, zeros = normalize(m, f"{name}_normal", magnitude, limit)
        field = (exponent - zeros + highest)[:wide]
        return {
            "number": Cat(Const(0, length - integer_width), number),
            "field": field,
            "sign": Mux(special, minus, negative),
        }

    def placed(
        m: Module, name: str, number: Value, field: Value, special: Value
    ) -> dict[str, Value]:
        signed_field = field.as_signed()
        is_large = named(m, f"{name}_is_large", signed_field >= (1 << field_width) - 1)
        sticky: Value = Const(0, 1)
        if lowest < 1 and not is_limited:
            # A subnormal result: down to the place of its last bit.
            below = named(m, f"{name}_below", (1 - signed_field)[:wide])
            is_below = named(m, f"{name}_is_below", ~below[-1] & below.any())
            stages = min((size + 2).bit_length(), wide - 1)
            is_far = below[stages:-1].any()
            distance = (below[:stages] | is_far.replicate(stages)) & is_below.replicate(stages)
            distance = named(m, f"{name}_distance", distance)
            number, sticky = align(m, f"{name}_subnormal", number, distance)
        rest = number[: length - size]
        return {
            "kept": number[length - size :],
            "rest": Cat(rest[-1], rest[:-1].any() | sticky),
            "exponent": field[:field_width],
            "special": special | (is_large & number[-1]),
        }

    step = partial(lane_step, prefix=prefix, count=count, number_format=number_format)
    return [
        step(
            normalized,
            reads=("integer", "exponent", "special", "minus"),
            produces={"number": length, "field": wide, "sign": 1},
            consumes=tuple(f"{prefix}{name}" for name in ("integer", "exponent", "minus")),
            levels=integer_width.bit_length() * 5 + 8,
        ),
        step(
            placed,
            reads=("number", "field", "special"),
            produces={"kept": size, "rest": 2, "exponent": field_width, "special": 1},
            consumes=(f"{prefix}number", f"{prefix}field"),
            levels=20 if lowest < 1 and not is_limited else 4,
        ),
        round_step(number_format, result=result, count=count),
    ]
