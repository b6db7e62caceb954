"""2:4 tensors to and from PyTorch's semi-structured representation, as CUTLASS wants it.

PyTorch holds a 2:4 matrix (rows, K) as its kept values (rows, K / 2), which are those of slot 0 and
slot 1 of each group, and a matrix ``meta`` of words.  A nibble tells the lanes of a group: the
lower one in its two low bits, the upper one in its two high bits, which is the ``index`` code of
2:4.  The nibbles of a row fill the words from their low bits on:

=================  ======  =================  ==================
values             word    groups of a word   ``meta``
=================  ======  =================  ==================
bfloat16, float16  int16   4                  (rows, K / 16)
int8               int32   8                  (rows, K / 32)
=================  ======  =================  ==================

The words are not where a row-major matrix has them.  CUTLASS takes them in column-major order, two
columns side by side, and mixes the rows of each block of 32 (int16) or 16 (int32), so that a thread
finds its words together.  With the row ``32 b + 16 h + 8 p + l`` (int32: ``16 b + 8 p + l``,
without h) and the column ``2 q + c`` of a word, its place in memory counts up through q, b, l, h,
c, p, the last one fastest.

float32 is 1:2 in PyTorch and is not handled.
"""

from typing import NamedTuple

import torch

from sw.codes import TORCH_DTYPES, codes_of, numbers_of, signed
from sw.errors import InputError
from sw.interchange import Packed, pack_groups, unpack_groups
from sw.metadata import decode, encode
from sw.packed import PackedFormat

__all__ = [
    "SemiStructuredError",
    "from_semi_structured",
    "packed_to_semi_structured",
    "semi_structured_to_packed",
    "to_semi_structured",
]


class SemiStructuredError(InputError):
    """A tensor cannot be PyTorch's semi-structured representation, or is none."""


class _Words(NamedTuple):
    """Words of the metadata matrix."""

    dtype: torch.dtype
    bits: int

    @property
    def groups(self) -> int:
        return self.bits // 4

    @property
    def row_pairs(self) -> int:
        """Pairs of 8 rows in a block whose rows are mixed."""
        return 32 // self.bits

    @property
    def block_rows(self) -> int:
        return 16 * self.row_pairs

    @property
    def block_columns(self) -> int:
        """Values of a row that two words, side by side, belong to."""
        return 2 * 2 * self.groups


_WORDS: dict[torch.dtype, _Words] = {
    torch.bfloat16: _Words(torch.int16, 16),
    torch.float16: _Words(torch.int16, 16),
    torch.int8: _Words(torch.int32, 32),
}

_FORMATS = {TORCH_DTYPES[name]: name for name in ("bf16", "fp16", "int8")}


