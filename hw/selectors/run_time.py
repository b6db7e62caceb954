"""Compare matrices that are told the pattern, or N, with every group."""

from collections.abc import Iterable, Sequence
from functools import cached_property

from amaranth.hdl import Const, Module, Mux, Value

from hw.counting import count_steps
from hw.logic import any_of, named
from hw.pipeline import Bundle, Step
from hw.ranking import at_least_steps
from hw.selectors.common import Selector
from hw.selectors.compare_matrix import SORTED_STAGES, comparison, keep_all, pairs, wins

__all__ = ["AnyNMatrix", "FlexibleMatrix"]


class AnyNMatrix(Selector):
    """Any N of M: ``n`` says with every group how many lanes are kept.

    A lane is kept iff fewer than ``n`` beat it, and none is if ``n`` is more than M.  The count of
    each lane is a number, compared with ``n``: M full adder trees of M-1 bits.
    """

    def steps(self) -> list[Step]:
        """The comparison; the count, level by level; the verdict."""
        return [
            comparison(self.m, self.key_width),
            *count_steps(
                "beaten",
                lanes=self.m,
                input_count=self.m - 1,
                bits=lambda bundle: [
                    [~win for win in lane_wins] for lane_wins in wins(self.m, bundle["not_less"])
                ],
                consumes=("not_less",),
            ),
            Step(self._verdicts, {"mask": self.m}, ("beaten", "n"), levels=5),
        ]

    def _verdicts(self, m: Module, bundle: Bundle) -> Bundle:
        n = bundle["n"][0]
        limit = named(m, "n_in_range", Mux(n > self.m, 0, n))
        beaten = enumerate(bundle["beaten"])
        return {"mask": [named(m, f"kept{lane}", count < limit) for lane, count in beaten]}


