"""Shifters of significands: down with a sticky bit, and up until the leading bit is 1."""

from amaranth.hdl import Cat, Const, Module, Mux, Value

from hw.logic import named

__all__ = ["align", "normalize_above"]


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


def normalize_above(m: Module, name: str, number: Value, limit: Value) -> tuple[Value, Value]:
    """The number shifted up until its highest bit is 1, but at most `limit` places, and how many.

    One stage of multiplexers for each power of two below the width, the largest first.  A stage
    moves if the bits that would fall off are zero and the limit allows it: its bits so far are more
    than those of the count so far, or the next one is 1.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Prefix of its wires.
    number, limit
        Unsigned numbers.
    """
    width = len(number)
    stages = (width - 1).bit_length()
    is_below: Value = named(m, f"{name}_is_far_below", limit[stages:].any())
    count: list[Value] = []
    for stage in reversed(range(stages)):
        places = min(1 << stage, width)
        allowed = limit[stage] if stage < len(limit) else Const(0, 1)
        is_zero = ~number[width - places :].any()
        moves = named(m, f"{name}_moves{stage}", (is_below | allowed) & is_zero)
        is_below = named(m, f"{name}_is_below{stage}", is_below | (allowed & ~moves))
        shifted = Cat(Const(0, places), number)[:width]
        number = named(m, f"{name}_by{1 << stage}", Mux(moves, shifted, number))
        count.insert(0, moves)
    return number, Cat(count)
