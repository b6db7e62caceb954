"""Comparators of unsigned numbers, in forms that standard cells like."""

from amaranth.hdl import Const, Module, Mux, Value

from hw.logic import majority, named

__all__ = ["constant_not_less", "majority_not_less", "multiplexer_not_less"]


def majority_not_less(
    m: Module, name: str, first: Value, second: Value, if_equal: Value | None = None
) -> Value:
    """Whether ``first > second``, or they are equal and `if_equal` is 1, its default.

    A chain of majority gates from the lowest bit up, a gate and an inverter a bit: the smallest
    comparator that was measured in sky130.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Prefix of its wires.
    first, second
        The numbers, equally wide.
    if_equal
        The verdict on equal numbers.
    """
    verdict: Value = Const(1, 1) if if_equal is None else if_equal
    for bit in range(len(first)):
        verdict = named(m, f"{name}_{bit}", majority(first[bit], ~second[bit], verdict))
    return verdict


def multiplexer_not_less(m: Module, name: str, first: Value, second: Value) -> Value:
    """Whether ``first >= second``.

    A chain of multiplexers from the lowest bit up: where the bits differ, the first number's bit is
    the verdict, elsewhere the verdict of the bits below stands.  Larger than a chain of majority
    gates and faster once a mapper has balanced it; mapped to standard cells it is a sixth smaller
    than the comparator that yosys builds for ``>=``.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Of the wire that says where the bits differ.
    first, second
        The numbers, equally wide.
    """
    differ = named(m, name, first ^ second)
    verdict: Value = Const(1, 1)
    for bit in range(len(first)):
        verdict = Mux(differ[bit], first[bit], verdict)
    return verdict


def constant_not_less(number: Value, constant: int) -> Value:
    """Whether ``number >= constant``, for a constant of any size: a gate for each bit."""
    if constant <= 0:
        return Const(1, 1)
    if constant >> len(number):
        return Const(0, 1)
    lowest = (constant & -constant).bit_length() - 1
    verdict: Value = number[lowest]
    for place in range(lowest + 1, len(number)):
        bit = number[place]
        verdict = bit & verdict if constant >> place & 1 else bit | verdict
    return verdict
