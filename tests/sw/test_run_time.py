import random

import pytest
import torch

from hw.config import UnitConfig
from hw.formats import FORMATS
from sw.golden import scores, unit_model
from sw.run_time import (
    any_rank,
    code_bits,
    pack_dense,
    padded_index,
    select_any_n,
    select_flexible,
)
from tests.sw import naive

#: Lists of patterns: those of the literature; one that does not fill its port; odd shares.
LISTS = [
    ((2, 4), (4, 8), (8, 16)),
    ((1, 4), (2, 4), (2, 8), (6, 8), (8, 8)),
    ((1, 3), (2, 3), (3, 9), (8, 9)),
    ((3, 5),),
]


def numbers_of(patterns: tuple[tuple[int, int], ...]) -> range:
    """All that a port of as many bits as are needed carries."""
    return range(1 << max(1, (len(patterns) - 1).bit_length()))


def kept(keys: list[int], number: int, patterns: tuple[tuple[int, int], ...]) -> list[list[int]]:
    """For each group of the pattern in force the lanes kept, counted within the group."""
    if number >= len(patterns):
        return []
    n, m = patterns[number]
    return [naive.kept(keys[start : start + m], n) for start in range(0, len(keys), m)]


def lanes(keys: list[int], number: int, patterns: tuple[tuple[int, int], ...]) -> list[int]:
    """The lanes kept, counted over all groups."""
    return [
        group * patterns[number][1] + lane
        for group, listed in enumerate(kept(keys, number, patterns))
        for lane in listed
    ]


def key_groups(m: int, count: int, largest: int) -> list[list[int]]:
    chosen = random.Random(m)
    return [[chosen.randint(0, largest) for _ in range(m)] for _ in range(count)]


@pytest.mark.parametrize("largest", [1, 3, 2**40])
@pytest.mark.parametrize("m", [1, 2, 5, 8, 16])
def test_any_n(m, largest):
    cases = [(keys, n) for keys in key_groups(m, 12, largest) for n in range(m + 3)]
    mask = select_any_n(
        torch.tensor([keys for keys, _ in cases]), torch.tensor([n for _, n in cases])
    )
    assert mask.dtype == torch.bool
    expected = [naive.bitmap(naive.kept(keys, n) if n <= m else [], m) for keys, n in cases]
    assert mask.to(torch.int64).tolist() == expected


def test_any_n_of_other_shapes():
    keys = torch.randint(0, 4, (2, 3, 5), generator=torch.Generator().manual_seed(1))
    n = torch.tensor([[0, 1, 2], [5, 6, 3]])
    mask = select_any_n(keys, n)
    assert mask.shape == keys.shape
    assert mask.sum(-1).tolist() == [[0, 1, 2], [5, 0, 3]]
    assert select_any_n(torch.zeros(0, 5, dtype=torch.int64), torch.zeros(0)).shape == (0, 5)


@pytest.mark.parametrize("patterns", LISTS)
@pytest.mark.parametrize("largest", [1, 3, 2**40])
def test_flexible(patterns, largest):
    m = max(m for _, m in patterns)
    cases = [
        (keys, number) for keys in key_groups(m, 20, largest) for number in numbers_of(patterns)
    ]
    mask = select_flexible(
        torch.tensor([keys for keys, _ in cases]),
        torch.tensor([number for _, number in cases]),
        patterns,
    )
    assert mask.dtype == torch.bool
    expected = [naive.bitmap(lanes(keys, number, patterns), m) for keys, number in cases]
    assert mask.to(torch.int64).tolist() == expected


