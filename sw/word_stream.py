"""Golden model of the packed stream in words: what packer and unpacker do, transfer by transfer.

A stream of words is three columns: ``data`` (T, word / 8), its bytes, lowest first; ``bytes``
(T, 1), how many of them count; ``last`` (T, 1), whether the word ends a token.
"""

from collections.abc import Sequence

import numpy as np
import torch

from sw.packed import PackedFormat, pack_tokens, unpack_bits

__all__ = ["Words", "pack_words", "unpack_words"]

#: ``data``, ``bytes`` and ``last`` of one stream.
Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def pack_words(
    values: torch.Tensor,
    fields: torch.Tensor,
    last: torch.Tensor,
    packed: PackedFormat,
    word_bits: int,
) -> list[Words]:
    """The words of each stream: of the one, or with ``split`` of values and of metadata.

    All bytes of a word count but those of a token's last word, where the others are 0.  Of groups
    after the last one with `last` only words that are full already come.

    Parameters
    ----------
    values, fields, last, packed
        As of `sw.packed.pack_tokens`.
    word_bits
        Bits of a word.
    """
    last = last.flatten().to(torch.bool)
    rest = len(last) - int(last.nonzero().max() + 1 if last.any() else 0)
    closed = last.clone()
    closed[-1:] = True
    tokens = pack_tokens(values, fields, closed, packed)
    size = word_bits // 8
    streams = []
    for number, group_bits in enumerate(packed.stream_bits):
        rows: list[bytes] = []
        counts: list[int] = []
        ends: list[int] = []
        for position, token in enumerate(tokens):
            text = token[number]
            is_open = bool(rest) and position == len(tokens) - 1
            words = rest * group_bits // word_bits if is_open else -(-len(text) // size)
            rows += [text[k * size : (k + 1) * size].ljust(size, b"\0") for k in range(words)]
            counts += [size] * words
            ends += [0] * words
            if not is_open:
                counts[-1] = len(text) - (words - 1) * size
                ends[-1] = 1
        data = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), size)
        columns = (torch.tensor(column, dtype=torch.int64) for column in (counts, ends))
        streams.append(
            (torch.from_numpy(data.astype(np.int64)), *(c.unsqueeze(-1) for c in columns))
        )
    return streams  # type: ignore[return-value]


def unpack_words(
    streams: Sequence[Words], packed: PackedFormat
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values (T, n), metadata (T, fields) and ``last`` (T, 1) of the words of each stream.

    What is left of a token behind its last whole group is dropped.  Where it fills the last word,
    as in nothing that `pack_words` makes, the group leaves before that comes, without ``last``.
    With ``split`` the values say how many groups a token has; where one stream has not come as far
    as the other, the groups that are there in both.
    """
    sizes = packed.stream_bits
    cut = [_tokens(*words) for words in streams]
    values, fields, last = [], [], []
    for parts in zip(*cut, strict=False):
        whole = [8 * len(text) // bits for (text, _), bits in zip(parts, sizes, strict=True)]
        ended = all(tail is not None for _, tail in parts)
        groups = whole[0] if ended else min(whole)
        rows = [
            np.unpackbits(np.frombuffer(text, np.uint8), bitorder="little")[
                : groups * bits
            ].reshape(groups, bits)
            for (text, _), bits in zip(parts, sizes, strict=True)
        ]
        own_values, own_fields = unpack_bits(rows, packed)
        values.append(own_values)
        fields.append(own_fields)
        flags = torch.zeros(groups, 1, dtype=torch.int64)
        text, tail = parts[0]
        flags[-1:] = int(ended and groups * sizes[0] > 8 * (len(text) - (tail or 0)))
        last.append(flags)
    return torch.cat(values), torch.cat(fields), torch.cat(last)


def _tokens(
    data: torch.Tensor, counts: torch.Tensor, last: torch.Tensor
) -> list[tuple[bytes, int | None]]:
    """The bytes of each token, and how many the last word has; None: its end has not come."""
    tokens: list[tuple[bytes, int | None]] = []
    text = b""
    rows = data.numpy().astype(np.uint8)
    for row, count, ends in zip(
        rows, counts.flatten().tolist(), last.flatten().tolist(), strict=True
    ):
        text += row.tobytes()[: count if ends else len(row)]
        if ends:
            tokens.append((text, count))
            text = b""
    return [*tokens, (text, None)]
