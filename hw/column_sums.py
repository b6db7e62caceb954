"""Sums of many bits of different weights: columns of full adders."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from amaranth.hdl import Cat, Const, Module, Value

from hw.logic import named
from hw.pipeline import Bundle, Step

__all__ = ["ColumnSum"]

#: In place of the number of a term: the constant 1.
_ONE = -1

#: Two-input gates in a full adder's longer path, which goes through two exclusive ors.
_ADDER_LEVELS = 4


@dataclass(frozen=True)
class _FullAdder:
    """Three terms of one place become one of it and one of the next."""

    place: int
    terms: tuple[int, int, int]
    total: int
    carry: int
    #: Exclusive ors between the inputs and its outputs.
    depth: int


def _bits(words: Iterable[Value]) -> list[Value]:
    """The bits of words, each a signal or a part of one, from the lowest of the first one on."""
    return [word[place] for word in words for place in range(len(word))]


class ColumnSum:
    """``sum over terms t of bit_t * 2**place_t + constant``, modulo 2**width.

    Every column, all bits of one place, is reduced to two bits by full adders, lowest column first,
    each of them taking the three bits that are there first (A. Habibi and P. A. Wintz, 1970; the
    order is that of the three-greedy approach, P. F. Stelling et al., 1998).  The number of full
    adders is the number of bits less two a column, whatever the order.  A bit of the constant is
    one of its column's, and its full adder two gates.

    Parameters
    ----------
    places
        Place of each term.
    width
        Bits of the sum; terms at this place or above it do not count.
    constant
        Added.

    Attributes
    ----------
    left
        Places of the terms that are left: at most two of each place.
    left_constant
        The constant that is left to be added to them.
    """

    def __init__(
        self,
        places: Sequence[int],
        *,
        width: int,
        constant: int = 0,
    ) -> None:
        self.width = width
        self._count = len(places)
        self._depths = {_ONE: 0, **dict.fromkeys(range(len(places)), 0)}
        columns: list[list[int]] = [[] for _ in range(width)]
        for place in range(width):
            if constant >> place & 1:
                columns[place].append(_ONE)
        for term, place in enumerate(places):
            if place < width:
                columns[place].append(term)
        self._adders: list[_FullAdder] = []
        left: list[tuple[int, int]] = []
        for place, column in enumerate(columns):
            above = columns[place + 1] if place + 1 < width else []
            left += [(place, term) for term in self._reduce(place, column, above)]
        self._left = [term for _, term in left if term != _ONE]
        self.left = tuple(place for place, term in left if term != _ONE)
        self.left_constant = sum(1 << place for place, term in left if term == _ONE)

    def _reduce(self, place: int, column: list[int], above: list[int]) -> Iterable[int]:
        """Plan a column; carries go to the column above."""
        waiting = [(self._depths[term], term) for term in column]
        heapify(waiting)
        while len(waiting) > 2:
            (_, first), (middle, second), (latest, third) = (heappop(waiting) for _ in range(3))
            depth = max(middle + 2, latest + 1)
            total = self._count + 2 * len(self._adders)
            self._adders.append(_FullAdder(place, (first, second, third), total, total + 1, depth))
            self._depths[total] = self._depths[total + 1] = depth
            heappush(waiting, (depth, total))
            above.append(total + 1)
        return [term for _, term in sorted(waiting)]

    def reduce(self, m: Module, name: str, terms: Iterable[Value]) -> list[Value]:
        """What is left of all terms, in the order of `left`."""
        known = dict(enumerate(_bits(terms)))
        self._add(m, name, known, self._adders)
        return [known[term] for term in self._left]

    def _add(
        self, m: Module, name: str, known: dict[int, Value], adders: Iterable[_FullAdder]
    ) -> None:
        """Each full adder by itself: words of them make a simulator do all work many times."""
        for adder in adders:
            first, second, third = adder.terms
            prefix = f"{name}_{adder.place}_{(adder.total - self._count) // 2}"
            if first == _ONE:
                total = ~(known[second] ^ known[third])
                carry = known[second] | known[third]
            else:
                # The carry reads the same exclusive or as the sum: a tenth less area in sky130 than
                # with the majority written out.
                half = named(m, f"{prefix}_half", known[first] ^ known[second])
                total = half ^ known[third]
                carry = (known[first] & known[second]) | (half & known[third])
            known[adder.total] = named(m, f"{prefix}_sum", total)
            known[adder.carry] = named(m, f"{prefix}_carry", carry)

    def steps(self, terms: str) -> list[Step]:
        """Steps from the value `terms`, all of them, to the same with what is left.

        One full adder in depth each.
        """
        deepest = max((adder.depth for adder in self._adders), default=0)
        steps = []
        alive = list(range(self._count))
        for number in range(-(-deepest // 2)):
            adders = [a for a in self._adders if a.depth in (2 * number + 1, 2 * number + 2)]
            later = {
                term for a in self._adders if a.depth > 2 * number + 2 for term in a.terms
            }.union(self._left)
            following = [
                term
                for term in (*alive, *(t for a in adders for t in (a.total, a.carry)))
                if term in later
            ]
            steps.append(self._step(terms, number, tuple(alive), adders, tuple(following)))
            alive = following
        return [*steps, self._order(terms, tuple(alive))]

    def _step(
        self,
        name: str,
        number: int,
        before: Sequence[int],
        adders: Sequence[_FullAdder],
        after: Sequence[int],
    ) -> Step:
        def compute(m: Module, bundle: Bundle) -> Bundle:
            known = dict(zip(before, _bits(bundle[name]), strict=True))
            self._add(m, f"{name}{number}", known, adders)
            return {name: [known[term] for term in after]}

        return Step(compute, {name: len(after)}, (name,), _ADDER_LEVELS)

    def _order(self, name: str, alive: Sequence[int]) -> Step:
        def compute(_: Module, bundle: Bundle) -> Bundle:
            known = dict(zip(alive, _bits(bundle[name]), strict=True))
            return {name: [known[term] for term in self._left]}

        return Step(compute, {name: len(self._left)}, (name,), 0)

    def rows(self, left: Sequence[Value]) -> tuple[Value, Value]:
        """Two numbers of `width` bits whose sum is that of the terms, of what is left of them."""
        columns: list[list[Value]] = [[] for _ in range(self.width)]
        for place, term in zip(self.left, left, strict=True):
            columns[place].append(term)
        for place, column in enumerate(columns):
            if self.left_constant >> place & 1:
                column.append(Const(1, 1))
            column += [Const(0, 1)] * (2 - len(column))
        return Cat(column[0] for column in columns), Cat(column[1] for column in columns)
