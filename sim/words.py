"""Between tensors of codes and the integers that travel on ports."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from hw.ports import Field
from sw.codes import bits_of, codes_of_bits

__all__ = [
    "from_words",
    "packed_rows",
    "payload_codes",
    "payload_words",
    "to_words",
    "unpacked_rows",
]


def packed_rows(codes: torch.Tensor, field: Field) -> npt.NDArray[np.uint8]:
    """The bytes of a port (T, bytes), the lowest bits first, of codes (T, count)."""
    return np.packbits(bits_of(codes, field.width).numpy(), axis=-1, bitorder="little")


def unpacked_rows(rows: npt.NDArray[np.uint8], field: Field) -> torch.Tensor:
    """Codes (T, count) of the bytes of a port: the inverse of `packed_rows`."""
    bits = np.unpackbits(rows, axis=-1, bitorder="little")[:, : field.count * field.width]
    return codes_of_bits(torch.from_numpy(bits), field.count)


def to_words(codes: torch.Tensor, field: Field) -> list[int]:
    """One integer a transfer from codes (T, count); element j at bits ``[j*width +: width]``."""
    return [int.from_bytes(row.tobytes(), "little") for row in packed_rows(codes, field)]


def from_words(words: Sequence[int], field: Field) -> torch.Tensor:
    """Codes (T, count) of one integer a transfer: the inverse of `to_words`."""
    size = (field.count * field.width + 7) // 8
    data = b"".join(word.to_bytes(size, "little") for word in words)
    return unpacked_rows(np.frombuffer(data, np.uint8).reshape(len(words), size), field)


def payload_words(
    payload: Mapping[str, torch.Tensor], fields: Mapping[str, Field]
) -> list[tuple[int, ...]]:
    """One tuple of integers a transfer, in the order of the fields."""
    return list(
        zip(*(to_words(payload[name], field) for name, field in fields.items()), strict=True)
    )


def payload_codes(
    words: Sequence[tuple[int, ...]], fields: Mapping[str, Field]
) -> dict[str, torch.Tensor]:
    """Codes by port name of one tuple of integers a transfer: the inverse of `payload_words`."""
    columns = zip(*words, strict=True) if words else [()] * len(fields)
    return {
        name: from_words(column, field)
        for (name, field), column in zip(fields.items(), columns, strict=True)
    }
