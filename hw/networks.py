"""Comparator networks that sort, or that find the greatest values: lists of comparators.

A comparator ``(i, j)`` leaves the greater of two values on line i and the other on line j.  By the
0-1 principle a network does to all values what it does to zeros and ones, so that a test need not
try more.
"""

from collections.abc import Iterable, Sequence
from functools import cache

__all__ = ["Layers", "selection_network", "sorting_network"]

_Comparators = list[tuple[int, int]]

#: Comparators layer by layer; those of one layer share no line.
Layers = list[_Comparators]

#: Sorting networks with the fewest comparators known, by number of lines.  That of 16 lines is
#: M. W. Green's.
_SORTING = {
    3: "0,2 0,1 1,2",
    4: "0,2 1,3 0,1 2,3 1,2",
    5: "0,3 1,4 0,2 1,3 0,1 2,4 1,2 3,4 2,3",
    6: "0,5 1,3 2,4 1,2 3,4 0,3 2,5 0,1 2,3 4,5 1,2 3,4",
    7: "0,6 2,3 4,5 0,2 1,4 3,6 0,1 2,5 3,4 1,2 4,6 2,3 4,5 1,2 3,4 5,6",
    8: "0,2 1,3 4,6 5,7 0,4 1,5 2,6 3,7 0,1 2,3 4,5 6,7 2,4 3,5 1,4 3,6 1,2 3,4 5,6",
    16: "0,1 2,3 4,5 6,7 8,9 10,11 12,13 14,15 0,2 1,3 4,6 5,7 8,10 9,11 12,14 13,15 "
    "0,4 1,5 2,6 3,7 8,12 9,13 10,14 11,15 0,8 1,9 2,10 3,11 4,12 5,13 6,14 7,15 "
    "5,10 6,9 3,12 13,14 4,8 7,11 1,2 1,4 7,13 2,8 11,14 2,4 5,6 9,10 11,13 3,8 7,12 "
    "6,8 10,12 3,5 7,9 3,4 5,6 7,8 9,10 11,12 6,7 8,9",
}

#: The 8 greatest of 16, in no order, with 43 comparators in 9 layers; found by evolutionary search.
#: They arrive on lines 8 to 15, each comparator's greater value on its second line.
_SELECT_8_OF_16 = (
    "4,5 1,7 13,15 0,3 12,14 9,10 1,10 0,4 3,5 9,13 8,11 8,12 12,13 2,6 6,7 10,15 1,2 8,9 4,6 5,7 "
    "11,14 10,11 2,3 6,13 5,9 2,10 0,5 3,6 4,11 1,5 4,12 7,8 3,10 3,12 10,11 9,15 2,13 6,14 10,12 "
    "6,9 5,6 5,12 6,10"
)


def sorting_network(lines: int) -> Layers:
    """Comparators that sort: the greatest value to line 0, the least to the last line.

    The smallest network known to 8 lines and with 16.  32 and 64 lines: two sorted halves and
    Batcher's odd-even merge.  The others are what is left of the next power of two when some values
    are known.
    """
    return _layers(_sorting(lines))


def selection_network(kept: int, lines: int, *, shallow: bool = False) -> Layers:
    """Comparators that bring the `kept` greatest values to lines 0 .. kept - 1, in any order.

    Two sorted parts, the first on the lower lines: where k of the second part's greatest are kept,
    the first gives `kept` - k.  So one comparator for each rank of the second part that may or may
    not be kept; of the sorting networks only what these need.  The parts are as long as makes the
    fewest comparators or, if the network shall be shallow, the fewest layers.  8 of 16 has a list
    of its own, with fewer comparators but more layers.
    """
    if not 0 < kept < lines:
        return []
    if (kept, lines) == (8, 16) and not shallow:
        return _layers((15 - j, 15 - i) for i, j in _parse(_SELECT_8_OF_16))

    def cost(layers: Layers) -> tuple[int, int]:
        comparators = sum(len(layer) for layer in layers)
        return (len(layers), comparators) if shallow else (comparators, len(layers))

    parts = (_layers(_selection(kept, first, lines - first)) for first in range(1, lines))
    return min(parts, key=cost)


