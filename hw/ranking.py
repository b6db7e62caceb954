"""Who of many lanes has at least so many ones.

Two ways.  **Added**: full adders that keep carries apart, with a constant that moves the threshold
to a power of two, so that of the sum only one bit is needed.  It is the smaller one, and the faster
one in a long path of gates.

**Sorted**: the bits are added three at a time, once.  That leaves S sum bits and C carry bits; a
comparator network of and and or gates sorts each kind, so that its k-th line says "at least k
ones", and

    count >= t   iff   for some c:  at least c carries, and at least t - 2 c sums.

It is the faster one between registers, and has many places to cut.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import count, zip_longest
from operator import xor

from amaranth.hdl import Const, Module, Mux, Value

from hw.logic import all_of, any_of, majority, named
from hw.networks import sorting_network
from hw.pipeline import Bundle, Step

__all__ = ["added_at_least", "at_least", "at_least_steps", "sort_bits"]

#: Estimated depth in two-input gates: of a full adder, of a layer of comparators.
_ADDER_LEVELS = 4
_LAYER_LEVELS = 1


def added_at_least(m: Module, name: str, bits: Sequence[Value], threshold: int) -> Value:
    """Whether at least `threshold` of some bits are ones, by adding them.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Prefix of its wires.
    bits
        The bits, fewer than twice the next power of two from the threshold on.
    threshold
        1 .. number of bits.
    """
    top = (threshold - 1).bit_length()
    missing = (1 << top) - threshold
    column = list(bits)
    for weight in range(top):
        carries: list[Value] = []
        # The constant's bit goes into the first adder, where it costs nothing.
        one = bool(missing >> weight & 1)
        k = 0
        while len(column) + one > 1:
            taken, column = column[: 3 - one], column[3 - one :]
            prefix = f"{name}_{weight}_{k}"
            carries.append(named(m, f"{prefix}_carry", _carry(taken, one)))
            # The last sum of a column decides nothing.
            if column:
                total = reduce(xor, taken) if not one else ~reduce(xor, taken)
                column.append(named(m, f"{prefix}_sum", total))
            one = False
            k += 1
        column = carries
    return any_of(column)


def _carry(bits: Sequence[Value], one: bool) -> Value:
    """Whether at least two of up to three bits, of which one may be a constant 1, are ones."""
    if one:
        return any_of(bits)
    if len(bits) < 3:
        return all_of(bits)
    return majority(*bits)


def _exchange(
    m: Module, name: str, bits: Sequence[Value], comparators: Sequence[tuple[int, int]]
) -> list[Value]:
    """The bits behind one layer of comparators: the or on the first line, the and on the other."""
    result = list(bits)
    for i, j in comparators:
        either = named(m, f"{name}_{i}", result[i] | result[j])
        both = named(m, f"{name}_{j}", result[i] & result[j])
        result[i], result[j] = either, both
    return result


def sort_bits(m: Module, name: str, bits: Sequence[Value]) -> list[Value]:
    """The bits, ones first: element k says that more than k are 1.

    An exchange of two bits is an and and an or, a third of a full adder.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Prefix of its wires.
    bits
        The bits.
    """
    result = list(bits)
    for number, layer in enumerate(sorting_network(len(result))):
        result = _exchange(m, f"{name}_{number}", result, layer)
    return result


def at_least(m: Module, name: str, bits: Sequence[Value], threshold: int) -> Value:
    """Whether `threshold` or more of some bits are 1.

    They are added, carries kept apart, with a constant that moves the threshold to a power of two:
    then the low bits of the sum are never formed, only their carries.  8 of 16 are six adders and
    two carries, two adders and two carries, and a pair of ones among four.  In a search at 8:16
    that is 12 % less area than `added_at_least`, which in turn is the faster one behind a compare
    matrix.

    Parameters
    ----------
    m
        Takes the logic.
    name
        Prefix of its wires.
    bits
        The bits.
    threshold
        1 to the number of bits.
    """
    return named(m, name, _at_least(m, name, list(bits), threshold))


def _at_least(m: Module, name: str, bits: list[Value], threshold: int) -> Value:
    # At least `threshold` ones iff fewer than the others' number of zeros: what adds less.
    dual = len(bits) - threshold + 1
    if dual < threshold:
        return ~_at_least(m, name, [~bit for bit in bits], dual)
    width = (threshold - 1).bit_length()
    constant = (1 << width) - threshold
    number = count()
    column = bits
    for place in range(width):
        carries: list[Value] = []
        column = list(column)
        one = bool(constant >> place & 1)
        last = place == width - 1
        if last and not one:
            return _pair(column)
        if last:
            return any_of(column)
        while len(column) > 1 - one:
            prefix = f"{name}_{next(number)}"
            if one:
                # The constant is one of the three that are added.
                a, b = column.pop(0), (column.pop(0) if column else Const(0, 1))
                carries.append(named(m, f"{prefix}_carry", a | b))
                column.append(named(m, f"{prefix}_sum", ~(a ^ b)))
                one = False
            elif len(column) == 2:
                carries.append(named(m, f"{prefix}_carry", column[0] & column[1]))
                break
            elif len(column) == 4:
                # The sum is not needed: two carries.
                carries.append(named(m, f"{prefix}_two", _pair(column)))
                carries.append(named(m, f"{prefix}_four", all_of(column)))
                break
            else:
                a, b, c = (column.pop(0) for _ in range(3))
                differ = named(m, f"{prefix}_differ", a ^ b)
                carries.append(named(m, f"{prefix}_carry", Mux(differ, c, a)))
                column.append(named(m, f"{prefix}_sum", differ ^ c))
        column = carries
    return any_of(column)


def _pair(bits: Sequence[Value]) -> Value:
    """Whether two or more of some bits are 1."""
    if len(bits) < 2:
        return Const(0, 1)
    first, second = bits[: len(bits) // 2], bits[len(bits) // 2 :]
    return any_of([_pair(first), _pair(second), any_of(first) & any_of(second)])


def at_least_steps(
    name: str,
    *,
    lanes: int,
    input_count: int,
    threshold: int,
    bits: Callable[[Bundle], Sequence[Sequence[Value]]],
    consumes: tuple[str, ...] = (),
    added: bool = False,
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
    added
        Whether the bits are all added, in one step, instead of added once and sorted.
    """
    if added:

        def count(m: Module, bundle: Bundle) -> Bundle:
            return {
                name: [
                    named(m, f"{name}{lane}", added_at_least(m, f"{name}{lane}", own, threshold))
                    for lane, own in enumerate(bits(bundle))
                ]
            }

        return [Step(count, {name: lanes}, consumes, 4 * input_count.bit_length())]
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
                carries.append(named(m, f"{name}_carry{lane}_{k}", majority(a, b, c)))
            result += sums + carries
        return {terms: result}

    def sort(number: int, comparators: dict[str, list[tuple[int, int]]]) -> Step:
        def compute(m: Module, bundle: Bundle) -> Bundle:
            result = []
            for lane in range(lanes):
                for kind, values in lines(bundle, lane).items():
                    prefix = f"{name}_{kind}{lane}_layer{number}"
                    result += _exchange(m, prefix, values, comparators[kind])
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
