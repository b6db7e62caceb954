"""Magnitude keys of activations."""

from amaranth.hdl import Module, Mux

from hw.formats import NumberFormat
from hw.logic import named
from hw.pipeline import Bundle, Step

__all__ = ["key_step"]


def key_step(
    number_format: NumberFormat,
    lanes: int,
    *,
    key_width: int | None = None,
    consumes: tuple[str, ...] = (),
) -> Step:
    """``data`` to ``keys``, lane by lane: see `hw.formats` for what a key is.

    Float formats: the bits below the sign, no logic.  Integers: the absolute value, exact for the
    most negative one too.  Of each key the leading `key_width` bits, None: all.
    """
    kept_width = number_format.key_width if key_width is None else key_width
    cut = number_format.key_width - kept_width
    width = number_format.width
    is_integer = number_format.kind == "int"

    def compute(m: Module, bundle: Bundle) -> Bundle:
        if not is_integer:
            return {"keys": [value[cut : number_format.key_width] for value in bundle["data"]]}
        return {
            "keys": [
                named(m, f"key{lane}", Mux(value[-1], -value, value)[cut:width])
                for lane, value in enumerate(bundle["data"])
            ]
        }

    levels = width.bit_length() + 2 if is_integer else 0
    return Step(compute, {"keys": lanes * kept_width}, consumes, levels)
