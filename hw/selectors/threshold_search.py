"""Threshold search: the keys' bits, most significant first, narrow down which lanes are kept."""

from collections.abc import Iterator, Sequence
from itertools import count

from amaranth.hdl import Const, Module, Mux, Value

from hw.pipeline import Bundle, Step, any_of, named
from hw.selectors.common import Selector

__all__ = ["ThresholdSearch", "all_of", "at_least"]

#: Lanes up to which sorting bits costs less than adding them.
_SORTED_LANES = 16


def all_of(values: Sequence[Value]) -> Value:
    """Bitwise and of all values, as a balanced tree."""
    values = list(values)
    while len(values) > 1:
        pairs = [values[i : i + 2] for i in range(0, len(values), 2)]
        values = [pair[0] & pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return values[0]


def at_least(m: Module, name: str, bits: Sequence[Value], threshold: int) -> Value:
    """Whether `threshold` or more of some bits are 1.

    Up to 16 bits are sorted in two halves: a comparator of two bits is an and and an or, a third of
    the area of a full adder.  Then at least n bits are 1 iff for some i at least i of one half and
    n - i of the other are.  More bits are added, carries kept apart, with a constant that moves the
    threshold to a power of two, so that the sum's low bits need not be known: 16 bits are two
    columns of adders, and a pair of ones among four carries.

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
    bits = list(bits)
    if len(bits) <= _SORTED_LANES:
        return named(m, name, _sorted_at_least(m, name, bits, threshold))
    return named(m, name, _added_at_least(m, name, bits, threshold))


def _sorted_at_least(m: Module, name: str, bits: list[Value], threshold: int) -> Value:
    middle = (len(bits) + 1) // 2
    first = _sort(m, f"{name}_a", bits[:middle])
    second = _sort(m, f"{name}_b", bits[middle:])
    ways = []
    for i in range(max(0, threshold - len(second)), min(threshold, len(first)) + 1):
        both = ([first[i - 1]] if i else []) + (
            [second[threshold - i - 1]] if i < threshold else []
        )
        ways.append(all_of(both))
    return any_of(ways)


def _exchanges(size: int) -> Iterator[tuple[int, int]]:
    """Places that Batcher's merge exchange compares, in order (Knuth, volume 3, 5.2.2 M)."""
    top = 1 << max(size - 1, 1).bit_length() - 1
    p = top
    while p:
        q, r, d = top, 0, p
        while True:
            yield from ((i, i + d) for i in range(size - d) if i & p == r)
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1


def _sort(m: Module, name: str, bits: list[Value]) -> list[Value]:
    """The bits, ones first: element i says that more than i are 1."""
    bits = list(bits)
    for number, (i, j) in enumerate(_exchanges(len(bits))):
        larger = named(m, f"{name}_or{number}", bits[i] | bits[j])
        smaller = named(m, f"{name}_and{number}", bits[i] & bits[j])
        bits[i], bits[j] = larger, smaller
    return bits


def _added_at_least(m: Module, name: str, bits: list[Value], threshold: int) -> Value:
    # At least `threshold` ones iff fewer than the others' number of zeros: what adds less.
    dual = len(bits) - threshold + 1
    if dual < threshold:
        return ~_added_at_least(m, name, [~bit for bit in bits], dual)
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


class ThresholdSearch(Selector):
    """Selector of little area and great depth: a bit of every key a step, the first one first.

    The keys are followed by the complement of the lane's number, so that no two are equal and the
    lower lane wins a tie.  Two bits a lane say what the bits so far do: it may be kept
    (``possible``, at first 1), it will be kept (``sure``, at first 0).  A step takes r bits; where
    they are b, and the sums are ors over v = 1 .. 2**r - 1, ::

        above[v]     = sure | possible & (b >= v)            above[0] = possible
        enough[v]    = N lanes or more have above[v] = 1
        possible_new = above[2**r - 1] | sum(above[v - 1] & ~enough[v])
        sure_new     = sure            | sum(above[v]     & ~enough[v])

    which are the lanes not below, and above, the r bits that the N-th largest key has here.  After
    the last bit the N possible lanes are the mask.

    For S = ceil((key_width + ceil(log2 M)) / r) steps the area is about S * (2**r - 1) counts of M
    bits, each about 2.5 M gates, and 5 M gates beside each; the depth about 2 log2(M) + 4 gates a
    step.  Registers hold 2 M bits and those of the keys that are still to come.

    Parameters
    ----------
    n, m, key_width, stages
        As in `Selector`.
    bits_per_step
        r: more means fewer steps with more counts side by side.
    """

    def __init__(
        self, *, n: int, m: int, key_width: int, stages: int = 1, bits_per_step: int = 1
    ) -> None:
        super().__init__(n=n, m=m, key_width=key_width, stages=stages)
        self.bits_per_step = bits_per_step

    def steps(self) -> list[Step]:
        """One for every `bits_per_step` bits; the first may have fewer."""
        planes = self.key_width + (self.m - 1).bit_length()
        ends = range(planes, 0, -self.bits_per_step)
        spans = [(max(0, end - self.bits_per_step), end) for end in reversed(ends)]
        return [self._step(start, end, is_last=end == planes) for start, end in spans]

    def _step(self, start: int, end: int, *, is_last: bool) -> Step:
        """Bits `start` to `end`, counted from the most significant one."""
        left = max(0, self.key_width - end)
        produces = {"mask": self.m} if is_last else {"possible": self.m, "sure": self.m}
        if left:
            produces["key_bits"] = self.m * left
        consumes = ("keys",) if start == 0 else ("key_bits", "possible", "sure")

        def compute(m: Module, bundle: Bundle) -> Bundle:
            lanes = range(self.m)
            # The bits of each lane that are left, the first one first.
            if start == 0:
                keys = [list(reversed(list(key))) for key in bundle["keys"]]
                possible: list[Value] = [Const(1, 1)] * self.m
                sure: list[Value] = [Const(0, 1)] * self.m
            else:
                flat, size = bundle.get("key_bits", []), max(0, self.key_width - start)
                keys = [flat[lane * size : (lane + 1) * size] for lane in lanes]
                possible, sure = bundle["possible"], bundle["sure"]
            bits = [
                [
                    keys[lane][place - start]
                    if place < self.key_width
                    else Const(
                        ~lane >> (self.key_width + (self.m - 1).bit_length() - 1 - place) & 1, 1
                    )
                    for place in range(start, end)
                ]
                for lane in lanes
            ]
            above = [possible]
            few: list[Value] = []
            for value in range(1, 1 << (end - start)):
                above.append(
                    [
                        named(
                            m,
                            f"above{start}_{value}_{lane}",
                            sure[lane] | (possible[lane] & _not_below(bits[lane], value)),
                        )
                        for lane in lanes
                    ]
                )
                enough = at_least(m, f"enough{start}_{value}", above[value], self.n)
                few.append(named(m, f"few{start}_{value}", ~enough))

            def narrowed(
                name: str, first: Sequence[Value], sets: Sequence[Sequence[Value]]
            ) -> list[Value]:
                return [
                    named(
                        m,
                        f"{name}{end}_{lane}",
                        any_of(
                            [first[lane], *(s[lane] & f for s, f in zip(sets, few, strict=True))]
                        ),
                    )
                    for lane in lanes
                ]

            result: Bundle = {
                "mask" if is_last else "possible": narrowed("possible", above[-1], above[:-1])
            }
            if not is_last:
                result["sure"] = narrowed("sure", sure, above[1:])
            if left:
                result["key_bits"] = [bit for key in keys for bit in key[end - start :]]
            return result

        return Step(compute, produces, consumes, 2 * self.m.bit_length() + 4)


def _not_below(bits: Sequence[Value], value: int) -> Value:
    """Whether some bits, the most significant one first, are a number of at least `value`."""
    if not value:
        return Const(1, 1)
    rest = value & ((1 << (len(bits) - 1)) - 1)
    if value >> (len(bits) - 1):
        return bits[0] & _not_below(bits[1:], rest) if rest else bits[0]
    return bits[0] | _not_below(bits[1:], rest)
