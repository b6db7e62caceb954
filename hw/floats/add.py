"""Sums and differences of floating-point numbers."""

from functools import partial

from amaranth.hdl import Cat, Const, Module, Mux, Value

from hw.adders import ripple_add
from hw.comparators import majority_not_less
from hw.floats.alignment import align
from hw.floats.lanes import Number, lane_step
from hw.floats.rounding import round_step
from hw.formats import NumberFormat
from hw.logic import named
from hw.normalize import normalize
from hw.pipeline import Step

__all__ = ["add_steps"]

#: Bits of a sum below the last place of its larger operand, the sticky one apart.
_GUARD_BITS = 2


def add_steps(
    number_format: NumberFormat,
    *,
    operands: tuple[str, str] = ("a", "b"),
    result: str = "sum",
    count: int,
    subtract: bool = False,
    keep: tuple[str, ...] = (),
) -> list[Step]:
    """Steps from two operands to ``a + b``, or ``a - b``, for `count` lanes; rounded once.

    IEEE 754, to nearest, ties to even, subnormals included.  A sum of 0 is +0 but for
    (-0) + (-0) = -0.  NaN and infinity minus infinity give the canonical NaN.

    One path: the magnitudes are compared and put in order, the smaller one is shifted down to the
    larger one's exponent, added or subtracted, and the sum shifted up until its leading bit is 1 or
    its exponent the smallest.

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
    subtract
        Whether the second operand is subtracted.
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
    distance_width = min((size + _GUARD_BITS).bit_length(), exponent_width)
    step = partial(lane_step, prefix=prefix, count=count, number_format=number_format)
    flags = {"nan": 1} if number_format.has_infinity else {}
    return [
        step(
            _compare,
            operands=operands,
            produces={"swapped": 1},
            levels=number_format.key_width,
        ),
        step(
            partial(_order, subtract, distance_width),
            operands=operands,
            reads=("swapped",),
            produces={
                "larger": size,
                "smaller": size,
                "exponent": exponent_width,
                "distance": distance_width,
                "far": 1,
                "sign": 1,
                "differ": 1,
                "special": 1,
                **flags,
            },
            consumes=(*(name for name in operands if name not in keep), f"{prefix}swapped"),
            levels=exponent_width + 10,
        ),
        step(
            _align,
            reads=("smaller", "distance", "far"),
            produces={"aligned": size + _GUARD_BITS, "sticky": 1},
            consumes=tuple(f"{prefix}{name}" for name in ("smaller", "distance", "far")),
            levels=2 * distance_width,
        ),
        step(
            _add,
            reads=("larger", "aligned", "sticky", "differ"),
            produces={"sum": size + _GUARD_BITS + 1},
            consumes=tuple(f"{prefix}{name}" for name in ("larger", "aligned", "differ")),
            levels=size + 6,
        ),
        step(
            _normalize,
            reads=("sum", "sticky", "exponent", "special"),
            produces={"kept": size, "rest": 2, "exponent": exponent_width, "special": 1},
            consumes=tuple(f"{prefix}{name}" for name in ("sum", "sticky")),
            levels=7 * distance_width,
        ),
        round_step(number_format, result=result, count=count, exact_subnormals=True),
    ]


def _compare(m: Module, name: str, a: Number, b: Number) -> dict[str, Value]:
    """Whether b is the larger magnitude.

    Of two equal ones the larger one is the positive number, if there is one: it gives a sum of 0
    its sign.
    """
    is_first = majority_not_less(m, f"{name}_not_less", a.code[:-1], b.code[:-1], ~a.sign)
    return {"swapped": ~is_first}


def _order(
    subtract: bool,
    distance_width: int,
    m: Module,
    name: str,
    a: Number,
    b: Number,
    swapped: Value,
) -> dict[str, Value]:
    """The larger and the smaller magnitude, and the distance of their exponents."""
    b_sign = b.sign ^ subtract
    differ = named(m, f"{name}_signs_differ", a.sign ^ b_sign)
    # The larger number is normal if one of them is.
    is_normal = named(m, f"{name}_larger_is_normal", a.is_normal | b.is_normal)
    both_normal = named(m, f"{name}_both_normal", a.is_normal & b.is_normal)
    larger = named(
        m,
        f"{name}_larger",
        Mux(swapped, Cat(b.mantissa, b.exponent), Cat(a.mantissa, a.exponent)),
    )
    mantissa, field = larger[: len(a.mantissa)], larger[len(a.mantissa) :]
    smaller = named(m, f"{name}_smaller", Mux(swapped, a.mantissa, b.mantissa))
    other = named(m, f"{name}_smaller_exponent", Mux(swapped, a.exponent, b.exponent))
    # Field 0 has the place values of field 1: one less than the difference if only one is 0.
    is_more = named(m, f"{name}_is_more", both_normal | ~is_normal)
    distance, _ = ripple_add(m, f"{name}_distance", field, ~other, is_more)
    result = {
        "larger": Cat(mantissa, is_normal),
        "smaller": Cat(smaller, both_normal),
        "exponent": Cat(field[0] | ~is_normal, field[1:]),
        "distance": distance[:distance_width],
        "far": distance[distance_width:].any(),
        "sign": Mux(swapped, b_sign, a.sign),
        "differ": differ,
        "special": a.is_special | b.is_special,
    }
    result["nan"] = a.is_nan | b.is_nan | (a.is_special & b.is_special & differ)
    return result


def _align(m: Module, name: str, smaller: Value, distance: Value, far: Value) -> dict[str, Value]:
    """The smaller significand as bits of the place values of the larger one, and what falls off.

    Far away is nothing left of it: it is below a quarter of the last place then, half a place of
    the binade below, and rounds to nothing.
    """
    near = named(m, f"{name}_near", smaller & (~far).replicate(len(smaller)))
    aligned, sticky = align(m, f"{name}_aligned", Cat(Const(0, _GUARD_BITS), near), distance)
    return {"aligned": aligned, "sticky": sticky}


def _add(
    m: Module, name: str, larger: Value, aligned: Value, sticky: Value, differ: Value
) -> dict[str, Value]:
    """The sum, and a carry on top; what falls off borrows one."""
    term = named(m, f"{name}_term", aligned ^ differ.replicate(len(aligned)))
    carry = named(m, f"{name}_carry", differ & ~sticky)
    padded = Cat(Const(0, _GUARD_BITS), larger)
    total, carry_out = ripple_add(m, f"{name}_total", padded, term, carry)
    return {"sum": Cat(total, carry_out & ~differ)}


def _normalize(
    m: Module, name: str, total: Value, sticky: Value, exponent: Value, special: Value
) -> dict[str, Value]:
    """The significand, what follows it, and its exponent field."""
    number, count = normalize(m, f"{name}_normal", total, exponent)
    # No place was left above: the carry is in the place above the larger number's leading bit.
    overflow = exponent.all() & total[-1]
    kept, rest = number[_GUARD_BITS + 1 :], number[: _GUARD_BITS + 1]
    return {
        "kept": kept,
        "rest": Cat(rest[-1], rest[:-1].any() | sticky),
        "exponent": (exponent + 1 - count)[: len(exponent)],
        "special": special | overflow,
    }
