"""The shift: what is taken off every activation before it is scored."""

from amaranth.hdl import Cat, Module, Mux, Signal

from hw.floats import add_steps
from hw.formats import NumberFormat
from hw.logic import named
from hw.pipeline import Bundle, Step

__all__ = ["shift_steps"]


def shift_steps(number_format: NumberFormat, *, lanes: int) -> list[Step]:
    """Steps from ``data`` and ``shift`` to ``data - shift``, called ``data`` again.

    Integer formats: the exact difference, limited to the range of the format.  Float formats:
    rounded once, see `hw.floats.add_steps`.

    Parameters
    ----------
    number_format
        Format of activations and shift.
    lanes
        Activations; of the shift there are as many or one.
    """
    if number_format.kind == "float":
        return add_steps(
            number_format, operands=("data", "shift"), result="data", count=lanes, subtract=True
        )
    return [_saturated_step(number_format, lanes)]


def _saturated_step(number_format: NumberFormat, lanes: int) -> Step:
    width = number_format.width

    def compute(m: Module, bundle: Bundle) -> Bundle:
        shift = bundle["shift"]
        result = []
        for lane, value in enumerate(bundle["data"]):
            other = shift[min(lane, len(shift) - 1)]
            difference = Signal(width + 1, name=f"difference{lane}")
            m.d.comb += difference.eq(value.as_signed() - other.as_signed())
            sign = difference[-1]
            is_beyond = named(m, f"difference{lane}_is_beyond", sign ^ difference[-2])
            nearest = Cat((~sign).replicate(width - 1), sign)
            result.append(named(m, f"data{lane}", Mux(is_beyond, nearest, difference[:-1])))
        return {"data": result}

    levels = 4 * width.bit_length() + 2
    return Step(compute, {"data": lanes * width}, ("shift",), levels)
