"""Reader of packed N:M sparse streams in NumPy.  It needs NumPy and nothing else; copy it away.

N of every M lanes of a group are kept.  A group is metadata, which names the kept lanes, and n
values, which are codes here, that is plain bit patterns: `signed` makes integers of them, and a
view of the right type numbers of a float format.

Bit b of a stream is bit ``b % 8`` of its byte ``b // 8``, counted from the lowest.  Groups follow
each other without gaps.  A token is some groups; it begins with a byte of its own, and zeros fill
its last byte.

- ``interleaved``: one stream, metadata of group 0, values of group 0, metadata of group 1, ...
- ``split``: two streams, the values of all groups and the metadata of all groups.

Values are in slot order, slot 0 first, which is the order of rising lanes.

Worked example: 2:4, int8 (8 bits a value), bitmap, interleaved::

    dense lanes   group 0:  1  -3   0   0       group 1:  0   0   5  -7
    kept          lanes 0, 1: bitmap 0011       lanes 2, 3: bitmap 1100
    20 bits each  0xFD 0x01 0x3 = 0xFD013       0xF9 0x05 0xC = 0xF905C
    together      0xF905CFD013, lowest byte first:  13 D0 CF 05 F9

>>> packed = PackedFormat(n=2, m=4, value_bits=8, code="bitmap", layout="interleaved")
>>> values, lanes = unpack_token([bytes([0x13, 0xD0, 0xCF, 0x05, 0xF9])], 2, packed)
>>> lanes.tolist()
[[0, 1], [2, 3]]
>>> signed(values, 8).tolist()
[[1, -3], [5, -7]]
>>> signed(expand(values, lanes, 4), 8).tolist()
[[1, -3, 0, 0], [0, 0, 5, -7]]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

__all__ = ["CODES", "LAYOUTS", "PackedFormat", "expand", "read_tensor", "signed", "unpack_token"]

#: Codes of the metadata.
CODES = ("bitmap", "bitmap-implied", "index", "enumerative")

#: How streams hold values and metadata.
LAYOUTS = ("interleaved", "split")

_MAX_M = 64
_MAX_VALUE_BITS = 32


@dataclass(frozen=True, kw_only=True)
class PackedFormat:
    """What the bits of a packed stream are.

    Parameters
    ----------
    n, m
        Pattern: n of every m lanes are kept, 1 <= n <= m, 2 <= m <= 64.
    value_bits
        Bits of one value, 1 .. 32.
    code
        One of `CODES`.
    layout
        One of `LAYOUTS`.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    n: int
    m: int
    value_bits: int
    code: str
    layout: str

    def __post_init__(self) -> None:
        for name, value, high in (
            ("m", self.m, _MAX_M),
            ("n", self.n, self.m),
            ("value_bits", self.value_bits, _MAX_VALUE_BITS),
        ):
            low = 2 if name == "m" else 1
            if not low <= value <= high:
                raise ValueError(f"{name} must be between {low} and {high}, not {value}")
        for name, text, choices in (("code", self.code, CODES), ("layout", self.layout, LAYOUTS)):
            if text not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {text!r}")

    @property
    def fields(self) -> tuple[int, int]:
        """Fields of the metadata of a group, and the bits of each."""
        return {
            "bitmap": (self.m, 1),
            "bitmap-implied": (self.m - 1, 1),
            "index": (self.n, (self.m - 1).bit_length()),
            "enumerative": (1, (comb(self.m, self.n) - 1).bit_length()),
        }[self.code]

    @property
    def stream_bits(self) -> tuple[int, ...]:
        """Bits of a group in each stream: in the one, or in that of values and of metadata."""
        count, width = self.fields
        values, metadata = self.n * self.value_bits, count * width
        return (values + metadata,) if self.layout == "interleaved" else (values, metadata)

    def token_bytes(self, groups: int) -> tuple[int, ...]:
        """Bytes of a token of so many groups in each stream."""
        return tuple(-(-groups * bits // 8) for bits in self.stream_bits)


def unpack_token(
    streams: Sequence[bytes], groups: int, packed: PackedFormat
) -> tuple[np.ndarray, np.ndarray]:
    """Values and lanes of one token: codes int64 (groups, n), and int64 (groups, n), rising.

    Parameters
    ----------
    streams
        The bytes of the token: one string, or that of the values and that of the metadata.
    groups
        Groups of the token.
    packed
        The format.

    Raises
    ------
    ValueError
        The token has not the bytes that so many groups have, or metadata names no n lanes; the text
        names the group.
    """
    lengths, expected = tuple(map(len, streams)), packed.token_bytes(groups)
    if lengths != expected:
        raise ValueError(f"token must have {expected} bytes for {groups} groups, not {lengths}")
    bits = [
        np.unpackbits(np.frombuffer(stream, np.uint8), bitorder="little")[: groups * size].reshape(
            groups, size
        )
        for stream, size in zip(streams, packed.stream_bits, strict=True)
    ]
    count, width = packed.fields
    if packed.layout == "interleaved":
        bits = [bits[0][:, count * width :], bits[0][:, : count * width]]
    values = _numbers(bits[0], packed.n, packed.value_bits)
    lanes, legal = _decode(_numbers(bits[1], count, width), packed)
    if not legal.all():
        group = int(np.argmin(legal))
        raise ValueError(
            f"{packed.code} metadata must name {packed.n} of {packed.m} lanes, "
            f"which that of group {group} does not"
        )
    return values, lanes


def expand(values: np.ndarray, lanes: np.ndarray, m: int) -> np.ndarray:
    """All lanes of groups: (..., n) to (..., m), 0 where a lane was dropped."""
    dense = np.zeros((*values.shape[:-1], m), values.dtype)
    np.put_along_axis(dense, lanes, values, axis=-1)
    return dense


def read_tensor(
    streams: Sequence[bytes], tokens: int, features: int, packed: PackedFormat
) -> np.ndarray:
    """Codes int64 (tokens, features) of a tensor whose tokens are its rows, one after the other.

    The last group of a row may have lanes beyond the last feature; they are cut away.

    Raises
    ------
    ValueError
        As in `unpack_token`.
    """
    groups = -(-features // packed.m)
    sizes = packed.token_bytes(groups)
    lengths, expected = tuple(map(len, streams)), tuple(tokens * size for size in sizes)
    if lengths != expected:
        raise ValueError(f"streams must have {expected} bytes for {tokens} tokens, not {lengths}")
    dense = np.zeros((tokens, groups * packed.m), np.int64)
    for token in range(tokens):
        parts = [
            stream[token * size : (token + 1) * size]
            for stream, size in zip(streams, sizes, strict=True)
        ]
        dense[token] = expand(*unpack_token(parts, groups, packed), packed.m).reshape(-1)
    return dense[:, :features]


def signed(codes: np.ndarray, bits: int) -> np.ndarray:
    """The two's complement integers whose lowest bits are the codes."""
    sign = 1 << (bits - 1)
    return (codes & (sign - 1)) - (codes & sign)


def _numbers(bits: np.ndarray, count: int, width: int) -> np.ndarray:
    """Bits (groups, count * width) as numbers (groups, count), lowest bit first."""
    cut = bits.reshape(len(bits), count, width).astype(np.int64)
    return (cut << np.arange(width)).sum(-1)


def _decode(fields: np.ndarray, packed: PackedFormat) -> tuple[np.ndarray, np.ndarray]:
    """Lanes (groups, n) of metadata (groups, fields), and whether they are legal (groups,).

    Lanes that are not legal are 0.
    """
    n, m = packed.n, packed.m
    if packed.code == "index":
        legal = np.all(fields < m, axis=-1) & np.all(np.diff(fields, axis=-1) > 0, axis=-1)
        return np.where(legal[:, None], fields, 0), legal
    if packed.code == "enumerative":
        legal = fields[:, 0] < comb(m, n)
        return _lanes_of_ranks(np.where(legal, fields[:, 0], 0), n, m), legal
    if packed.code == "bitmap-implied":
        fields = np.concatenate([fields, fields.sum(-1, keepdims=True) < n], axis=-1)
    legal = fields.sum(-1) == n
    lanes = np.zeros((len(fields), n), np.int64)
    lanes[legal] = np.nonzero(fields[legal])[1].reshape(-1, n)
    return lanes, legal


def _lanes_of_ranks(ranks: np.ndarray, n: int, m: int) -> np.ndarray:
    """Lanes c_1 < ... < c_n of ranks, each the sum of C(c_k, k)."""
    terms = np.array([[comb(lane, k) for k in range(n + 1)] for lane in range(m)])
    lanes = np.zeros((len(ranks), n), np.int64)
    left = np.full(len(ranks), n)
    ranks = ranks.copy()
    # A lane is kept if the rank holds all the masks whose remaining lanes are below it.
    for lane in range(m - 1, -1, -1):
        term = terms[lane, left]
        kept = ((left > 0) & (ranks >= term)).nonzero()[0]
        lanes[kept, left[kept] - 1] = lane
        ranks[kept] -= term[kept]
        left[kept] -= 1
    return lanes