def _parse(text: str) -> _Comparators:
    pairs = (pair.split(",") for pair in text.split())
    return [(int(i), int(j)) for i, j in pairs]


def _layers(comparators: Iterable[tuple[int, int]]) -> Layers:
    """Each comparator in the first layer in which both of its lines are free."""
    layers: Layers = []
    free: dict[int, int] = {}
    for i, j in comparators:
        place = max(free.get(i, 0), free.get(j, 0))
        free[i] = free[j] = place + 1
        if place == len(layers):
            layers.append([])
        layers[place].append((i, j))
    return layers


@cache
def _sorting(lines: int) -> _Comparators:
    if lines < 2:
        return []
    if lines == 2:
        return [(0, 1)]
    if lines in _SORTING:
        return _parse(_SORTING[lines])
    whole = 1 << (lines - 1).bit_length()
    if lines == whole:
        half = whole // 2
        return [
            *_sorting(half),
            *((half + i, half + j) for i, j in _sorting(half)),
            *_merge(range(half), range(half, whole)),
        ]
    spare = whole - lines
    parts = (_shrink(_sorting(whole), whole, spare - least, least) for least in range(spare + 1))
    return min(parts, key=lambda part: (len(part), len(_layers(part))))


def _merge(first: Sequence[int], second: Sequence[int]) -> _Comparators:
    """Batcher's odd-even merge of two sorted runs of lines, equally long, a power of two.

    The sorted values are on the lines of `first`, then on those of `second`.
    """
    if len(first) == 1:
        return [(first[0], second[0])]
    lines = [*first, *second]
    return [
        *_merge(first[::2], second[::2]),
        *_merge(first[1::2], second[1::2]),
        *((lines[k], lines[k + 1]) for k in range(1, len(lines) - 1, 2)),
    ]


def _shrink(comparators: _Comparators, lines: int, greatest: int, least: int) -> _Comparators:
    """What is left of a sorting network when some values are known.

    The first `greatest` lines hold values above, and the last `least` lines values below all
    others: comparators only move them, which takes no logic.  The other lines are counted anew.
    """
    # What each line holds, and on which wire it does: 1 above all others, -1 below, 0 not known.
    known = [1] * greatest + [0] * (lines - greatest - least) + [-1] * least
    wires = list(range(lines))
    left = []
    for i, j in comparators:
        if known[i] == known[j] == 0:
            left.append((wires[i], wires[j]))
        elif known[i] < known[j]:
            known[i], known[j] = known[j], known[i]
            wires[i], wires[j] = wires[j], wires[i]
    place = {wire: line for line, wire in enumerate(wires)}
    return [(place[i] - greatest, place[j] - greatest) for i, j in left]


def _selection(kept: int, first: int, second: int) -> _Comparators:
    """The `kept` greatest to the lowest lines, from two sorted parts of so many lines."""
    sure = max(0, kept - first)
    comparators = [
        *_sorting(first),
        *((first + i, first + j) for i, j in _sorting(second)),
        *((kept - 1 - k, first + k) for k in range(sure, min(second, kept))),
    ]
    winners = [*range(min(first, kept)), *range(first, first + sure)]
    losers = [line for line in range(first + second) if line not in winners]
    # Backwards: two lines that both end among the kept, or both among the others, need no order.
    fate: dict[int, bool | None] = {line: line in winners for line in range(first + second)}
    needed = []
    for i, j in reversed(comparators):
        if fate[i] is None or fate[j] is None or fate[i] != fate[j]:
            needed.append((i, j))
            fate[i] = fate[j] = None
    place = {line: new for new, line in enumerate([*winners, *losers])}
    return [(place[i], place[j]) for i, j in reversed(needed)]
