"""Compare matrix: every pair of lanes is compared, and each lane counts who beats it."""

from collections.abc import Sequence
from itertools import combinations

from amaranth.hdl import Cat, Const, Module, Value

from hw.counting import CarrySaveCount, Columns, majority
from hw.pipeline import Bundle, Step, any_of
from hw.selectors.common import Selector

__all__ = ["CompareMatrix"]


class CompareMatrix(Selector):
    """Fast selector: M(M-1)/2 comparators, then M counts of M-1 bits against N.

    One comparator serves both lanes of a pair i < j: ``key_i >= key_j`` says that i beats j, its
    complement that j beats i, which is the tie rule at no cost.

    The count is never finished.  With p = ceil(log2 N), a lane has N or more that beat it iff
    ``count + 2**p - N`` reaches 2**p: a carry-save tree adds up the weights below 2**p and any
    carry out of them drops the lane.

    Area about M(M-1)/2 comparators of `key_width` majority gates and M times M-1 full adders; depth
    about log2(key_width) + log1.5(M/2) adder levels.
    """

    def steps(self) -> list[Step]:
        """The comparison and, level by level of the carry-save tree, the count."""
        if self.n == self.m:
            return [Step(self._keep_all, ("keys",), levels=0)]
        carry_weight = (self.n - 1).bit_length()
        count = CarrySaveCount(
            "rank",
            input_count=self.m - 1,
            lanes=self.m,
            constant=(1 << carry_weight) - self.n,
            cap=carry_weight,
        )
        compare_levels = 2 * self.key_width.bit_length() + 1
        return [
            Step(self._compare, ("keys",), compare_levels),
            *count.steps(self._beaten_by, self._threshold, ("not_less",)),
        ]

    def _keep_all(self, m: Module, bundle: Bundle) -> Bundle:  # noqa: ARG002 - a step's signature
        return {"mask": Const((1 << self.m) - 1, self.m)}

    def _compare(self, m: Module, bundle: Bundle) -> Bundle:  # noqa: ARG002 - a step's signature
        """``not_less``: for each pair i < j, in lexicographic order, whether key_i >= key_j.

        All pairs at once, bit by bit from the lowest: a majority gate passes the verdict of the
        lower bits on where the two bits are equal.
        """
        pairs = list(combinations(range(self.m), 2))
        keys = bundle["keys"]
        not_less: Value = Const((1 << len(pairs)) - 1, len(pairs))
        for bit in range(self.key_width):
            first = Cat(keys[i * self.key_width + bit] for i, _ in pairs)
            second = Cat(keys[j * self.key_width + bit] for _, j in pairs)
            not_less = majority(first, ~second, not_less)
        return {"not_less": not_less}

    def _beaten_by(self, bundle: Bundle) -> list[Value]:
        """M - 1 vectors; bit j of vector r: lane (j + r + 1) mod M beats lane j."""
        position = {pair: p for p, pair in enumerate(combinations(range(self.m), 2))}
        beaten_by = []
        for distance in range(1, self.m):
            others = [(lane + distance) % self.m for lane in range(self.m)]
            verdicts = Cat(
                bundle["not_less"][position[min(lane, other), max(lane, other)]]
                for lane, other in enumerate(others)
            )
            higher = sum(1 << lane for lane, other in enumerate(others) if other > lane)
            beaten_by.append(verdicts ^ Const(higher, self.m))
        return beaten_by

    def _threshold(self, columns: Columns) -> Bundle:
        """Kept iff nothing carries out of the weights below the threshold."""
        carry: Value = Const(0, self.m)
        *added, over = columns
        for column in added:
            a, b = _pair(column, self.m)
            carry = majority(a, b, carry)
        return {"mask": ~any_of([*over, carry])}


def _pair(column: Sequence[Value], width: int) -> list[Value]:
    """The column's values, filled up with zeros to two."""
    return [*column, *[Const(0, width)] * (2 - len(column))]
