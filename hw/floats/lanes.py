"""Steps that do the same in every lane."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from amaranth.hdl import Module, Value

from hw.formats import NumberFormat
from hw.logic import named
from hw.pipeline import Bundle, Step

__all__ = ["Number", "lane_step", "unpack"]


@dataclass(frozen=True)
class Number:
    """A floating-point number and what is found out about it.

    Parameters
    ----------
    code
        All of it.
    sign, exponent, mantissa
        Its fields.
    is_normal
        Whether the exponent field is not 0: the leading bit of the significand.
    is_special
        Whether it is infinity or NaN.
    is_nan
        Whether it is NaN.
    """

    code: Value
    sign: Value
    exponent: Value
    mantissa: Value
    is_normal: Value
    is_special: Value
    is_nan: Value

    @property
    def power(self) -> Value:
        """x, where a finite magnitude is s * 2**x in units of the smallest one above 0."""
        return (self.exponent - self.is_normal)[: len(self.exponent)]

    @property
    def significand(self) -> list[Value]:
        """Mantissa and leading bit, to be concatenated."""
        return [self.mantissa, self.is_normal]


def unpack(m: Module, name: str, code: Value, number_format: NumberFormat) -> Number:
    """The number of a code."""
    mantissa_width = number_format.mantissa_width
    mantissa, exponent = code[:mantissa_width], code[mantissa_width:-1]
    if number_format.has_infinity:
        is_special = named(m, f"{name}_is_special", exponent.all())
        is_nan = named(m, f"{name}_is_nan", is_special & mantissa.any())
    else:
        is_special = is_nan = named(m, f"{name}_is_nan", code[:-1].all())
    is_normal = named(m, f"{name}_is_normal", exponent.any())
    return Number(code, code[-1], exponent, mantissa, is_normal, is_special, is_nan)


def lane_step(
    compute_lane: Callable[..., Mapping[str, Value]],
    *,
    prefix: str,
    count: int,
    number_format: NumberFormat,
    operands: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
    produces: Mapping[str, int],
    consumes: tuple[str, ...] = (),
    levels: int,
) -> Step:
    """A step of one function, lane by lane.

    Parameters
    ----------
    compute_lane
        Takes the module, a prefix for names, the operands as `Number` and the values read; gives
        the new values by name.
    prefix
        Begins the names of all values but the operands.
    count
        Number of lanes.
    number_format
        Format of the operands.
    operands
        Names of floating-point numbers that are read: `count` of them each, or one that goes with
        all lanes and is unpacked once.
    reads
        Names of the other values read, without the prefix.
    produces
        Bits of each new value in one lane, by its name without the prefix.
    consumes
        Names of the values that no later step needs, as they are.
    levels
        See `Step`.
    """

    def compute(m: Module, bundle: Bundle) -> Bundle:
        numbers = [
            [
                unpack(m, f"{prefix}{name}{k}", code, number_format)
                for k, code in enumerate(bundle[name])
            ]
            for name in operands
        ]
        result: Bundle = {prefix + name: [] for name in produces}
        for lane in range(count):
            own = [column[min(lane, len(column) - 1)] for column in numbers]
            values = [bundle[prefix + name][lane] for name in reads]
            made = compute_lane(m, f"{prefix}lane{lane}", *own, *values)
            for name in produces:
                result[prefix + name].append(named(m, f"{prefix}{name}{lane}", made[name]))
        return result

    widths = {prefix + name: count * width for name, width in produces.items()}
    return Step(compute, widths, consumes, levels)
