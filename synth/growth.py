"""How the circuits of the metadata codes grow with N and M: a formula each, fitted to measurements.

A formula counts what the circuit is made of, so that one coefficient is left: an area for each of
these parts, or a time for each of them on the longest path.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import comb, exp, log, log2

__all__ = ["FITTED", "LAWS", "Fit", "Law", "fit"]

#: The least group size that coefficients are fitted to: for smaller ones a mapper finds circuits
#: that have nothing to do with how large ones are built.
FITTED = 8


@dataclass(frozen=True)
class Law:
    """How one quantity of one unit and code grows.

    Parameters
    ----------
    unit, code
        What it is of.
    quantity
        ``area`` or ``delay``, both without registers.
    counted
        What is counted, as text.
    count
        The count for n, m.
    """

    unit: str
    code: str
    quantity: str
    counted: str
    count: Callable[[int, int], float]


@dataclass(frozen=True)
class Fit:
    """A law with its coefficient.

    Parameters
    ----------
    law
        The law.
    coefficient
        In the quantity's unit for one of what the law counts: the geometric mean over the patterns
        of at least `FITTED` lanes.
    errors
        For each measured pattern, fitted or not, the law's value over the measured one, less 1.
    """

    law: Law
    coefficient: float
    errors: Mapping[tuple[int, int], float]


def fit(law: Law, measured: Mapping[tuple[int, int], float]) -> Fit | None:
    """The law with its coefficient; None where no pattern is large enough.

    Parameters
    ----------
    law
        The law.
    measured
        For each pattern (n, m) the quantity, above 0.
    """
    ratios = {(n, m): value / law.count(n, m) for (n, m), value in measured.items()}
    logs = [log(ratio) for (_, m), ratio in ratios.items() if m >= FITTED]
    if not logs:
        return None
    coefficient = exp(sum(logs) / len(logs))
    errors = {pattern: coefficient / ratio - 1 for pattern, ratio in ratios.items()}
    return Fit(law, coefficient, errors)


def _places(n: int, m: int) -> int:
    """Select bits: a bit for each slot and each of the lanes that it may be."""
    return n * (m - n + 1)


def _index_bits(m: int) -> int:
    return (m - 1).bit_length()


def _rest_bits(n: int, m: int, k: int) -> int:
    """Bits of what is left of the rank when slot k, counted from 1, is looked for."""
    return max(1, (comb(k + m - n, k) - 1).bit_length())


def _binomial_ones(n: int, m: int, first: int) -> int:
    """Ones in the binomials of all lanes of the slots from `first` on: inputs of ors."""
    lanes = range(m - n + 1)
    return sum(comb(k - 1 + lane, k).bit_count() for k in range(first, n + 1) for lane in lanes)


def _sum_bits(n: int, m: int) -> int:
    """Bits of all adders in the tree that sums the binomials of n slots."""
    largest = [comb(k - 1 + m - n, k) for k in range(1, n + 1)]
    bits = 0
    while len(largest) > 1:
        largest = [sum(largest[i : i + 2]) for i in range(0, len(largest), 2)]
        bits += sum(number.bit_length() for number in largest)
    return bits


def _rank_parts(n: int, m: int) -> int:
    """What a rank is added up by: select bits, or inputs, bits of adders."""
    return _places(n, m) + _binomial_ones(n, m, first=1) + _sum_bits(n, m)


def _unrank_parts(n: int, m: int) -> int:
    """What a rank is taken apart by: bits of comparators, or inputs, bits of subtractors."""
    rests = [_rest_bits(n, m, k) for k in range(1, n + 1)]
    return (m - n) * sum(rests) + _binomial_ones(n, m, first=2) + sum(rests[:-1])


def _unrank_levels(n: int, m: int) -> int:
    """Bits of the rest at each slot, one slot after the other."""
    return sum(_rest_bits(n, m, k) for k in range(1, n + 1))


_COUNT = "M log2 M"

#: All laws.  Encoders of bitmaps are wires.
LAWS: tuple[Law, ...] = (
    Law(
        "encoder",
        "index",
        "area",
        "N (M-N+1) ceil(log2 M)",
        lambda n, m: _places(n, m) * _index_bits(m),
    ),
    Law("encoder", "index", "delay", "M", lambda _, m: m),
    Law(
        "encoder",
        "enumerative",
        "area",
        "select bits + ones of the binomials + adder bits",
        _rank_parts,
    ),
    Law("encoder", "enumerative", "delay", "M", lambda _, m: m),
    Law("decoder", "bitmap", "area", _COUNT, lambda _, m: m * log2(m)),
    Law("decoder", "bitmap", "delay", "log2 M", lambda _, m: log2(m)),
    Law("decoder", "bitmap-implied", "area", _COUNT, lambda _, m: m * log2(m)),
    Law("decoder", "bitmap-implied", "delay", "log2 M", lambda _, m: log2(m)),
    Law("decoder", "index", "area", "N (M-N+1)", _places),
    Law("decoder", "index", "delay", "log2 M", lambda _, m: log2(m)),
    Law(
        "decoder",
        "enumerative",
        "area",
        "comparator bits + ones of the binomials + subtractor bits",
        _unrank_parts,
    ),
    Law(
        "decoder",
        "enumerative",
        "delay",
        "bits of the rest, added up over the slots",
        _unrank_levels,
    ),
)
