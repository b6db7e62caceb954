"""Integers as floating-point numbers."""

from amaranth.hdl import Const, Module

from hw.floats.scaled import scaled_to_float_steps
from hw.formats import NumberFormat
from hw.pipeline import Bundle, Step

__all__ = ["integer_to_float_steps"]


def integer_to_float_steps(
    width: int,
    number_format: NumberFormat,
    *,
    operand: str = "integer",
    result: str = "number",
    count: int,
    keep: tuple[str, ...] = (),
) -> list[Step]:
    """Steps from signed integers to floating-point numbers; rounded once.

    To nearest, ties to even; 0 gives +0, and what is too large infinity.

    Parameters
    ----------
    width
        Bits of an integer.
    number_format
        Format of the result, one with infinity.
    operand
        Name of the integers.
    result
        Name of the result; those of the values on the way begin with it and an underscore.
    count
        Number of lanes.
    keep
        The operand, if later steps need it.

    Raises
    ------
    ValueError
        The format is none of floating-point numbers with infinity.
    """
    if not number_format.has_infinity:
        raise ValueError(
            f"number format must be a float format with infinity, not {number_format.name}"
        )
    constants = ("exponent", "special", "minus", "nan")

    def unscaled(_: Module, bundle: Bundle) -> Bundle:
        zeros = {f"{result}_{name}": [Const(0, 1)] * count for name in constants}
        return {f"{result}_integer": list(bundle[operand]), **zeros}

    produces = {f"{result}_integer": width * count}
    produces |= {f"{result}_{name}": count for name in constants}
    spent = () if operand in keep else (operand,)
    return [
        Step(unscaled, produces, spent, levels=0),
        *scaled_to_float_steps(
            number_format, widths=(width, 1), unit=0, result=result, count=count
        ),
    ]
