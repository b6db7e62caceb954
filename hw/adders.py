"""Adders, in forms that standard cells like."""

from amaranth.hdl import Cat, Module, Value

from hw.logic import majority, named

__all__ = ["ripple_add"]


def ripple_add(
    m: Module, name: str, first: Value, second: Value, carry: Value
) -> tuple[Value, Value]:
    """``first + second + carry``: the sum, as wide as the terms, and the carry out of it.

    A chain of full adders.  Mappers for speed take it apart: in sums of floating-point numbers it
    is then a tenth smaller than the look-ahead adder that yosys builds for ``+``, and as fast up to
    some sixteen bits.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Prefix of its wires.
    first, second
        The terms, equally wide.
    carry
        Into the lowest place.
    """
    total = []
    for place in range(len(first)):
        one, other = first[place], second[place]
        total.append(named(m, f"{name}_{place}", one ^ other ^ carry))
        carry = named(m, f"{name}_carry{place}", majority(one, other, carry))
    return Cat(total), carry
