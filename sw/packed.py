"""Golden model of the packed stream: groups of values and metadata as bytes, without gaps.

Bits are numbered from the lowest bit of byte 0.  A token is the groups up to one with ``last``:

- ``interleaved``: for each group its metadata, then its values, slot 0 first; one byte string.
- ``split``: the values of all groups, and apart from them the metadata of all groups; two byte
  strings.

Fields of metadata follow each other as on the ports, the first in the lowest bits, each with its
lowest bit first, and so do the values.  Where there is but one mask to name the metadata takes no
bits.  Zeros fill the last byte of a token; the next token starts with a byte of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hw.config import LAYOUTS, UnitConfig, metadata_bits
from hw.formats import FORMATS
from sw.codes import bits_of, codes_of_bits

__all__ = ["PackedFormat", "pack_tokens", "unpack_bits", "unpack_token"]


@dataclass(frozen=True, kw_only=True)
class PackedFormat:
    """What the bits of a packed stream are.

    Parameters
    ----------
    n, m
        Pattern.
    dtype
        Number format of the values.
    metadata
        Code of the metadata.
    layout
        One of `hw.config.LAYOUTS`.

    Raises
    ------
    ConfigError
        A value breaks a rule of `hw.config.UnitConfig`.
    """

    n: int
    m: int
    dtype: str = "bf16"
    metadata: str = "bitmap"
    layout: str = LAYOUTS[0]

    def __post_init__(self) -> None:
        UnitConfig(
            unit="packer", n=self.n, m=self.m, dtype=self.dtype, metadata=self.metadata,
            layout=self.layout,
        )  # fmt: skip

    @property
    def value_bits(self) -> int:
        """Bits of the values of a group."""
        return self.n * FORMATS[self.dtype].width

    @property
    def metadata_bits(self) -> int:
        """Bits of the metadata of a group."""
        return metadata_bits(self.metadata, self.n, self.m)

    @property
    def stream_bits(self) -> tuple[int, ...]:
        """Bits of a group in each stream."""
        sizes = (self.value_bits, self.metadata_bits)
        return sizes if self.layout == "split" else (sum(sizes),)

    @property
    def field_count(self) -> int:
        """Fields of the metadata of a group, as `sw.metadata.encode` gives them."""
        counts = {"bitmap": self.m, "bitmap-implied": self.m - 1, "index": self.n}
        return counts.get(self.metadata, 1)

    def byte_counts(self, groups: int) -> tuple[int, ...]:
        """Bytes of a token of so many groups: of the one string, or of values and metadata."""
        return tuple(-(-groups * bits // 8) for bits in self.stream_bits)


def pack_tokens(
    values: torch.Tensor, fields: torch.Tensor, last: torch.Tensor, packed: PackedFormat
) -> list[tuple[bytes, ...]]:
    """The bytes of each token: one string, or with ``split`` those of values and of metadata.

    Parameters
    ----------
    values
        Codes (T, n).
    fields
        Metadata (T, fields), as `sw.metadata.encode` gives it.
    last
        Whether a group ends its token (T,).  Groups after the last such one belong to no token.
    packed
        The format.
    """
    value_bits = bits_of(values, packed.value_bits // packed.n).numpy()
    field_bits = bits_of(fields, packed.metadata_bits // packed.field_count).numpy()
    streams: Sequence[np.ndarray] = (value_bits, field_bits)
    if packed.layout == "interleaved":
        streams = (np.concatenate([field_bits, value_bits], axis=-1),)
    ends = (last.flatten().nonzero().flatten() + 1).tolist()
    return [
        tuple(
            np.packbits(bits[start:end].flatten(), bitorder="little").tobytes() for bits in streams
        )
        for start, end in zip([0, *ends][:-1], ends, strict=True)
    ]


def unpack_token(
    token: Sequence[bytes], groups: int, packed: PackedFormat
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (groups, n) and metadata (groups, fields) of the bytes of one token.

    Raises
    ------
    ValueError
        The token has not the bytes that so many groups have.
    """
    lengths, expected = tuple(map(len, token)), packed.byte_counts(groups)
    if lengths != expected:
        raise ValueError(f"token must have {expected} bytes for {groups} groups, not {lengths}")
    streams = [
        np.unpackbits(np.frombuffer(text, np.uint8), bitorder="little")[: groups * size].reshape(
            groups, size
        )
        for text, size in zip(token, packed.stream_bits, strict=True)
    ]
    return unpack_bits(streams, packed)


def unpack_bits(
    streams: Sequence[np.ndarray], packed: PackedFormat
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (groups, n) and metadata (groups, fields) of the bits (groups, size) of each stream."""
    if packed.layout == "interleaved":
        (whole,) = streams
        streams = (whole[:, packed.metadata_bits :], whole[:, : packed.metadata_bits])
    values, fields = (
        codes_of_bits(torch.from_numpy(bits), count)
        for bits, count in zip(streams, (packed.n, packed.field_count), strict=True)
    )
    return values, fields
