"""Rank merge: two small compare matrices, and a search for the place where their orders meet."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import combinations

from amaranth.hdl import Cat, Const, Module, Value

from hw.comparators import majority_not_less, multiplexer_not_less
from hw.logic import all_of, any_of, majority, named
from hw.pipeline import Bundle, Step
from hw.ranking import sort_bits
from hw.selectors.common import Selector
from hw.selectors.compare_matrix import keep_all

__all__ = ["RankMerge"]

#: Levels of full adders before the bits of a rank are sorted, column by column.  Of 1 to 3 this was
#: the smallest and no slower.
_ADDER_LEVELS = 3

#: Bits of a rank by weight: column c counts 2**c for each of its ones.
_Columns = list[list[Value]]


class RankMerge(Selector):
    """Selector for many lanes: half the comparators of a compare matrix, at twice its delay.

    The lanes are a lower part A of `split` lanes and an upper part B.  Each has a compare matrix of
    its own, which gives each lane its rank in its part.  With a_0, a_1, ... the keys of A and b_0,
    b_1, ... those of B by descending rank, let

        t_k = 1  iff  a_(N-1-k) < b_k    (1 where N-1-k >= |A|)

    for the ranks k < N of B.  Since every lane of A is below every lane of B, t_k says that fewer
    than N lanes beat the lane of B with rank k, ties included: that lane is kept iff t_k, and the
    lane of A with rank r iff not t_(N-1-r).  The t_k are a thermometer code of how many lanes of B
    are kept, so they can also be searched for, a few at a time.

    A step of the search picks keys by rank, an and-or over all lanes for each key bit, and compares
    them.  `search` gives the parts into which each step divides what is left: ``(9,)`` compares all
    8 ranks at once, ``(3, 3)`` first two and then two of them, for half of the and-or gates and one
    more pick and comparison in line.

    Area about (|A|(|A|-1) + |B|(|B|-1)) / 2 * key_width majority gates, M * P * key_width and-or
    inputs for P picks, and in each lane as many full adders as its part has lanes; at 16:32 240 to
    310 comparators in place of 496.  Depth about that of two comparators, an adder tree and two
    and-or gates of M inputs, and for each further step of the search a comparator and such a gate.
    Any number of register stages.

    Parameters
    ----------
    split
        Lanes of part A, 1 .. M - 1.  More of them mean more comparators and fewer picks.  Default:
        three quarters of the lanes.
    search
        Parts into which each step divides the counts that part B may still have; their product must
        be at least the number of counts.  Default: one step.
    """

    def __init__(
        self,
        *,
        n: int,
        m: int,
        key_width: int,
        stages: int = 1,
        split: int | None = None,
        search: Sequence[int] | None = None,
    ) -> None:
        super().__init__(n=n, m=m, key_width=key_width, stages=stages)
        lower = m - max(1, m // 4) if split is None else split
        if not 0 < lower < m:
            raise ValueError(f"split must be 1 .. M - 1 = {m - 1}, not {split}")
        self._parts = (range(lower), range(lower, m))
        #: Ranks of B whose lane may or may not be kept.
        self._open = range(max(0, n - lower), min(m - lower, n))
        counts = len(self._open) + 1
        self._search = (counts,) if search is None else tuple(search)
        product = 1
        for parts in self._search:
            product *= parts
        if product < counts or min(self._search, default=1) < 1:
            raise ValueError(
                f"search must have positive parts whose product is at least {counts}, not {search}"
            )

    def steps(self) -> list[Step]:
        """Both matrices; the ranks, level by level; for each step of the search, pick and merge."""
        if self.n == self.m:
            return [keep_all(self.m)]
        compare_levels = 2 * self.key_width.bit_length() + 1
        pairs = sum(len(self._pairs(part)) for part in self._parts)
        steps = [Step(self._compare, {"not_less": pairs}, (), compare_levels)]
        shapes = [[[len(part) - 1] for part in self._parts]]
        for level in range(_ADDER_LEVELS):
            shapes.append([_added(sizes) for sizes in shapes[-1]])
            steps.append(self._add(level, shapes[-2], shapes[-1]))
        steps.append(self._reach(shapes[-1]))
        # What part B may still have is one range of counts, then several shorter ones.
        ranges = [range(len(self._open) + 1)]
        for number, parts in enumerate(self._search):
            longest = max(len(counts) for counts in ranges)
            part = -(-longest // parts)
            is_last = number == len(self._search) - 1
            offsets = range(part, longest, part)
            steps.append(self._pick(number, ranges, offsets, is_last))
            steps.append(self._merge(number, ranges, offsets, compare_levels))
            ranges = [
                counts[start : start + part]
                for counts in ranges
                for start in range(0, len(counts), part)
            ]
        return [*steps, Step(self._verdict, {"mask": self.m}, ("reached", "passed"), levels=5)]

    def _pairs(self, part: range) -> list[tuple[int, int]]:
        return list(combinations(part, 2))

    def _compare(self, m: Module, bundle: Bundle) -> Bundle:
        """``not_less``: for each pair i < j of one part whether key_i >= key_j."""
        keys = bundle["keys"]
        return {
            "not_less": [
                named(
                    m,
                    f"not_less_{i}_{j}",
                    majority_not_less(m, f"compare_{i}_{j}", keys[i], keys[j]),
                )
                for part in self._parts
                for i, j in self._pairs(part)
            ]
        }

    def _beaten_by(self, bundle: Bundle) -> list[_Columns]:
        """For each lane, one bit for each other lane of its part: whether that one beats it."""
        pairs = (pair for part in self._parts for pair in self._pairs(part))
        verdicts = dict(zip(pairs, bundle["not_less"], strict=True))
        return [
            [
                [
                    verdicts[other, lane] if other < lane else ~verdicts[lane, other]
                    for other in part
                    if other != lane
                ]
            ]
            for part in self._parts
            for lane in part
        ]

    def _columns(self, bundle: Bundle, shapes: Sequence[Sequence[int]]) -> list[_Columns]:
        """The columns of each lane; `shapes` has their heights for both parts."""
        bits = iter(bundle["columns"])
        return [
            [[next(bits) for _ in range(height)] for height in heights]
            for part, heights in zip(self._parts, shapes, strict=True)
            for _ in part
        ]

    def _add(
        self, level: int, before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]
    ) -> Step:
        """One level of full adders in all columns."""

        def compute(m: Module, bundle: Bundle) -> Bundle:
            lanes = self._columns(bundle, before) if level else self._beaten_by(bundle)
            result = []
            for lane, columns in enumerate(lanes):
                added = _add_columns(m, f"rank{lane}_level{level}", columns)
                result += [bit for column in added for bit in column]
            return {"columns": result}

        bits = (len(part) * sum(after[k]) for k, part in enumerate(self._parts))
        return Step(compute, {"columns": sum(bits)}, () if level else ("not_less",), levels=4)

    def _reach(self, shapes: Sequence[Sequence[int]]) -> Step:
        """``reached``: ranks, as far as the place where the orders meet may depend on them.

        Threshold h of the search, 1 .. V, is the rank k = first open rank + h - 1 of B, and rank
        N - 1 - k of A.  Of each lane one bit for h = 0 .. V: in A whether its rank is at least that
        of threshold h; in B whether it is at least that of threshold h + 1.
        """

        def compute(m: Module, bundle: Bundle) -> Bundle:
            first = self._open.start
            result = []
            for lane, columns in enumerate(self._columns(bundle, shapes)):
                ranks = [
                    self.n - first - h if lane in self._parts[0] else first + h
                    for h in range(len(self._open) + 1)
                ]
                result += _at_least(m, f"rank{lane}", columns, ranks)
            return {"reached": result}

        bits = self.m * (len(self._open) + 1)
        return Step(compute, {"reached": bits}, ("columns",), levels=10)

    def _reached(self, bundle: Bundle, lane: int) -> list[Value]:
        count = len(self._open) + 1
        return bundle["reached"][lane * count : (lane + 1) * count]

    def _pick(
        self, number: int, ranges: Sequence[range], offsets: Iterable[int], is_last: bool
    ) -> Step:
        """The keys with the ranks of some thresholds: ``lower`` of A, ``upper`` of B.

        `ranges` are the counts that B may have, as far as they are not known to lie in another of
        them; in each the thresholds are `offsets` above its first count.
        """
        offsets = list(offsets)

        def compute(m: Module, bundle: Bundle) -> Bundle:
            inside = self._inside(m, number, ranges, bundle)
            keys = bundle["keys"]
            picked: Bundle = {"lower": [], "upper": []}
            for offset in offsets:
                for name, part in zip(picked, self._parts, strict=True):
                    prefix = f"{name}{number}_{offset}"
                    chosen = []
                    for lane in part:
                        reached = self._reached(bundle, lane)
                        cases = []
                        for counts, here in zip(ranges, inside, strict=True):
                            if offset >= len(counts):
                                continue
                            h = counts[offset]
                            if part is self._parts[0]:
                                has_rank = reached[h] & ~reached[h - 1]
                            else:
                                has_rank = reached[h - 1] & ~reached[h]
                            cases.append(has_rank & here if len(ranges) > 1 else has_rank)
                        chosen.append(named(m, f"{prefix}_is_{lane}", any_of(cases)))
                    bits = [
                        named(
                            m,
                            f"{prefix}_bit{bit}",
                            any_of([keys[lane][bit] & chosen[k] for k, lane in enumerate(part)]),
                        )
                        for bit in range(self.key_width)
                    ]
                    picked[name].append(named(m, prefix, Cat(bits)))
            return picked

        width = len(offsets) * self.key_width
        levels = 4 + max(len(part) for part in self._parts).bit_length()
        return Step(compute, {"lower": width, "upper": width}, ("keys",) if is_last else (), levels)

    def _inside(
        self, m: Module, number: int, ranges: Sequence[range], bundle: Bundle
    ) -> list[Value]:
        """For each range of counts whether the count of B lies in it."""
        passed = [Const(1, 1), *(bundle["passed"] if number else ()), Const(0, 1)]
        return [
            named(m, f"inside{number}_{counts.start}", passed[k] & ~passed[k + 1])
            for k, counts in enumerate(ranges)
        ]

    def _merge(
        self, number: int, ranges: Sequence[range], offsets: Iterable[int], levels: int
    ) -> Step:
        """``passed``: for all first counts of the shorter ranges whether B's is at least that."""
        offsets = list(offsets)
        known = sum(1 + sum(offset < len(counts) for offset in offsets) for counts in ranges) - 1

        def compute(m: Module, bundle: Bundle) -> Bundle:
            before = [Const(1, 1), *(bundle["passed"] if number else ()), Const(0, 1)]
            more = []
            for k, offset in enumerate(offsets):
                # Few comparators, but all of them on the longest path.
                not_kept = multiplexer_not_less(
                    m, f"differ{number}_{offset}", bundle["lower"][k], bundle["upper"][k]
                )
                more.append(named(m, f"more{number}_{offset}", ~not_kept))
            passed = []
            for k, counts in enumerate(ranges):
                passed.append(before[k])
                for offset, verdict in zip(offsets, more, strict=True):
                    if offset < len(counts):
                        passed.append(
                            named(
                                m,
                                f"passed{number}_{counts[offset]}",
                                before[k + 1] | (before[k] & verdict),
                            )
                        )
            return {"passed": passed[1:]}

        return Step(compute, {"passed": known}, ("lower", "upper"), levels + 2)

    def _verdict(self, m: Module, bundle: Bundle) -> Bundle:
        """A lane is dropped iff its rank is at or behind the place where the orders meet."""
        passed = bundle["passed"]
        mask = []
        for lane in range(self.m):
            reached = self._reached(bundle, lane)
            if lane in self._parts[0]:
                cases = [reached[0], *(reached[h] & bit for h, bit in enumerate(passed, 1))]
            else:
                cases = [reached[-1], *(reached[h] & ~bit for h, bit in enumerate(passed))]
            mask.append(named(m, f"kept{lane}", ~any_of(cases)))
        return {"mask": mask}


