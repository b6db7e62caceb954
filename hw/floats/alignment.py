"""Shifters of significands."""

from amaranth.hdl import Cat, Const, Module, Mux, Value

from hw.logic import named

__all__ = ["align", "shift_up"]


def align(m: Module, name: str, number: Value, distance: Value) -> tuple[Value, Value]:
    """``number >> distance``, and whether any bit that fell off was 1.

    One stage of multiplexers for each bit of the distance, the largest first: what it moves needs
    no multiplexers yet where zeros move in.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Prefix of its wires.
    number, distance
        Unsigned numbers.
    """
    width = len(number)
    sticky: Value = Const(0, 1)
    for stage in reversed(range(len(distance))):
        places = min(1 << stage, width)
        moves = distance[stage]
        sticky = named(m, f"{name}_sticky{stage}", sticky | (moves & number[:places].any()))
        shifted = Cat(number[places:], Const(0, places))
        number = named(m, f"{name}_by{1 << stage}", Mux(moves, shifted, number))
    return number, sticky


def shift_up(m: Module, name: str, number: Value, places: Value, size: int) -> tuple[Value, Value]:
    """The highest `size` bits of ``number << places``, as wide as the number; and any bit below.

    The largest places first; after each, the bits that no more reach the highest ones are or-ed.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Prefix of its wires.
    number, places
        Unsigned numbers; what falls off at the top is lost.
    size
        Bits of the result.
    """
    sticky: Value = Const(0, 1)
    for stage in reversed(range(len(places))):
        step = min(1 << stage, len(number))
        shifted = Cat(Const(0, step), number)[: len(number)]
        number = named(m, f"{name}_by{1 << stage}", Mux(places[stage], shifted, number))
        low = max(len(number) - size - (1 << stage) + 1, 0)
        sticky = named(m, f"{name}_sticky{stage}", sticky | number[:low].any())
        number = number[low:]
    return number, sticky
