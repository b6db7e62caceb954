"""Who of many lanes has at least so many ones: full adders, then sorted sums and carries.

A lane's bits are added three at a time.  That leaves S sum bits and C carry bits; a comparator
network of and and or gates sorts each kind, so that its k-th line says "at least k ones", and

    count >= t   iff   for some c:  at least c carries, and at least t - 2 c sums.

The last level of an adder tree is slow and mostly unused where only one threshold is asked for;
sorted lines need a gate a comparator and answer any threshold at once.
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest

from amaranth.hdl import Module, Value

from hw.logic import all_of, any_of, named
from hw.networks import sorting_network
from hw.pipeline import Bundle, Step

__all__ = ["at_least_steps"]

#: Estimated depth in two-input gates: of a full adder, of a layer of comparators.
_ADDER_LEVELS = 4
_LAYER_LEVELS = 1


def at_least_steps(
    name: str,
    *,
    lanes: int,
    input_count: int,
    threshold: int,
    bits: Callable[[Bundle], Sequence[Sequence[Value]]],
    consumes: tuple[str, ...] = (),
) -> list[Step]:
    """Steps to ``name``: for each lane one bit, whether at least `threshold` of its bits are ones.

    About input_count / 3 full adders and two sorting networks of as many lines in each lane.

    Parameters
    ----------
    name
        Name of the result.
    lanes
        Number of lanes.
    input_count
        Bits counted in each lane.
    threshold
        1 .. input_count.
    bits
        Finds them among the living values: for each lane its bits.
    consumes
        Values that only the count needs.
    """
    sizes = {"sum": -(-input_count // 3) + (input_count % 3 == 2), "carry": input_count // 3}
    total = sum(sizes.values())
    terms = f"{name}_terms"

    def lines(bundle: Bundle, lane: int) -> dict[str, list[Value]]:
        """The two kinds of bits of a lane."""
        start = lane * total
        middle = start + sizes["sum"]
        return {
            "sum": bundle[terms][start:middle],
            "carry": bundle[terms][middle : start + total],
        }

    def add(m: Module, bundle: Bundle) -> Bundle:
        result = []
        for lane, lane_bits in enumerate(bits(bundle)):
            sums: list[Value] = []
            carries: list[Value] = []
            for start in range(0, input_count, 3):
                three = list(lane_bits[start : start + 3])
                if len(three) < 3:
                    sums += three
                    continue
                a, b, c = three
                k = len(carries)
                sums.append(named(m, f"{name}_sum{lane}_{k}", a ^ b ^ c))
                carries.append(named(m, f"{name}_carry{lane}_{k}", (a & b) | ((a | b) & c)))
            result += sums + carries
        return {terms: result}

    def sort(number: int, comparators: dict[str, list[tuple[int, int]]]) -> Step:
        def compute(m: Module, bundle: Bundle) -> Bundle:
            result = []
            for lane in range(lanes):
                for kind, values in lines(bundle, lane).items():
                    values = list(values)
                    for i, j in comparators[kind]:
                        prefix = f"{name}_{kind}{lane}_layer{number}"
                        either = named(m, f"{prefix}_{i}", values[i] | values[j])
                        both = named(m, f"{prefix}_{j}", values[i] & values[j])
                        values[i], values[j] = either, both
                    result += values
            return {terms: result}

        return Step(compute, {terms: lanes * total}, (), _LAYER_LEVELS)

    def decide(m: Module, bundle: Bundle) -> Bundle:
        result = []
        for lane in range(lanes):
            kinds = lines(bundle, lane)
            cases = []
            for count in range(sizes["carry"] + 1):
                rest = max(0, threshold - 2 * count)
                if rest > sizes["sum"]:
                    continue
                needed = [kinds["carry"][count - 1]] if count else []
                needed += [kinds["sum"][rest - 1]] if rest else []
                cases.append(all_of(needed))
                if not rest:
                    break
            result.append(named(m, f"{name}{lane}", any_of(cases)))
        return {name: result}

    networks = {kind: sorting_network(size) for kind, size in sizes.items()}
    layers = zip_longest(*networks.values(), fillvalue=[])
    return [
        Step(add, {terms: lanes * total}, consumes, _ADDER_LEVELS),
        *(
            sort(number, dict(zip(networks, layer, strict=True)))
            for number, layer in enumerate(layers)
        ),
        Step(decide, {name: lanes}, (terms,), 1 + sizes["carry"].bit_length()),
    ]
