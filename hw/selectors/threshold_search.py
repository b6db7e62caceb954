"""Threshold search: the keys' bits, most significant first, narrow down which lanes are kept."""

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Value

from hw.logic import any_of, named
from hw.pipeline import Bundle, Step
from hw.ranking import at_least
from hw.selectors.common import Selector

__all__ = ["ThresholdSearch"]


class ThresholdSearch(Selector):
    """Selector of little area and great depth: a bit of every key a step, the first one first.

    The keys are followed by the complement of the lane's number, so that no two are equal and the
    lower lane wins a tie.  Two bits a lane say what the bits so far do: it may be kept
    (``possible``, at first 1), it will be kept (``sure``, at first 0).  A step takes r bits; where
    they are b, and the sums are ors over v = 1 .. 2**r - 1, ::

        above[v]     = possible & (sure | b >= v)            above[0] = possible
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
            above = [possible]
            few: list[Value] = []
            for value in range(1, 1 << (end - start)):
                prefix = f"{start}_{value}"
                lanes_above: list[Value] = []
                for lane in lanes:
                    places = range(max(start, self.key_width), end)
                    bits = keys[lane][: end - start] + [self._index_bit(lane, p) for p in places]
                    may_be, will_be = possible[lane], sure[lane]
                    is_above = may_be & (will_be | _not_below(bits, value))
                    lanes_above.append(named(m, f"above{prefix}_{lane}", is_above))
                above.append(lanes_above)
                enough = at_least(m, f"enough{prefix}", lanes_above, self.n)
                few.append(named(m, f"few{prefix}", ~enough))

            def united(name: str, first: list[Value], rest: list[list[Value]]) -> list[Value]:
                """The lanes of `first`, and those of each of `rest` where there are few above."""
                results: list[Value] = []
                for lane in lanes:
                    gated = [
                        lane_bits[lane] & gate for lane_bits, gate in zip(rest, few, strict=True)
                    ]
                    results.append(named(m, f"{name}{end}_{lane}", any_of([first[lane], *gated])))
                return results

            kept = united("possible", above[-1], above[:-1])
            if is_last:
                return {"mask": kept}
            result: Bundle = {"possible": kept, "sure": united("sure", sure, above[1:])}
            if left:
                result["key_bits"] = [bit for key in keys for bit in key[end - start :]]
            return result

        return Step(compute, produces, consumes, 2 * self.m.bit_length() + 4)

    def _index_bit(self, lane: int, place: int) -> Value:
        """Bit behind the key: one of the lane's number, complemented."""
        planes = self.key_width + (self.m - 1).bit_length()
        return Const(~lane >> (planes - 1 - place) & 1, 1)


def _not_below(bits: Sequence[Value], value: int) -> Value:
    """Whether some bits, the most significant one first, are a number of at least `value`."""
    if not value:
        return Const(1, 1)
    rest = value & ((1 << (len(bits) - 1)) - 1)
    if value >> (len(bits) - 1):
        return bits[0] & _not_below(bits[1:], rest) if rest else bits[0]
    return bits[0] | _not_below(bits[1:], rest)
