"""Magnitude keys of activations."""

from amaranth.hdl import Module, Mux

from hw.formats import NumberFormat
from hw.pipeline import Bundle, Step, named

__all__ = ["key_step"]


def key_step(number_format: NumberFormat, lanes: int, *, consumes: tuple[str, ...] = ()) -> Step:
    """``data`` to ``keys``, lane by lane: see `hw.formats` for what a key is.

    Float formats: the bits below the sign, no logic.  Integers: the absolute value, exact for the
    most negative one too.
    """
    width = number_format.width
    is_integer = number_format.kind == "int"

    def compute(m: Module, bundle: Bundle) -> Bundle:
        if not is_integer:
            return {"keys": [value[: number_format.key_width] for value in bundle["data"]]}
        return {
            "keys": [
                named(m, f"key{lane}", Mux(value[-1], -value, value)[:width])
                for lane, value in enumerate(bundle["data"])
            ]
        }

    levels = width.bit_length() + 2 if is_integer else 0
    return Step(compute, {"keys": lanes * number_format.key_width}, consumes, levels)