class FlexibleMatrix(Selector):
    """L / m groups of n:m side by side in L lanes, ``pattern`` says with every group which n:m.

    All patterns share the comparators, the counts and one threshold.  Where the pattern puts two
    lanes into different groups, their comparison is overruled, such that every lane wins against
    just so many lanes outside its group as make the common threshold the right one:

        wins inside + wins given >= max over all patterns (m - n)
        wins given = max over all patterns (m - n) - (m - n)

    Where a pattern keeps half of its lanes, a lane must win against half of those outside; then
    each of two lanes gets the opposite verdict, and one gate behind their comparator does it.  So
    four patterns cost little more than the largest of them.

    A ``pattern`` that is not in the list keeps no lane.

    Parameters
    ----------
    patterns
        All patterns (n, m), every m a divisor of the largest.
    key_width, stages
        As of `Selector`.
    """

    def __init__(
        self, *, patterns: Sequence[tuple[int, int]], key_width: int, stages: int = 1
    ) -> None:
        lanes = max(m for _, m in patterns)
        slots = max(lanes // m * n for n, m in patterns)
        super().__init__(n=slots, m=lanes, key_width=key_width, stages=stages)
        self.patterns = tuple(patterns)
        self._threshold = max(m - n for n, m in patterns)

    def steps(self) -> list[Step]:
        """The comparison; the overruling; the count; the verdict."""
        extra = max(self._given(pattern)[1] for pattern in self.patterns)
        if self._threshold:
            judged = [
                comparison(self.m, self.key_width),
                self._overrule(extra),
                *at_least_steps(
                    "mask",
                    lanes=self.m,
                    input_count=self.m - 1 + extra,
                    threshold=self._threshold,
                    bits=self._counted,
                    consumes=("won", "given"),
                    added=self.stages < SORTED_STAGES,
                ),
            ]
        else:
            judged = [keep_all(self.m), self._overrule(0)]
        return [*judged, *self._limited()]

    # How a pattern overrules comparisons.

    def _given(self, pattern: tuple[int, int]) -> tuple[int, int]:
        """Wins that a pattern gives every lane: over lanes outside its group, and besides."""
        n, m = pattern
        given = self._threshold - (m - n)
        outside = min(given, self.m - m)
        return outside, given - outside

    def _is_to_win(self, pattern: tuple[int, int], lane: int, other: int) -> bool:
        """The verdict on a lane against one of another group."""
        _, m = pattern
        outside, _ = self._given(pattern)
        if 2 * outside != self.m - m:
            # Against those that follow, all the way round, its own group left out.
            between = [(lane + step) % self.m for step in range(1, (other - lane) % self.m)]
            return sum(x // m != lane // m for x in between) < outside
        if m % 2 == 0:
            # A checkerboard: half of every other group, and the same verdict in all patterns.
            return (lane + other) % 2 == (lane < other)
        # Of an odd number of groups, each wins against the half of them that follow.
        return (other // m - lane // m) % (self.m // m) <= self.m // m // 2

    def _overruled(self, lane: int, other: int) -> dict[int, bool]:
        """By number of each pattern that separates two lanes, the verdict on the first."""
        return {
            number: self._is_to_win(pattern, lane, other)
            for number, pattern in enumerate(self.patterns)
            if lane // pattern[1] != other // pattern[1]
        }

    @cached_property
    def _is_even(self) -> bool:
        """Whether each of two lanes always gets the opposite verdict."""
        return all(
            won != self._overruled(j, i)[number]
            for i, j in pairs(self.m)
            for number, won in self._overruled(i, j).items()
        )

    # The same as gates.

    def _overrule(self, extra: int) -> Step:
        """From ``not_less`` and ``pattern`` to ``won``, ``given`` and ``in_range``.

        ``won`` is what `comparison` gives, overruled; or, where the two lanes of a pair need
        verdicts of their own, that of both.
        """
        numbers = range(len(self.patterns))
        is_full = len(self.patterns) == 1 << max(1, (len(self.patterns) - 1).bit_length())

        def compute(module: Module, bundle: Bundle) -> Bundle:
            pattern = bundle["pattern"][0]
            chosen = [named(module, f"pattern_is_{k}", pattern == k) for k in numbers]
            made: dict[tuple[int, ...], Value] = {}

            def one_of(some: Iterable[int]) -> Value:
                """Whether the pattern is one of some."""
                key = tuple(some)
                if not key:
                    return Const(0, 1)
                if key not in made:
                    name = "pattern_in_" + "_".join(map(str, key))
                    made[key] = named(module, name, any_of([chosen[k] for k in key]))
                return made[key]

            def judged(lane: int, other: int, win: Value) -> Value:
                verdicts = self._overruled(lane, other).items()
                lost = one_of(number for number, won in verdicts if not won)
                won = one_of(number for number, won in verdicts if won)
                return named(module, f"won_{lane}_{other}", (win & ~lost) | won)

            result: Bundle = {"in_range": [Const(1, 1) if is_full else one_of(numbers)]}
            if not self._threshold:
                return result
            result["given"] = [
                one_of(k for k, p in enumerate(self.patterns) if self._given(p)[1] > place)
                for place in range(extra)
            ]
            not_less = dict(zip(pairs(self.m), bundle["not_less"], strict=True))
            result["won"] = [judged(i, j, win) for (i, j), win in not_less.items()]
            if not self._is_even:
                result["won"] += [judged(j, i, ~win) for (i, j), win in not_less.items()]
            return result

        produces = {"in_range": 1}
        if self._threshold:
            won = len(pairs(self.m)) * (1 if self._is_even else 2)
            produces |= {"won": won, "given": extra}
        spent = ("not_less", "pattern") if self._threshold else ("pattern",)
        return Step(compute, produces, spent, levels=2)

    def _counted(self, bundle: Bundle) -> list[list[Value]]:
        """For each lane the bits to count."""
        one_way = pairs(self.m)
        won = dict(zip(one_way, bundle["won"][: len(one_way)], strict=True))
        if self._is_even:
            lanes = wins(self.m, bundle["won"])
        else:
            won |= {
                (j, i): win
                for (i, j), win in zip(one_way, bundle["won"][len(one_way) :], strict=True)
            }
            lanes = [
                [won[lane, other] for other in range(self.m) if other != lane]
                for lane in range(self.m)
            ]
        return [[*lane_wins, *bundle["given"]] for lane_wins in lanes]

    def _limited(self) -> list[Step]:
        """No lane is kept where there is no such pattern."""

        def compute(module: Module, bundle: Bundle) -> Bundle:
            allowed = bundle["in_range"][0]
            lanes = enumerate(bundle["mask"])
            return {"mask": [named(module, f"kept{lane}", kept & allowed) for lane, kept in lanes]}

        return [Step(compute, {"mask": self.m}, ("in_range",), levels=1)]
