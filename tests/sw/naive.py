"""The definitions, one group at a time in plain Python: slow and obvious."""

import random
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from math import comb

from hw.formats import FORMATS

#: Awkward codes of each format: zeros, smallest, largest, most negative, infinities, NaNs.
AWKWARD = {
    "int4": [0x0, 0x1, 0x7, 0x8, 0x9, 0xF],
    "int8": [0x00, 0x01, 0x7F, 0x80, 0x81, 0xFF],
    "int16": [0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF],
    "fp16": [0x0000, 0x8000, 0x0001, 0x8001, 0x7BFF, 0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFFFF],
    "bf16": [0x0000, 0x8000, 0x0001, 0x8001, 0x7F7F, 0x7F80, 0xFF80, 0x7F81, 0x7FC0, 0xFFFF],
    "fp8_e4m3": [0x00, 0x80, 0x01, 0x81, 0x7E, 0xFE, 0x7F, 0xFF],
    "fp8_e5m2": [0x00, 0x80, 0x01, 0x81, 0x7B, 0x7C, 0xFC, 0x7D, 0x7E, 0xFF],
}

PATTERNS = [(2, 4), (4, 8), (8, 16), (1, 2), (3, 5), (4, 4), (1, 7), (6, 7), (33, 64)]


def signed(code: int, width: int) -> int:
    return code - (1 << width) if code >> (width - 1) else code


def key(code: int, dtype: str) -> int:
    width = FORMATS[dtype].width
    return abs(signed(code, width)) if dtype.startswith("int") else code & ~(1 << (width - 1))


def magnitude(code: int, dtype: str) -> tuple[int, int]:
    """Class, and a finite magnitude in units of the smallest one above 0."""
    number_format = FORMATS[dtype]
    bits = key(code, dtype)
    if number_format.kind == "int":
        return 0, bits
    field, fraction = divmod(bits, 1 << number_format.mantissa_width)
    if dtype == "fp8_e4m3":
        if bits == 0x7F:
            return 2, 0
    elif field == (1 << number_format.exponent_width) - 1:
        return (2 if fraction else 1), 0
    if field == 0:
        return 0, fraction
    return 0, ((1 << number_format.mantissa_width) + fraction) << (field - 1)


def scale(code: int, name: str) -> int:
    """A scale in units of the smallest one above 0."""
    if name == "pow2":
        return 2**code
    if name == "bf16":
        field, fraction = divmod(code, 128)
        return (128 + fraction) << (field - 1) if field else fraction
    return code


def score(code: int, scale_code: int, dtype: str, name: str) -> tuple[int, int]:
    """Class and exact product: the order of scores is that of these pairs."""
    rank, value = magnitude(code, dtype)
    return rank, 0 if rank else value * scale(scale_code, name)


def kept(keys: list[int], n: int) -> list[int]:
    """Lanes that fewer than n lanes beat, ascending."""
    lanes = range(len(keys))

    def beats(i: int, j: int) -> bool:
        return keys[i] > keys[j] or (keys[i] == keys[j] and i < j)

    return [j for j in lanes if sum(beats(i, j) for i in lanes) < n]


def bitmap(lanes: list[int], m: int) -> list[int]:
    return [int(lane in lanes) for lane in range(m)]


@cache
def masks(n: int, m: int) -> list[tuple[int, ...]]:
    """The kept lanes of all masks in colexicographic order: the place of each is its rank."""
    return sorted(combinations(range(m), n), key=lambda lanes: lanes[::-1])


#: Beyond this many masks the textbook's sum takes the place of the list.
LISTED = 20_000


def meta_width(n: int, m: int, code: str) -> int:
    """Bits of one field of the metadata."""
    if code == "index":
        return (m - 1).bit_length()
    return (comb(m, n) - 1).bit_length() if code == "enumerative" else 1


def rank(lanes: Sequence[int], n: int, m: int) -> int:
    if comb(m, n) <= LISTED:
        return masks(n, m).index(tuple(lanes))
    return sum(comb(lane, k) for k, lane in enumerate(lanes, 1))


def unrank(number: int, n: int, m: int) -> list[int]:
    if comb(m, n) <= LISTED:
        return list(masks(n, m)[number])
    lanes: list[int] = []
    for k in range(n, 0, -1):
        lanes.insert(0, max(lane for lane in range(m) if comb(lane, k) <= number))
        number -= comb(lanes[0], k)
    return lanes


def write_meta(lanes: Sequence[int], n: int, m: int, code: str) -> list[int]:
    """Fields of the metadata that names some lanes, ascending."""
    if code == "index":
        return list(lanes)
    if code == "enumerative":
        return [rank(lanes, n, m)]
    return bitmap(list(lanes), m)[: m - (code == "bitmap-implied")]


def read_meta(fields: list[int], n: int, m: int, code: str) -> list[int] | None:
    """Lanes that the metadata names; None: it is illegal."""
    if code == "enumerative":
        return unrank(fields[0], n, m) if fields[0] < comb(m, n) else None
    if code.startswith("bitmap"):
        lanes = [lane for lane, bit in enumerate(fields) if bit]
        if code == "bitmap-implied" and len(lanes) == n - 1:
            lanes.append(m - 1)
        return lanes if len(lanes) == n else None
    legal = all(lane < m for lane in fields) and fields == sorted(set(fields))
    return fields if legal else None


def limited(value: int, width: int, overflow: str) -> int:
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    if overflow == "saturate":
        return min(max(value, low), high)
    return low + (value - low) % (1 << width)


def words(fields: list[int], width: int) -> int:
    """The port that holds the fields, the first in its lowest bits."""
    return sum(field << (k * width) for k, field in enumerate(fields))


def groups(dtype: str, m: int, count: int, seed: int) -> list[list[int]]:
    """Random codes, and groups of few and awkward ones, full of ties."""
    chosen = random.Random(seed)
    every = range(1 << FORMATS[dtype].width)
    awkward = AWKWARD[dtype]
    result = [[code] * m for code in awkward]
    for number in range(count):
        pool = [
            every,
            awkward,
            chosen.sample(awkward, 2),
            [*awkward, *chosen.sample(every, 3)],
        ][number % 4]
        result.append([chosen.choice(pool) for _ in range(m)])
    # One lane alone is larger, at each place.
    result += [[int(lane == place) for lane in range(m)] for place in range(m)]
    return result
