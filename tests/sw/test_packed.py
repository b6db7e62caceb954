import re
import types
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import sw.packed
from hw.config import LAYOUTS, METADATA, ConfigError, metadata_bits
from hw.formats import FORMATS
from sw.metadata import decode, encode
from sw.packed import PackedFormat, pack_tokens, unpack_token
from sw.packing import pack, unpack
from sw.selection import select
from tests.mutant import mutant
from tests.sw import naive

DOCS = Path(__file__).parents[2] / "docs" / "packed.md"

PATTERNS = [(2, 4), (8, 16), (3, 5), (4, 4), (1, 7), (6, 7), (33, 64)]

#: The bytes of the example of the documentation: lanes 1, -3, 0, 0 and 0, 0, 5, -7, 2:4, int8.
EXAMPLE = {
    ("interleaved", "bitmap"): ["13 d0 cf 05 f9"],
    ("interleaved", "bitmap-implied"): ["0b e8 67 41 3e"],
    ("interleaved", "index"): ["14 d0 ef 05 f9"],
    ("interleaved", "enumerative"): ["08 e8 6f 41 3e"],
    ("split", "bitmap"): ["01 fd 05 f9", "c3"],
    ("split", "bitmap-implied"): ["01 fd 05 f9", "23"],
    ("split", "index"): ["01 fd 05 f9", "e4"],
    ("split", "enumerative"): ["01 fd 05 f9", "28"],
}


