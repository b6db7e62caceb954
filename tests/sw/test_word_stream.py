import pytest
import torch

from hw.config import LAYOUTS, METADATA, WORDS
from sw.interchange import compress
from sw.metadata import encode
from sw.packed import PackedFormat, pack_tokens
from sw.selection import select
from sw.word_stream import pack_words, unpack_words

ENDS = (1, 4, 5, 17)


def groups(packed: PackedFormat, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    width = packed.value_bits // packed.n
    values = torch.randint(1 << width, (count, packed.n), generator=generator)
    keys = torch.randint(1 << 12, (count, packed.m), generator=generator)
    fields = encode(select(keys, packed.n), packed.n, packed.metadata)
    last = torch.zeros(count, 1, dtype=torch.int64)
    last[[end - 1 for end in ENDS if end <= count]] = 1
    return values, fields, last


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("code", METADATA)
@pytest.mark.parametrize(("n", "m", "dtype"), [(2, 4, "int8"), (8, 16, "bf16"), (3, 7, "int4")])
def test_words_are_the_bytes_of_the_tokens(n, m, dtype, code, layout, word):
    packed = PackedFormat(n=n, m=m, dtype=dtype, metadata=code, layout=layout)
    values, fields, last = groups(packed, ENDS[-1])
    tokens = pack_tokens(values, fields, last, packed)
    streams = pack_words(values, fields, last, packed, word)
    for number, (data, counts, ends) in enumerate(streams):
        found, text = [], b""
        for row, count, end in zip(data.tolist(), counts.flatten(), ends.flatten(), strict=True):
            assert end or count == word // 8
            assert not any(row[count:])
            text += bytes(row[:count])
            if end:
                found.append(text)
                text = b""
        assert text == b""
        assert found == [token[number] for token in tokens]
    again = unpack_words(streams, packed)
    for column, expected in zip(again, (values, fields, last), strict=True):
        assert torch.equal(column, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_token_without_its_end_gives_full_words_only(layout):
    packed = PackedFormat(n=2, m=4, dtype="int8", layout=layout)
    values, fields, last = groups(packed, ENDS[-1] - 1)
    cut = pack_words(values, fields, last, packed, 32)
    for (data, counts, ends), size in zip(cut, packed.stream_bits, strict=True):
        open_groups = len(values) - ENDS[-2]
        closed = sum(-(-length * size // 32) for length in (1, 3, 1))
        assert len(data) == closed + open_groups * size // 32
        assert counts[closed:].flatten().tolist() == [4] * (len(data) - closed)
        assert not ends[closed:].any()


def test_what_is_no_whole_group_is_dropped():
    packed = PackedFormat(n=2, m=4, dtype="int8")
    # Groups of 20 bits: a token of 6 bytes has two, one of 2 bytes has none.
    data = torch.tensor([[0x13, 0x20, 0x00, 0xFF], [0xEE, 0x0F, 9, 9], [1, 2, 9, 9]])
    counts = torch.tensor([[4], [2], [2]])
    last = torch.tensor([[0], [1], [1]])
    values, fields, ends = unpack_words([(data, counts, last)], packed)
    assert values.tolist() == [[0x01, 0x02], [0xFF, 0xEE]]
    assert fields.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert ends.tolist() == [[0], [1]]


def test_a_last_word_without_bits_of_a_group_has_no_last():
    packed = PackedFormat(n=2, m=8, dtype="int8")
    # Groups of 24 bits: tokens of 3 bytes, and of 4 and 1, whose group is in the first word.
    data = torch.tensor([[0x03, 0x01, 0x02, 0xFF], [0x81, 0x03, 0x04, 9], [0xFF, 9, 9, 9]])
    counts = torch.tensor([[3], [4], [1]])
    last = torch.tensor([[1], [0], [1]])
    values, fields, ends = unpack_words([(data, counts, last)], packed)
    assert values.tolist() == [[1, 2], [3, 4]]
    assert fields.tolist() == [[1, 1, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 1]]
    assert ends.tolist() == [[1], [0]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_holds_the_words_of_the_stream(layout):
    """What a packer writes to memory, token after token, is what a packed file holds."""
    packed = PackedFormat(n=8, m=16, dtype="bf16", metadata="enumerative", layout=layout)
    generator = torch.Generator().manual_seed(7)
    dense = torch.randn(5, 64, generator=generator).to(torch.bfloat16)
    compressed = compress(dense, packed)
    codes = dense.view(torch.int16).to(torch.int64) & 0xFFFF
    cut = codes.reshape(-1, 16)
    mask = select(cut & 0x7FFF, 8)
    values = cut[mask].reshape(-1, 8)
    last = torch.tensor([0, 0, 0, 1] * 5)
    words = pack_words(values, encode(mask, 8, "enumerative"), last, packed, 128)
    for stream, (data, counts, _) in zip(compressed.streams, words, strict=True):
        rows = zip(data.tolist(), counts.flatten().tolist(), strict=True)
        assert bytes(stream.tolist()) == b"".join(bytes(row[:count]) for row, count in rows)
