"""The last step of all operations: a normalised significand becomes a code."""

from amaranth.hdl import Cat, Const, Module, Signal, Value

from hw.formats import NumberFormat
from hw.logic import named
from hw.pipeline import Bundle, Step

__all__ = ["round_step"]


def round_step(
    number_format: NumberFormat, *, result: str, count: int, exact_subnormals: bool = False
) -> Step:
    """Round to nearest, ties to even; infinity or NaN where it is due.

    It reads, for each lane, under names that begin with `result` and an underscore,

    - ``kept``: the significand, its highest bit 0 only if the number is subnormal or 0;
    - ``rest``: the next bit below, and above it whether anything follows;
    - ``exponent``: the exponent field if the highest bit of ``kept`` is 1;
    - ``sign``;
    - ``special``: whether the result is infinity or NaN, whatever the others say;
    - ``nan``, in a format with infinity: whether it is NaN, which ``special`` must say too,

    and makes `result`, a code a lane.

    Parameters
    ----------
    number_format
        Of the result.
    result
        Name of the result.
    count
        Number of lanes.
    exact_subnormals
        Whether what falls off a subnormal number is always 0.
    """
    read = ["kept", "rest", "exponent", "sign", "special"]
    if number_format.has_infinity:
        read.append("nan")
    names = [f"{result}_{name}" for name in read]

    def compute(m: Module, bundle: Bundle) -> Bundle:
        lanes = zip(*(bundle[name] for name in names), strict=True)
        return {
            result: [
                _code(m, f"{result}{lane}", number_format, exact_subnormals, *values)
                for lane, values in enumerate(lanes)
            ]
        }

    levels = 4 * number_format.width.bit_length()
    return Step(compute, {result: count * number_format.width}, tuple(names), levels)


def _code(
    m: Module,
    name: str,
    number_format: NumberFormat,
    exact_subnormals: bool,
    kept: Value,
    rest: Value,
    exponent: Value,
    sign: Value,
    special: Value,
    nan: Value | None = None,
) -> Value:
    mantissa_width = number_format.mantissa_width
    is_normal = kept[-1]
    up = named(m, f"{name}_up", rest[0] & (rest[1] | kept[0]))
    rounded = Signal(mantissa_width + 1, name=f"{name}_mantissa")
    m.d.comb += rounded.eq(kept[:-1] + up)
    mantissa, carry = rounded[:-1], rounded[-1]
    # Exponent and carry in one sum, which mappers join with the one that the exponent comes from.
    following = (exponent + carry)[: len(exponent)] & is_normal.replicate(len(exponent))
    if not exact_subnormals:
        following = Cat(following[0] | (carry & ~is_normal), following[1:])
    if nan is None:
        # NaN is all ones: as much as the largest number and one, and what is larger too.
        special = named(m, f"{name}_special", special | (exponent.all() & carry & is_normal))
        field = named(m, f"{name}_exponent", following | special.replicate(len(exponent)))
        mantissa = mantissa | special.replicate(mantissa_width)
        nan = named(m, f"{name}_nan", Cat(mantissa, field).all())
    else:
        field = named(m, f"{name}_exponent", following | special.replicate(len(exponent)))
        finite = named(m, f"{name}_finite", ~field.all())
        mantissa = mantissa & finite.replicate(mantissa_width)
        mantissa = mantissa | Cat(Const(0, mantissa_width - 1), nan)
    return named(m, name, Cat(mantissa, field, sign & ~nan))
