"""Compare matrix: every pair of lanes is compared, and each lane counts whom it beats."""

from collections.abc import Sequence
from itertools import combinations

from amaranth.hdl import Const, Module, Value

from hw.comparators import multiplexer_not_less
from hw.logic import named
from hw.pipeline import Bundle, Step
from hw.ranking import at_least_steps
from hw.selectors.common import Selector

__all__ = ["SORTED_STAGES", "CompareMatrix", "comparison", "keep_all", "pairs", "wins"]


#: From so many register stages on the sorted count is the better one; measured at 8:16.
SORTED_STAGES = 2


def pairs(m: int) -> list[tuple[int, int]]:
    """All pairs of lanes, the lower one first, in lexicographic order."""
    return list(combinations(range(m), 2))


def comparison(m: int, key_width: int) -> Step:
    """From ``keys`` to ``not_less``: for each of `pairs` whether key_i >= key_j."""

    def compute(module: Module, bundle: Bundle) -> Bundle:
        keys = bundle["keys"]
        # One wire a pair: event-driven simulators read a bit of a wide vector by waking all of its
        # readers.
        verdicts = []
        for i, j in pairs(m):
            verdict = multiplexer_not_less(module, f"differ_{i}_{j}", keys[i], keys[j])
            verdicts.append(named(module, f"not_less_{i}_{j}", verdict))
        return {"not_less": verdicts}

    return Step(compute, {"not_less": len(pairs(m))}, ("keys",), levels=4 * key_width.bit_length())


def wins(m: int, not_less: Sequence[Value]) -> list[list[Value]]:
    """For each lane, one bit for each other lane, in ascending order: whether it beats that one.

    One comparator serves both: ``key_i >= key_j`` says that i beats j, its complement that j beats
    i, which is the tie rule at no cost.
    """
    verdicts = dict(zip(pairs(m), not_less, strict=True))
    return [
        [
            verdicts[lane, other] if lane < other else ~verdicts[other, lane]
            for other in range(m)
            if other != lane
        ]
        for lane in range(m)
    ]


def keep_all(m: int) -> Step:
    """All lanes are kept, whatever the keys."""
    return Step(lambda *_: {"mask": [Const(1, 1)] * m}, {"mask": m}, ("keys",), levels=0)


class CompareMatrix(Selector):
    """Fast selector: M(M-1)/2 comparators, and for each lane a count of M-1 bits.

    A lane is kept iff it beats at least M - N others; `hw.ranking` has two ways to find out, of
    which the sorted one is used between registers.

    Area about M(M-1)/2 * key_width multiplexers and, in each lane, M full adders, or (M-1) / 3 of
    them and two sorting networks of as many lines.  Depth about 2 log2(key_width) gates for the
    comparison once a mapper has balanced the chains, and 4 log2(M) for the count.  Any number of
    register stages; the cuts that pay stand after the comparison and after the full adders.
    """

    def steps(self) -> list[Step]:
        """The comparison; the count; the verdict."""
        if self.n == self.m:
            return [keep_all(self.m)]
        return [
            comparison(self.m, self.key_width),
            *at_least_steps(
                "mask",
                lanes=self.m,
                input_count=self.m - 1,
                threshold=self.m - self.n,
                bits=lambda bundle: wins(self.m, bundle["not_less"]),
                consumes=("not_less",),
                added=self.stages < SORTED_STAGES,
            ),
        ]