def to_semi_structured(
    values: torch.Tensor, nibbles: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compressed values and ``meta`` as PyTorch's CUTLASS backend holds them.

    Parameters
    ----------
    values
        Kept values (rows, K / 2) of bfloat16, float16 or int8, slot 0 of each group first.  Rows a
        multiple of 32 and K of 32; for int8 of 16 and of 64.
    nibbles
        int64 (rows, K / 4): the lane of slot 0 plus four times that of slot 1, for each group.

    Returns
    -------
    tuple
        The values, contiguous, and int16 (rows, K / 16) or, for int8, int32 (rows, K / 32).

    Raises
    ------
    TypeError
        A tensor has another type.
    SemiStructuredError
        A shape is not possible, or a nibble does not name two lanes, the lower one first.
    """
    words = _words(values)
    if nibbles.dtype != torch.int64:
        raise TypeError(f"nibbles must be torch.int64, not {nibbles.dtype}")
    _check_values(values, words)
    _check_shape("nibbles", nibbles, (len(values), values.shape[1] // 2))
    _check_nibbles("nibbles", nibbles)
    parts = nibbles.unflatten(1, (-1, words.groups)) << torch.arange(0, words.bits, 4)
    rows_and_columns = signed(parts.sum(-1), words.bits).to(words.dtype)
    return values.contiguous(), _to_memory_order(rows_and_columns, words)


def from_semi_structured(
    values: torch.Tensor, meta: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The inverse of `to_semi_structured`: values (rows, K / 2) and nibbles int64 (rows, K / 4).

    Raises
    ------
    TypeError
        A tensor has another type.
    SemiStructuredError
        A shape is not possible, or a nibble of ``meta`` does not name two lanes, the lower one
        first.
    """
    words = _words(values)
    if meta.dtype != words.dtype:
        raise TypeError(f"meta must be {words.dtype} for {values.dtype}, not {meta.dtype}")
    _check_values(values, words)
    _check_shape("meta", meta, (len(values), values.shape[1] // 2 // words.groups))
    whole = _from_memory_order(meta.contiguous(), words).to(torch.int64).unsqueeze(-1)
    nibbles = (whole >> torch.arange(0, words.bits, 4) & 0xF).flatten(1)
    _check_nibbles("meta", nibbles)
    return values, nibbles


def packed_to_semi_structured(packed: Packed) -> tuple[torch.Tensor, torch.Tensor]:
    """A packed 2:4 tensor, whatever its code and layout, for PyTorch: values and ``meta``.

    Raises
    ------
    SemiStructuredError
        The pattern is not 2:4, the number format is none of bf16, fp16 and int8, a row ends in
        padding, or the shape is not possible.
    PackedError
        Something in the bytes is illegal.
    """
    _check_format(packed.format)
    if packed.shape[1] % 4:
        raise SemiStructuredError(
            f"packed must have a multiple of 4 features, not {packed.shape[1]}"
        )
    codes, mask = unpack_groups(packed)
    fields = encode(mask, 2, "index")
    nibbles = fields[..., 0] + 4 * fields[..., 1]
    return to_semi_structured(numbers_of(codes.flatten(1), packed.format.dtype), nibbles)


def semi_structured_to_packed(
    values: torch.Tensor, meta: torch.Tensor, packed_format: PackedFormat
) -> Packed:
    """PyTorch's values and ``meta`` as a packed 2:4 tensor of any code and layout.

    Raises
    ------
    TypeError
        A tensor has another type.
    SemiStructuredError
        The pattern is not 2:4, the number format is not that of the values, or
        `from_semi_structured` cannot read the tensors.
    """
    _check_format(packed_format)
    values, nibbles = from_semi_structured(values, meta)
    if _FORMATS[values.dtype] != packed_format.dtype:
        raise SemiStructuredError(
            f"dtype must be {_FORMATS[values.dtype]} for {values.dtype}, not {packed_format.dtype}"
        )
    fields = torch.stack([nibbles & 3, nibbles >> 2], dim=-1)
    mask, _ = decode(fields, 2, 4, "index")
    codes = codes_of(values, packed_format.dtype).unflatten(1, (-1, 2))
    return pack_groups(codes, mask, 2 * values.shape[1], packed_format)


def _to_memory_order(meta: torch.Tensor, words: _Words) -> torch.Tensor:
    rows, columns = meta.shape
    # b, h, p, l, q, c
    places = meta.view(rows // words.block_rows, words.row_pairs, 2, 8, columns // 2, 2)
    return places.permute(4, 0, 3, 1, 5, 2).reshape(rows, columns).contiguous()


def _from_memory_order(meta: torch.Tensor, words: _Words) -> torch.Tensor:
    rows, columns = meta.shape
    # q, b, l, h, c, p
    places = meta.view(columns // 2, rows // words.block_rows, 8, words.row_pairs, 2, 2)
    return places.permute(1, 3, 5, 2, 0, 4).reshape(rows, columns)


def _words(values: torch.Tensor) -> _Words:
    if values.dtype not in _WORDS:
        types = ", ".join(map(str, _WORDS))
        raise TypeError(f"values must be one of {types}, not {values.dtype}")
    return _WORDS[values.dtype]


def _check_values(values: torch.Tensor, words: _Words) -> None:
    if values.ndim != 2 or values.numel() == 0:
        raise SemiStructuredError(
            f"values must have shape (rows, K / 2), both at least 1, not {tuple(values.shape)}"
        )
    for axis, size, step in (
        ("rows", values.shape[0], words.block_rows),
        ("columns", values.shape[1], words.block_columns),
    ):
        if size % step:
            raise SemiStructuredError(
                f"values must have a multiple of {step} {axis} for {values.dtype}, not {size}"
            )


def _check_shape(subject: str, tensor: torch.Tensor, expected: tuple[int, int]) -> None:
    if tensor.shape != expected:
        raise SemiStructuredError(
            f"{subject} must have shape {expected}, not {tuple(tensor.shape)}"
        )


def _check_nibbles(subject: str, nibbles: torch.Tensor) -> None:
    wrong = ((nibbles < 0) | (nibbles > 0xF) | (nibbles & 3 >= nibbles >> 2)).nonzero()
    if len(wrong):
        row, group = wrong[0].tolist()
        raise SemiStructuredError(
            f"{subject} must name two lanes of each group, the lower one first, "
            f"not {int(nibbles[row, group]):#x} in row {row}, group {group}"
        )


def _check_format(packed_format: PackedFormat) -> None:
    if (packed_format.n, packed_format.m) != (2, 4):
        raise SemiStructuredError(f"pattern must be 2:4, not {packed_format.n}:{packed_format.m}")
    if packed_format.dtype not in _FORMATS.values():
        raise SemiStructuredError(
            f"dtype must be one of {', '.join(_FORMATS.values())}, not {packed_format.dtype}"
        )
