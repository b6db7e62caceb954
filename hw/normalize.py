"""Normalizer: leading zeros counted and shifted out."""

from amaranth.hdl import Cat, Const, Module, Mux, Value

from hw.logic import named

__all__ = ["normalize"]


def normalize(m: Module, name: str, number: Value) -> tuple[Value, Value]:
    """The number shifted up until its highest bit is 1, and by how many places.

    One stage of multiplexers for each power of two below the width, the largest first.  Of 0 the
    shifted number is 0 and the count unspecified.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Prefix of its wires.
    number
        The number.
    """
    zeros: list[Value] = []
    for step in reversed(range((len(number) - 1).bit_length())):
        places = 1 << step
        is_zero = named(m, f"{name}_top{places}", ~number[-places:].any())
        shifted = Cat(Const(0, places), number[:-places])
        number = named(m, f"{name}_by{places}", Mux(is_zero, shifted, number))
        zeros.insert(0, is_zero)
    return number, Cat(zeros)
