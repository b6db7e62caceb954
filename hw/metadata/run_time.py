"""Metadata of a pattern, or a number of kept lanes, that is chosen at run time."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Value

from hw.logic import any_of, named
from hw.pipeline import Bundle, Step, side_by_side

__all__ = ["run_time_groups", "run_time_index"]


def run_time_groups(
    patterns: Sequence[tuple[int, Sequence[Step]]], *, lanes: int, width: int
) -> list[Step]:
    """From ``mask`` and ``listed`` to ``meta``: the codes of all groups, end to end.

    Every group of every pattern has an encoder of its own; what is left of the metadata, and all of
    it where no pattern has the number ``listed``, is 0.

    Parameters
    ----------
    patterns
        For each pattern the size of its groups, and the steps from the ``mask`` of one group to its
        ``meta``.
    lanes
        Lanes side by side.
    width
        Bits of the metadata.
    """
    groups = [
        (f"pattern{number}_group{start // m}", start, m, steps)
        for number, (m, steps) in enumerate(patterns)
        for start in range(0, lanes, m)
    ]

    def divide(_: Module, bundle: Bundle) -> Bundle:
        mask = bundle["mask"]
        return {f"{name}.mask": mask[start : start + m] for name, start, m, _ in groups}

    def choose(module: Module, bundle: Bundle) -> Bundle:
        cases: list[list[Value]] = [[] for _ in range(width)]
        for number, (m, _) in enumerate(patterns):
            here = named(module, f"meta_of_{number}", bundle["listed"][0] == number)
            codes = [bundle[f"pattern{number}_group{k}.meta"] for k in range(lanes // m)]
            bits = Cat(*(field for code in codes for field in code))
            for place, bit in enumerate(bits):
                cases[place].append(bit & here)
        return {"meta": [named(module, f"meta{k}", any_of(bits)) for k, bits in enumerate(cases)]}

    encoded = side_by_side({name: steps for name, _, _, steps in groups})
    masks = {f"{name}.mask": m for name, _, m, _ in groups}
    spent = ("listed", *(f"{name}.meta" for name, _, _, _ in groups))
    return [
        Step(divide, masks, (), levels=0),
        *encoded,
        Step(choose, {"meta": width}, spent, levels=4),
    ]


def run_time_index(
    *, patterns: Sequence[tuple[int, int]], lanes: int, width: int, window: int
) -> Step:
    """From ``select`` (see `hw.slots`) and ``listed`` to ``meta``: the groups' lists, end to end.

    With pattern n:m in force, the field of slot k is the lane within its group of m, in
    ceil(log2 m) bits from bit k * ceil(log2 m) on; what is left of the metadata is 0.

    Parameters
    ----------
    patterns
        All (n, m); ``listed`` is the number of the one in force.
    lanes
        Lanes side by side.
    width
        Bits of the metadata.
    window
        Lanes that one slot's part of ``select`` has room for.
    """
    # Where all sizes are powers of two, a field is the low bits of the lane's number in all
    # patterns, and they share its gates.
    shared = all(m & (m - 1) == 0 for _, m in patterns)

    def compute(module: Module, bundle: Bundle) -> Bundle:
        select = bundle["select"]
        made: dict[tuple[tuple[int, int], ...], Value] = {}

        def chosen(places: list[tuple[int, int]]) -> Value:
            """Whether one of some (slot, lane) is taken."""
            key = tuple(places)
            if key not in made:
                bits = [select[slot * window + lane - slot] for slot, lane in places]
                made[key] = named(module, f"listed{len(made)}", any_of(bits))
            return made[key]

        cases: list[list[Value]] = [[] for _ in range(width)]
        for number, (n, m) in enumerate(patterns):
            field_width = (m - 1).bit_length()
            in_force: Value = Const(1, 1)
            if len(patterns) > 1:
                in_force = named(module, f"list_is_{number}", bundle["listed"][0] == number)
            for slot in range(lanes // m * n):
                first = 0 if shared else slot // n * m
                last = lanes if shared else first + m
                reach = range(max(slot, first), min(slot + window, last))
                for bit in range(field_width):
                    places = [(slot, lane) for lane in reach if (lane - first) >> bit & 1]
                    if places:
                        cases[slot * field_width + bit].append(in_force & chosen(places))
        return {
            "meta": [
                named(module, f"meta{place}", any_of(bits)) if bits else Const(0, 1)
                for place, bits in enumerate(cases)
            ]
        }

    spent = ("listed",) if len(patterns) > 1 else ()
    return Step(compute, {"meta": width}, spent, levels=6)