def _added(heights: Sequence[int]) -> list[int]:
    """Heights of columns after a level of full adders."""
    after = [0] * (len(heights) + 1)
    for c, height in enumerate(heights):
        after[c] += height - 2 * (height // 3)
        after[c + 1] += height // 3
    return after if after[-1] else after[:-1]


def _add_columns(m: Module, name: str, columns: _Columns) -> _Columns:
    """A level of full adders: three bits of a column leave one there and one in the next."""
    result: _Columns = [[] for _ in range(len(columns) + 1)]
    for c, column in enumerate(columns):
        whole = len(column) - len(column) % 3
        for k in range(0, whole, 3):
            x, y, z = column[k : k + 3]
            result[c].append(named(m, f"{name}_sum{c}_{k}", x ^ y ^ z))
            result[c + 1].append(named(m, f"{name}_carry{c}_{k}", majority(x, y, z)))
        result[c] += [
            named(m, f"{name}_bit{c}_{k}", bit) for k, bit in enumerate(column[whole:], whole)
        ]
    return result if result[-1] else result[:-1]


def _at_least(m: Module, name: str, columns: _Columns, thresholds: Sequence[int]) -> list[Value]:
    """Whether the sum over columns c of 2**c times its ones is at least each threshold.

    Each column is sorted, so that its line k says "more than k ones"; then a threshold is an
    and-or of the lines of a column and of a threshold on the columns above it.
    """
    lines = []
    for c, column in enumerate(columns):
        lines.append(sort_bits(m, f"{name}_sort{c}", column))

    @cache
    def at_least(c: int, threshold: int) -> Value | None:
        """The same for columns from c on, in units of 2**c; None: never."""
        if threshold <= 0:
            return Const(1, 1)
        if c == len(lines):
            return None
        cases = []
        # Of the counts of this column that leave the same to the columns above, the least.
        fewest = {-(-max(0, threshold - k) // 2): k for k in range(len(lines[c]), -1, -1)}
        for rest, count in fewest.items():
            above = at_least(c + 1, rest)
            if above is not None:
                needed = [lines[c][count - 1]] if count else []
                needed += [above] if rest else []
                cases.append(all_of(needed))
        return named(m, f"{name}_from{c}_{threshold}", any_of(cases)) if cases else None

    return [
        Const(0, 1) if bit is None else bit
        for bit in (at_least(0, threshold) for threshold in thresholds)
    ]