def test_pattern_of_two_fours():
    """The second group has nothing as large as what the first one drops."""
    keys = torch.tensor([[9, 8, 7, 6, 1, 2, 3, 0]] * 4)
    mask = select_flexible(keys, torch.arange(4), ((2, 4), (4, 8), (1, 2)))
    assert mask.to(torch.int64).tolist() == [
        [1, 1, 0, 0, 0, 1, 1, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 0, 1, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("m", [1, 2, 5, 8])
def test_dense(m):
    """Every mask of m lanes, and as many slots as lanes."""
    masks = [naive.bitmap([j for j in range(m) if k >> j & 1], m) for k in range(1 << m)]
    codes = [[10 + k + 7 * j for j in range(m)] for k in range(1 << m)]
    mask = torch.tensor(masks, dtype=torch.bool)
    for slots in range(1, m + 1):
        packed = pack_dense(torch.tensor(codes), mask, slots).tolist()
        listed = padded_index(mask, slots).tolist()
        for group, ones, values, index in zip(codes, masks, packed, listed, strict=True):
            taken = [j for j in range(m) if ones[j]][:slots]
            rest = [0] * (slots - len(taken))
            assert values == [group[j] for j in taken] + rest
            assert index == taken + rest


@pytest.mark.parametrize("code", ["index", "bitmap-implied", "enumerative"])
@pytest.mark.parametrize("patterns", LISTS)
def test_code_bits(patterns, code):
    m = max(m for _, m in patterns)
    config = UnitConfig(flexible=patterns, metadata=code)
    cases = [(keys, number) for keys in key_groups(m, 20, 3) for number in numbers_of(patterns)]
    mask = torch.tensor(
        [naive.bitmap(lanes(keys, number, patterns), m) for keys, number in cases],
        dtype=torch.bool,
    )
    pattern = torch.tensor([number for _, number in cases])
    bits = code_bits(mask, pattern, patterns, code, config.metadata_width)
    for (keys, number), row in zip(cases, bits.tolist(), strict=True):
        expected: list[int] = []
        for group in kept(keys, number, patterns):
            n, size = patterns[number]
            width = naive.meta_width(n, size, code)
            for field in naive.write_meta(tuple(group), n, size, code):
                expected += [field >> place & 1 for place in range(width)]
        assert row == expected + [0] * (len(row) - len(expected))


@pytest.mark.parametrize("m", [2, 5, 8])
def test_any_rank(m):
    """Every mask of m lanes has the rank among those with as many ones."""
    for n in range(m + 1):
        for rank, lanes in enumerate(naive.masks(n, m)):
            mask = torch.tensor([naive.bitmap(list(lanes), m)], dtype=torch.bool)
            assert any_rank(mask).tolist() == [[rank]]


@pytest.mark.parametrize("dtype", FORMATS)
def test_score_bits(dtype):
    """The leading bits of the key, at a fixed place; the cut makes ties."""
    number_format = FORMATS[dtype]
    groups = naive.groups(dtype, 8, 24, seed=1)
    for bits in range(1, number_format.key_width + 1):
        config = UnitConfig(n=3, m=8, unit="selector", dtype=dtype, score_bits=bits)
        cut = number_format.key_width - bits
        keys = [[naive.key(code, dtype) >> cut for code in group] for group in groups]
        assert scores(config, torch.tensor(groups)).tolist() == keys
        mask = unit_model(config)({"data": torch.tensor(groups)})["mask"]
        assert mask.tolist() == [naive.bitmap(naive.kept(group, 3), 8) for group in keys]


def test_all_score_bits_are_the_key():
    whole = UnitConfig(n=2, m=4, dtype="bf16")
    cut = UnitConfig(n=2, m=4, dtype="bf16", score_bits=15)
    codes = torch.tensor([[0x8001, 0x7FC0, 0xFF80, 0x0000]])
    assert scores(whole, codes).tolist() == scores(cut, codes).tolist() == [[1, 0x7FC0, 0x7F80, 0]]


@pytest.mark.parametrize("metadata", ["bitmap", "index"])
@pytest.mark.parametrize("patterns", LISTS)
def test_flexible_sparsifier(patterns, metadata):
    config = UnitConfig(flexible=patterns, dtype="int8", metadata=metadata)
    groups = naive.groups("int8", config.m, 40, seed=2)
    pattern = [k % len(numbers_of(patterns)) for k in range(len(groups))]
    result = unit_model(config)(
        {
            "data": torch.tensor(groups),
            "last": torch.zeros(len(groups), 1, dtype=torch.int64),
            "pattern": torch.tensor(pattern).unsqueeze(-1),
        }
    )
    width = 1 if metadata == "bitmap" else config.metadata_width
    assert result["meta"].shape == (len(groups), config.m if width == 1 else width)
    for group, number, values, meta in zip(
        groups, pattern, result["values"].tolist(), result["meta"].tolist(), strict=True
    ):
        keys = [naive.key(code, "int8") for code in group]
        taken = lanes(keys, number, patterns)
        assert values == [group[j] for j in taken] + [0] * (config.slots - len(taken))
        if metadata == "bitmap":
            assert meta == naive.bitmap(taken, config.m)
        else:
            fields = [lane for listed in kept(keys, number, patterns) for lane in listed]
            size = (patterns[number][1] - 1).bit_length() if number < len(patterns) else 0
            assert naive.words(meta, 1) == naive.words(fields, size)


@pytest.mark.parametrize("metadata", ["bitmap", "index"])
@pytest.mark.parametrize("m", [4, 7])
def test_sparsifier_of_any_n(m, metadata):
    config = UnitConfig(n=1, m=m, n_runtime=True, dtype="fp8_e4m3", metadata=metadata)
    groups = naive.groups("fp8_e4m3", m, 40, seed=3)
    counts = [k % (1 << m.bit_length()) for k in range(len(groups))]
    result = unit_model(config)(
        {
            "data": torch.tensor(groups),
            "last": torch.zeros(len(groups), 1, dtype=torch.int64),
            "n": torch.tensor(counts).unsqueeze(-1),
        }
    )
    for group, n, values, meta in zip(
        groups, counts, result["values"].tolist(), result["meta"].tolist(), strict=True
    ):
        keys = [naive.key(code, "fp8_e4m3") for code in group]
        taken = naive.kept(keys, n) if n <= m else []
        rest = [0] * (m - len(taken))
        assert values == [group[j] for j in taken] + rest
        assert meta == (naive.bitmap(taken, m) if metadata == "bitmap" else taken + rest)