def naive_streams(
    groups: list[list[int]], n: int, m: int, dtype: str, code: str, layout: str
) -> tuple[bytes, ...]:
    """One token, bit after bit into one large integer for each stream."""
    width = FORMATS[dtype].width
    streams = [(0, 0)] if layout == "interleaved" else [(0, 0), (0, 0)]

    def append(stream: int, field: int, bits: int) -> None:
        number, length = streams[stream]
        streams[stream] = number + (field << length), length + bits

    for codes in groups:
        lanes = naive.kept([naive.key(code, dtype) for code in codes], n)
        for field in naive.write_meta(tuple(lanes), n, m, code):
            append(-1, field, naive.meta_width(n, m, code))
        for lane in lanes:
            append(0, codes[lane], width)
    return tuple(number.to_bytes(-(-length // 8), "little") for number, length in streams)


def streams_of(
    groups: list[list[int]],
    ends: list[int],
    packed: PackedFormat,
    module: types.ModuleType = sw.packed,
) -> list[tuple[bytes, ...]]:
    """The tokens that end before the groups `ends`."""
    codes = torch.tensor(groups)
    keys = torch.tensor([[naive.key(code, packed.dtype) for code in group] for group in groups])
    mask = select(keys, packed.n)
    last = torch.zeros(len(groups), 1, dtype=torch.int64)
    last[[end - 1 for end in ends]] = 1
    fields = encode(mask, packed.n, packed.metadata)
    return list(module.pack_tokens(pack(codes, mask, packed.n), fields, last, packed))


def formats(n: int, m: int) -> list[PackedFormat]:
    """All formats of a pattern that there are."""
    found = []
    for layout in LAYOUTS:
        for code in METADATA:
            for dtype in FORMATS:
                try:
                    found.append(PackedFormat(n=n, m=m, dtype=dtype, metadata=code, layout=layout))
                except ConfigError:
                    continue
    return found


# By hand


def test_two_groups_bit_by_bit() -> None:
    """Metadata 0011, then 01 and fd; metadata 1100, then 05 and f9: the lowest bits first."""
    whole = (
        0b0011 | 0x01 << 4 | 0xFD << 12
        | 0b1100 << 20 | 0x05 << 24 | 0xF9 << 32
    )  # fmt: skip
    packed = PackedFormat(n=2, m=4, dtype="int8")
    (token,) = streams_of([[0x01, 0xFD, 0, 0], [0, 0, 0x05, 0xF9]], [2], packed)
    assert token == (whole.to_bytes(5, "little"),)


@pytest.mark.parametrize(("layout", "code"), EXAMPLE)
def test_example(layout: str, code: str) -> None:
    packed = PackedFormat(n=2, m=4, dtype="int8", metadata=code, layout=layout)
    (token,) = streams_of([[0x01, 0xFD, 0, 0], [0, 0, 0x05, 0xF9]], [2], packed)
    assert [stream.hex(" ") for stream in token] == EXAMPLE[layout, code]
    values, fields = unpack_token(token, 2, packed)
    mask, error = decode(fields, 2, 4, code)
    assert not error.any()
    assert unpack(values, mask).tolist() == [[0x01, 0xFD, 0, 0], [0, 0, 0x05, 0xF9]]


@pytest.mark.parametrize(("layout", "code"), EXAMPLE)
def test_example_is_in_the_documentation(layout: str, code: str) -> None:
    streams = " and ".join(f"`{stream}`" for stream in EXAMPLE[layout, code])
    assert f"| `{layout}` | `{code}` | {streams} |" in DOCS.read_text()


def test_each_token_begins_with_a_byte_of_its_own() -> None:
    packed = PackedFormat(n=2, m=4, dtype="int8")
    groups = [[1, 2, 0, 0], [0, 0, 3, 4], [0, 5, 6, 0]]
    assert streams_of(groups, [1, 3], packed) == [
        (bytes([0x13, 0x20, 0x00]),),
        (bytes([0x3C, 0x40, 0x60, 0x05, 0x06]),),
    ]


def test_groups_after_the_last_token_belong_to_none() -> None:
    packed = PackedFormat(n=2, m=4, dtype="int8")
    assert streams_of([[1, 2, 0, 0], [0, 0, 3, 4]], [1], packed) == [(bytes([0x13, 0x20, 0x00]),)]
    assert streams_of([[1, 2, 0, 0]], [], packed) == []


# Against the definition


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_every_format_against_the_definition(n: int, m: int) -> None:
    # Ranks of 33:64 cannot be listed.
    chosen = [packed for packed in formats(n, m) if m < 64 or packed.metadata != "enumerative"]
    assert len(chosen) > 20
    for packed in chosen:
        groups = naive.groups(packed.dtype, m, 5, seed=n)
        ends = [1, 3, 4, len(groups)]
        tokens = streams_of(groups, ends, packed)
        assert tokens == [
            naive_streams(groups[start:end], n, m, packed.dtype, packed.metadata, packed.layout)
            for start, end in pairwise([0, *ends])
        ]


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_round_trip(n: int, m: int) -> None:
    for packed in formats(n, m):
        groups = naive.groups(packed.dtype, m, 5, seed=m)
        (token,) = streams_of(groups, [len(groups)], packed)
        values, fields = unpack_token(token, len(groups), packed)
        assert (values.dtype, fields.dtype) == (torch.int64, torch.int64)
        mask, error = decode(fields, n, m, packed.metadata)
        assert not error.any()
        for codes, lanes, kept in zip(groups, mask, values, strict=True):
            named = naive.kept([naive.key(code, packed.dtype) for code in codes], n)
            assert lanes.nonzero().flatten().tolist() == named
            assert kept.tolist() == [codes[lane] for lane in named]


@pytest.mark.parametrize("code", ["index", "enumerative"])
def test_one_mask(code: str) -> None:
    """With n = m the rank has no bits; the index list has them all the same."""
    packed = PackedFormat(n=4, m=4, dtype="int8", metadata=code)
    assert packed.metadata_bits == {"index": 8, "enumerative": 0}[code]
    (token,) = streams_of([[1, 2, 3, 4]], [1], packed)
    assert token == (bytes([0b11100100, 1, 2, 3, 4][packed.metadata_bits == 0 :]),)


def test_greatest_rank() -> None:
    """61 bits, which begin in the middle of a byte."""
    packed = PackedFormat(n=32, m=64, dtype="int4", metadata="enumerative")
    groups = [[0] * 32 + [7] * 32] * 3
    (token,) = streams_of(groups, [3], packed)
    assert len(token[0]) == -(-3 * (32 * 4 + 61) // 8)
    values, fields = unpack_token(token, 3, packed)
    mask, error = decode(fields, 32, 64, "enumerative")
    assert not error.any()
    assert unpack(values, mask).tolist() == groups


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # The highest bit first.
        (
            "packed.value_bits // packed.n).numpy()",
            "packed.value_bits // packed.n).flip(1).numpy()",
        ),
        ('.flatten(), bitorder="little"', '.flatten(), bitorder="big"'),
        # Values before metadata, metadata before values.
        ("np.concatenate([field_bits, value_bits]", "np.concatenate([value_bits, field_bits]"),
        ("(value_bits, field_bits)\n", "(field_bits, value_bits)\n"),
        # A token without its last group.
        ("bits[start:end]", "bits[start:end - 1]"),
        # Tokens that begin too early.
        ("[0, *ends][:-1]", "[0 for _ in ends]"),
    ],
)
def test_the_definition_finds_a_wrong_model(old: str, new: str) -> None:
    broken = mutant(sw.packed, old, new)
    groups = naive.groups("int8", 5, 5, seed=1)
    ends = [2, len(groups)]

    def is_right(module: types.ModuleType, layout: str) -> bool:
        packed = PackedFormat(n=3, m=5, dtype="int8", metadata="index", layout=layout)
        return streams_of(groups, ends, packed, module) == [
            naive_streams(groups[start:end], 3, 5, "int8", "index", layout)
            for start, end in pairwise([0, *ends])
        ]

    assert all(is_right(sw.packed, layout) for layout in LAYOUTS)
    assert not all(is_right(broken, layout) for layout in LAYOUTS)


# Sizes


@pytest.mark.parametrize(
    ("n", "m", "code", "expected"),
    [
        (8, 16, "enumerative", 4096 * 16 // 2 + 256 * 14),
        (8, 16, "bitmap", 4096 * 16 // 2 + 256 * 16),
        (8, 16, "bitmap-implied", 4096 * 16 // 2 + 256 * 15),
        (8, 16, "index", 4096 * 16 // 2 + 256 * 32),
        (2, 4, "enumerative", 4096 * 16 // 2 + 1024 * 3),
        (4, 8, "enumerative", 4096 * 16 // 2 + 512 * 7),
    ],
)
def test_bits_of_4096_features(n: int, m: int, code: str, expected: int) -> None:
    groups = naive.groups("bf16", m, 4096 // m, seed=1)[: 4096 // m]
    assert expected % 8 == 0
    packed = PackedFormat(n=n, m=m, metadata=code)
    assert packed.byte_counts(len(groups)) == (expected // 8,)
    (token,) = streams_of(groups, [len(groups)], packed)
    assert (len(token[0]),) == (expected // 8,)
    split = PackedFormat(n=n, m=m, metadata=code, layout="split")
    assert split.byte_counts(len(groups)) == (4096, expected // 8 - 4096)


@pytest.mark.parametrize("groups", [0, 1, 2, 3, 7, 8, 1000])
def test_bytes_are_the_fewest(groups: int) -> None:
    for packed in formats(3, 5):
        bits = (packed.value_bits, packed.metadata_bits)
        sizes = (sum(bits),) if packed.layout == "interleaved" else bits
        for count, size in zip(packed.byte_counts(groups), sizes, strict=True):
            assert count * 8 - 8 < groups * size <= count * 8


@pytest.mark.parametrize("code", METADATA)
def test_metadata_bits_are_in_the_documentation(code: str) -> None:
    bits = [metadata_bits(code, n, m) for n, m in ((2, 4), (4, 8), (8, 16), (16, 32))]
    assert f"| `{code}` | {' | '.join(map(str, bits))} |" in DOCS.read_text()


def test_token_bytes_are_in_the_documentation() -> None:
    rows = re.findall(r"\| (\d+):(\d+) \| `(\w+)` \| ([\d,]+) \| ([\d,]+) \|", DOCS.read_text())
    assert len(rows) == 4
    for n, m, dtype, whole, dense in rows:
        packed = PackedFormat(n=int(n), m=int(m), dtype=dtype, metadata="enumerative")
        assert packed.byte_counts(4096 // int(m)) == (int(whole.replace(",", "")),)
        assert 4096 * FORMATS[dtype].width // 8 == int(dense.replace(",", ""))


# Errors


@pytest.mark.parametrize(
    ("arguments", "parameter", "end"),
    [
        ({"n": 5, "m": 4}, "n", "not 5"),
        ({"n": 1, "m": 65}, "m", "not 65"),
        ({"n": 2, "m": 4, "dtype": "fp32"}, "dtype", "not 'fp32'"),
        ({"n": 2, "m": 4, "metadata": "ranks"}, "metadata", "not 'ranks'"),
        ({"n": 2, "m": 4, "layout": "rows"}, "layout", "not 'rows'"),
        # No bits in a stream, and groups that could hide in the zeros at the end.
        ({"n": 4, "m": 4, "layout": "split", "metadata": "enumerative"}, "layout", "not split"),
        ({"n": 1, "m": 2, "dtype": "int4"}, "n", "not 6"),
        ({"n": 1, "m": 8, "dtype": "int4", "layout": "split"}, "n", "not 4"),
    ],
)
def test_formats_that_there_are_not(arguments: dict[str, object], parameter: str, end: str) -> None:
    """The rules are those of the packer, and so are the messages."""
    with pytest.raises(ConfigError) as caught:
        PackedFormat(**arguments)  # type: ignore[arg-type]
    assert caught.value.parameter == parameter
    assert str(caught.value).endswith(end)


@pytest.mark.parametrize(
    ("token", "layout", "message"),
    [
        ([b"\x13\xd0"], "interleaved", "token must have (5,) bytes for 2 groups, not (2,)"),
        ([bytes(6)], "interleaved", "token must have (5,) bytes for 2 groups, not (6,)"),
        ([bytes(4)], "split", "token must have (4, 1) bytes for 2 groups, not (4,)"),
        ([bytes(4), b""], "split", "token must have (4, 1) bytes for 2 groups, not (4, 0)"),
    ],
)
def test_tokens_of_another_length(token: list[bytes], layout: str, message: str) -> None:
    packed = PackedFormat(n=2, m=4, dtype="int8", layout=layout)
    with pytest.raises(ValueError) as caught:
        unpack_token(token, 2, packed)
    assert str(caught.value) == message


def test_pack_tokens_is_the_inverse_of_unpack_token() -> None:
    """Whatever the bytes are, illegal metadata included, but for the bits at the end."""
    generator = torch.Generator().manual_seed(7)
    for packed in formats(3, 5):
        counts = packed.byte_counts(8)
        token = tuple(
            bytes(torch.randint(256, (count,), generator=generator).tolist()) for count in counts
        )
        values, fields = unpack_token(token, 8, packed)
        last = torch.tensor([0] * 7 + [1])
        assert pack_tokens(values, fields, last, packed) == [token]
