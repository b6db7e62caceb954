"""Products of floating-point numbers."""

from functools import partial

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

from hw.floats.alignment import shift_up
from hw.floats.lanes import Number, lane_step
from hw.floats.rounding import round_step
from hw.formats import NumberFormat
from hw.logic import named
from hw.normalize import normalize
from hw.pipeline import Step

__all__ = ["multiply_steps"]


def multiply_steps(
    number_format: NumberFormat,
    *,
    operands: tuple[str, str] = ("a", "b"),
    result: str = "product",
    count: int,
    keep: tuple[str, ...] = (),
) -> list[Step]:
    """Steps from two operands to ``a * b`` for `count` lanes; rounded once.

    IEEE 754, to nearest, ties to even, subnormals included.  The sign is that of the exact product,
    also of 0 and infinity; NaN and infinity times 0 give the canonical NaN.

    The product of the significands, the sum of two halves, is shifted to its place once: up by the
    leading zeros of an operand that is subnormal, which are counted while the multiplier works, or
    down where the result is subnormal.  Two subnormal operands have a product that rounds to 0.

    Parameters
    ----------
    number_format
        Float format of operands and result.
    operands
        Names of the operands, `count` numbers each; the second one may be one number for all lanes.
    result
        Name of the result; those of the values on the way begin with it and an underscore.
    count
        Number of lanes.
    keep
        Operands that later steps need.

    Raises
    ------
    ValueError
        The format is none of floating-point numbers.
    """
    number_format.check_float()
    prefix = f"{result}_"
    size, exponent_width = number_format.significand_width, number_format.exponent_width
    half = size // 2
    step = partial(lane_step, prefix=prefix, count=count, number_format=number_format)
    flags = {"nan": 1} if number_format.has_infinity else {}
    # Places by which a product is shifted up, of one that is below all bits of the result at first.
    places_width = (2 * size).bit_length()
    return [
        step(
            partial(_multiply, number_format, half),
            operands=operands,
            produces={
                "low": size + half,
                "high": 2 * size - half,
                "zeros": (size - 1).bit_length(),
                "room": exponent_width + 2,
                "sign": 1,
                "special": 1,
                **flags,
            },
            consumes=tuple(name for name in operands if name not in keep),
            levels=size + 20,
        ),
        step(
            partial(_place, number_format, half, places_width),
            reads=("low", "high", "room", "zeros"),
            produces={
                "whole": 2 * size,
                "places": places_width,
                "exponent": exponent_width + 1,
            },
            consumes=tuple(f"{prefix}{name}" for name in ("low", "high", "room", "zeros")),
            levels=exponent_width + 12,
        ),
        step(
            _shift,
            reads=("whole", "places"),
            produces={"shifted": size + 2, "sticky": 1},
            consumes=(f"{prefix}whole", f"{prefix}places"),
            levels=2 * places_width,
        ),
        step(
            partial(_normalize, number_format),
            reads=("shifted", "sticky", "exponent", "special"),
            produces={"kept": size, "rest": 2, "exponent": exponent_width, "special": 1},
            consumes=(f"{prefix}shifted", f"{prefix}sticky"),
            levels=12,
        ),
        round_step(number_format, result=result, count=count),
    ]


def _multiply(
    number_format: NumberFormat, half: int, m: Module, name: str, a: Number, b: Number
) -> dict[str, Value]:
    """Products with the two halves of b, leading zeros, and the room above exponent field 1.

    The room is the exponent field that the highest bit of the whole product has, less 1.
    """
    first = named(m, f"{name}_first", Cat(a.significand))
    second = named(m, f"{name}_second", Cat(b.significand))
    low = named(m, f"{name}_low", first * second[:half])
    high = named(m, f"{name}_high", first * second[half:])
    # The one that is subnormal, if one is.
    lesser = named(m, f"{name}_lesser", Mux(a.is_normal, second, first))
    _, zeros = normalize(m, f"{name}_lesser_normal", lesser)
    # Field 0 has the place values of field 1.
    fields = [Cat(x.exponent[0] | ~x.is_normal, x.exponent[1:]) for x in (a, b)]
    room = Signal(signed(number_format.exponent_width + 2), name=f"{name}_room")
    m.d.comb += room.eq(fields[0] + fields[1] - number_format.bias)
    is_zero = [~x.is_normal & ~x.mantissa.any() for x in (a, b)]
    undefined = (a.is_special & is_zero[1]) | (b.is_special & is_zero[0])
    return {
        "low": low,
        "high": high,
        "zeros": zeros,
        "room": room,
        "sign": a.sign ^ b.sign,
        "special": a.is_special | b.is_special,
        "nan": a.is_nan | b.is_nan | undefined,
    }


def _place(
    number_format: NumberFormat,
    half: int,
    places_width: int,
    m: Module,
    name: str,
    low: Value,
    high: Value,
    room: Value,
    zeros: Value,
) -> dict[str, Value]:
    """The product; places up from one below all bits of the result; the exponent field there.

    The leading zeros go as far as the field stays above 0.  Where it is less already the product
    goes down, to nothing if more bits than the result has are below its last one.
    """
    size = number_format.significand_width
    whole = Cat(low[:half], (low[half:] + high)[: len(high)])
    left = Signal(signed(len(room)), name=f"{name}_left")
    m.d.comb += left.eq(room.as_signed() - zeros)
    is_short = left[-1]
    up = Signal(signed(len(room)), name=f"{name}_up")
    m.d.comb += up.eq(Mux(is_short, room, zeros) + size + 1)
    places = up[:places_width]
    if number_format.bias > size + 3:
        places = places & (~up[-1]).replicate(places_width)
    return {
        "whole": whole,
        "places": places,
        "exponent": Mux(is_short, 1, (left + 1)[: len(room) - 1]),
    }


def _shift(m: Module, name: str, whole: Value, places: Value) -> dict[str, Value]:
    """The highest bits of the product in its place, and whether anything is below them."""
    size = len(whole) // 2
    below = Cat(whole, Const(0, size + 1))
    shifted, sticky = shift_up(m, f"{name}_shifted", below, places, size + 2)
    return {"shifted": shifted, "sticky": sticky}


def _normalize(
    number_format: NumberFormat,
    m: Module,
    name: str,
    shifted: Value,
    sticky: Value,
    exponent: Value,
    special: Value,
) -> dict[str, Value]:
    """One place up, if the highest bit is 0 and the exponent field above 1."""
    moves = named(m, f"{name}_moves", ~shifted[-1] & exponent[1:].any())
    number = named(m, f"{name}_number", Mux(moves, Cat(Const(0, 1), shifted[:-1]), shifted))
    field = named(m, f"{name}_field", (exponent - moves)[: len(exponent)])
    largest = (1 << number_format.exponent_width) - 1 - number_format.has_infinity
    return {
        "kept": number[2:],
        "rest": Cat(number[1], number[0] | sticky),
        "exponent": field[:-1],
        "special": special | (field > largest),
    }
