"""Enumerative code: the rank of the mask among all masks with N ones, as one number."""

from collections.abc import Sequence
from functools import reduce
from math import comb
from operator import add

from amaranth.hdl import Cat, Const, Module, Signal, Value

from hw.comparators import constant_not_less
from hw.logic import any_of, named
from hw.metadata.common import MetadataCode
from hw.pipeline import Bundle, Step

__all__ = ["Enumerative"]


def constant_of(cases: Sequence[tuple[Value, int]]) -> Value:
    """The constant whose bit is 1, of several bits and constants; 0 if none is.

    As many bits as the largest constant has, at least one.
    """
    width = max(1, max(constant for _, constant in cases).bit_length())
    bits = []
    for place in range(width):
        chosen = [bit for bit, constant in cases if constant >> place & 1]
        bits.append(any_of(chosen) if chosen else Const(0, 1))
    return Cat(bits)


def _bits(largest: int, limit: int) -> int:
    """Bits of a number of at most `largest`; no more than `limit`, which the whole sum has."""
    return min(max(1, largest.bit_length()), limit)


class Enumerative(MetadataCode):
    """The combinatorial number system: rank = sum over k = 1 .. N of C(c_k, k).

    c_1 < ... < c_N are the kept lanes.  The code of ceil(log2 C(M, N)) bits is illegal iff it is
    C(M, N) or more.  With N = M there is nothing to tell: the port has one bit, and 1 is illegal.

    **Writing** takes for each slot the constant that its select bits name, and adds N constants:
    N (M - N + 1) select bits, of each as many or inputs as its binomial has ones, and N - 1 adders
    of up to the rank's width.  Depth: an or of M - N + 1, and log2(N) adders.

    **Reading** goes from slot N to slot 1.  A slot's lane is the greatest j with C(j, k) <= rest,
    which M - N comparisons with constants find all at once, as a thermometer; the rest of the rank
    loses that binomial.  Since then rest < C(j, k - 1), it is narrower for each slot.  N (M - N)
    comparisons with constants, N - 1 subtractions; depth: N times a comparison and a subtraction.

    The lanes' binomials are logic, not memory.  Source: the combinatorial number system (D. E.
    Knuth, The Art of Computer Programming 4A, 7.2.1.3).
    """

    writes_from_select = True

    def write(self) -> list[Step]:
        """The terms of all slots; their sum, pair by pair."""
        return self.write_from(window=self.m - self.n + 1, width=max(1, self._width))

    def write_from(self, *, window: int, width: int) -> list[Step]:
        """Steps from ``select`` with so many lanes a slot to ``meta`` of so many bits.

        Where fewer than `n` slots are taken the others add nothing.
        """
        lanes = [range(slot, min(slot + window, self.m)) for slot in range(self.n)]

        def terms(m: Module, bundle: Bundle) -> Bundle:
            numbers = []
            for slot, own in enumerate(lanes):
                start = slot * window
                select = bundle["select"][start : start + len(own)]
                cases = [(bit, comb(j, slot + 1)) for bit, j in zip(select, own, strict=True)]
                numbers.append(named(m, f"term{slot}", constant_of(cases)))
            return {"terms": numbers}

        def level(number: int, largest: Sequence[int]) -> Step:
            """Add pairs of numbers, none above its `largest`."""

            def compute(m: Module, bundle: Bundle) -> Bundle:
                sums = []
                for k, limit in enumerate(largest):
                    total = Signal(_bits(limit, width), name=f"rank_level{number}_{k}")
                    m.d.comb += total.eq(reduce(add, bundle["terms"][2 * k : 2 * k + 2]))
                    sums.append(total)
                return {"terms": sums}

            sizes = [_bits(limit, width) for limit in largest]
            return Step(compute, {"terms": sum(sizes)}, (), 2 * max(sizes).bit_length())

        largest = [comb(own[-1], slot + 1) for slot, own in enumerate(lanes)]
        sizes = sum(_bits(limit, width) for limit in largest)
        steps = [Step(terms, {"terms": sizes}, (), window.bit_length() + 1)]
        while len(largest) > 1:
            largest = [sum(largest[i : i + 2]) for i in range(0, len(largest), 2)]
            steps.append(level(len(steps), largest))

        def finish(_: Module, bundle: Bundle) -> Bundle:
            rank = bundle["terms"][0]
            return {"meta": [Cat(rank, Const(0, width))[:width]]}

        return [*steps, Step(finish, {"meta": width}, ("terms",), levels=0)]

    @property
    def _width(self) -> int:
        return (comb(self.m, self.n) - 1).bit_length()

    def read_select(self, *, check: bool) -> list[Step]:
        """Slot by slot, the last one first; the error at once."""
        window = self.m - self.n + 1

        def collect(_: Module, bundle: Bundle) -> Bundle:
            lanes = (bundle[f"slot{slot}"] for slot in range(self.n))
            return {"select": [bit for slot in lanes for bit in slot]}

        slots = tuple(f"slot{slot}" for slot in range(self.n))
        return [
            self._start(check=check),
            *self._slots(as_mask=False),
            Step(collect, {"select": self.n * window}, slots, levels=0),
        ]

    def read_mask(self) -> list[Step]:
        """The same; between the slots only the mask is kept, as far as it is known."""

        def gate(m: Module, bundle: Bundle) -> Bundle:
            legal = ~bundle["error"][0]
            lanes = enumerate(bundle["mask"])
            return {"mask": [named(m, f"kept{lane}", bit & legal) for lane, bit in lanes]}

        return [
            self._start(check=True),
            *self._slots(as_mask=True),
            Step(gate, {"mask": self.m}, (), levels=2),
        ]

    def _start(self, *, check: bool) -> Step:
        """``rest``, the rank, and ``error``."""

        def compute(m: Module, bundle: Bundle) -> Bundle:
            rank = bundle["meta"][0]
            error: Value = Const(0, 1)
            if check:
                error = constant_not_less(rank, comb(self.m, self.n))
            return {"rest": [rank], "error": [named(m, "no_mask", error)]}

        return Step(compute, {"rest": max(1, self._width), "error": 1}, ("meta",), levels=1)

    def _slots(self, *, as_mask: bool) -> list[Step]:
        """For each slot a step that finds its lane and one that takes its binomial away."""
        steps = []
        for k in range(self.n, 0, -1):
            steps.append(self._find(k))
            steps.append(self._reduce(k, as_mask=as_mask))
        return steps

    def _lanes(self, k: int) -> range:
        """Lanes that the k-th kept one, counted from 1, may be."""
        return range(k - 1, k + self.m - self.n)

    def _find(self, k: int) -> Step:
        """``slot<k - 1>``: for each of its lanes whether it is the one."""
        lanes = self._lanes(k)

        def compute(m: Module, bundle: Bundle) -> Bundle:
            rest = bundle["rest"][0]
            reached = [
                *(
                    named(m, f"slot{k - 1}_reaches{lane}", constant_not_less(rest, comb(lane, k)))
                    for lane in lanes
                ),
                Const(0, 1),
            ]
            return {
                f"slot{k - 1}": [
                    named(m, f"slot{k - 1}_is{lane}", here & ~above)
                    for lane, here, above in zip(lanes, reached, reached[1:], strict=False)
                ]
            }

        spent = ("rest",) if k == 1 else ()
        width = comb(lanes[-1] + 1, k).bit_length()
        return Step(compute, {f"slot{k - 1}": len(lanes)}, spent, width.bit_length() + 2)

    def _reduce(self, k: int, *, as_mask: bool) -> Step:
        """``rest`` without C(lane, k), and, if asked for, the slot's lane in ``mask``."""
        lanes = self._lanes(k)
        largest = max(comb(lane, k - 1) for lane in lanes) - 1
        width = max(1, largest.bit_length())

        def compute(m: Module, bundle: Bundle) -> Bundle:
            result: Bundle = {}
            slot = bundle[f"slot{k - 1}"]
            if k > 1:
                term = constant_of([(bit, comb(j, k)) for bit, j in zip(slot, lanes, strict=True)])
                rest = Signal(width, name=f"rest{k - 1}")
                m.d.comb += rest.eq(bundle["rest"][0][:width] - named(m, f"term{k}", term)[:width])
                result["rest"] = [rest]
            if as_mask:
                mask = list(bundle.get("mask", [Const(0, 1)] * self.m))
                for lane, bit in zip(lanes, slot, strict=True):
                    known = [bit] if k == self.n else [mask[lane], bit]
                    mask[lane] = named(m, f"kept_from{k}_{lane}", any_of(known))
                result["mask"] = mask
            return result

        produces = {} if k == 1 else {"rest": width}
        if as_mask:
            produces["mask"] = self.m - k + 1
        levels = 2 * width.bit_length() + len(lanes).bit_length()
        spent = (f"slot{k - 1}",) if as_mask else ()
        return Step(compute, produces, spent, levels if k > 1 else 1)
