"""Magnitude keys of activations."""

from amaranth.hdl import Cat, Module, Mux

from hw.formats import NumberFormat
from hw.pipeline import Bundle, Step

__all__ = ["key_step"]


def key_step(number_format: NumberFormat, lanes: int, *, consumes: tuple[str, ...] = ()) -> Step:
    """``data`` to ``keys``, lane by lane: see `hw.formats` for what a key is.

    Float formats: the bits below the sign, no logic.  Integers: the absolute value, exact for the
    most negative one too.
    """
    width = number_format.width
    is_integer = number_format.kind == "int"

    def compute(m: Module, bundle: Bundle) -> Bundle:  # noqa: ARG001 - a step's signature
        keys = []
        for lane in range(lanes):
            value = bundle["data"].word_select(lane, width)
            if is_integer:
                keys.append(Mux(value[-1], -value, value)[:width])
            else:
                keys.append(value[: number_format.key_width])
        return {"keys": Cat(keys)}

    return Step(compute, consumes, levels=6 if is_integer else 0)
