"""Counting ones with a tree of adders, one level a step."""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

from amaranth.hdl import Module, Signal, Value

from hw.pipeline import Bundle, Step

__all__ = ["count_steps"]

#: Estimated depth of a small adder in two-input gates.
_LEVELS = 4


def count_steps(
    name: str,
    *,
    lanes: int,
    input_count: int,
    bits: Callable[[Bundle], Sequence[Sequence[Value]]],
    consumes: tuple[str, ...] = (),
) -> list[Step]:
    """Steps that count ones, for many lanes side by side.

    The first level adds three bits, a full adder; the others add pairs of counts.  Mappers that
    merge adders see one sum of `input_count` bits where no register stands between levels.

    Parameters
    ----------
    name
        Name of the result: one count a lane, `lanes` of them of ``input_count.bit_length()`` bits.
    lanes
        Number of counts.
    input_count
        Bits counted in each lane, at least 1.
    bits
        Finds them among the living values: for each lane its bits.
    consumes
        Values that only the count needs.
    """
    result_width = input_count.bit_length()

    def width_of(largest: int) -> int:
        return min(largest.bit_length(), result_width)

    def level(number: int, count: int, largest: int, arity: int) -> Step:
        """Add `arity` at a time of `count` terms a lane, none of them above `largest`."""
        is_last = count <= arity
        following = width_of(largest * min(arity, count))
        result = name if is_last else f"{name}_level{number}"
        before = f"{name}_level{number - 1}"

        def compute(m: Module, bundle: Bundle) -> Bundle:
            if number:
                terms = [bundle[before][i : i + count] for i in range(0, lanes * count, count)]
            else:
                terms = [list(lane_bits) for lane_bits in bits(bundle)]
            sums: list[Value] = []
            for lane in range(lanes):
                for i in range(0, count, arity):
                    total = Signal(following, name=f"{result}_{lane}_{i // arity}")
                    m.d.comb += total.eq(reduce(add, terms[lane][i : i + arity]))
                    sums.append(total)
            return {result: sums}

        terms_left = -(-count // arity)
        return Step(
            compute,
            {result: lanes * terms_left * following},
            consumes if number == 0 else (before,),
            _LEVELS,
        )

    steps = [level(0, input_count, 1, 3)]
    count, largest = -(-input_count // 3), min(3, input_count)
    while count > 1:
        steps.append(level(len(steps), count, largest, 2))
        count, largest = -(-count // 2), 2 * largest
    return steps
