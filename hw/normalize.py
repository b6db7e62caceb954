"""Normalizer: leading zeros counted and shifted out."""

from amaranth.hdl import Cat, Const, Module, Mux, Value

from hw.logic import named

__all__ = ["normalize"]


def normalize(
    m: Module, name: str, number: Value, limit: Value | None = None
) -> tuple[Value, Value]:
    """The number shifted up until its highest bit is 1, and by how many places.

    One stage of multiplexers for each power of two below the width, the largest first.  Of 0 the
    shifted number is 0 and the count unspecified, though not above the limit.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Prefix of its wires.
    number
        The number.
    limit
        The largest number of places, where there is one.
    """
    moved: list[Value] = []
    stages = (len(number) - 1).bit_length()
    is_less: Value = Const(1, 1)
    if limit is not None:
        is_less = named(m, f"{name}_is_less{stages}", limit[stages:].any())
    for stage in reversed(range(stages)):
        places = 1 << stage
        moves = named(m, f"{name}_top{places}", ~number[-places:].any())
        if limit is not None:
            # The bits of the count so far are never more than those of the limit: either less, and
            # all is allowed, or the same, and the limit's next bit decides.
            bit = limit[stage] if stage < len(limit) else Const(0, 1)
            moves = named(m, f"{name}_moves{stage}", moves & (is_less | bit))
            is_less = named(m, f"{name}_is_less{stage}", is_less | (bit & ~moves))
        shifted = Cat(Const(0, places), number[:-places])
        number = named(m, f"{name}_by{places}", Mux(moves, shifted, number))
        moved.insert(0, moves)
    return number, Cat(moved)
