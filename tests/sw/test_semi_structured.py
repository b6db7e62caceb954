import types

import pytest
import torch
from torch.sparse import SparseSemiStructuredTensorCUTLASS
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass,
    sparse_semi_structured_to_dense_cutlass,
)

import sw.semi_structured
from hw.config import LAYOUTS, METADATA
from sw.codes import TORCH_DTYPES, codes_of
from sw.interchange import PackedError, compress, expand
from sw.packed import PackedFormat
from sw.semi_structured import (
    SemiStructuredError,
    from_semi_structured,
    packed_to_semi_structured,
    semi_structured_to_packed,
    to_semi_structured,
)
from tests.mutant import mutant

#: All nibbles that name two lanes, and the lanes.
NIBBLES = {0x4: (0, 1), 0x8: (0, 2), 0xC: (0, 3), 0x9: (1, 2), 0xD: (1, 3), 0xE: (2, 3)}

#: Rows and columns of dense matrices: one block, and odd and even numbers of blocks.
SHAPES = {
    torch.bfloat16: [(32, 32), (64, 32), (32, 64), (96, 160), (160, 96)],
    torch.float16: [(32, 32), (64, 128), (96, 96)],
    torch.int8: [(16, 64), (32, 64), (16, 128), (48, 192), (80, 320)],
}

CASES = [(dtype, shape) for dtype, shapes in SHAPES.items() for shape in shapes]


def random_matrix(
    dtype: torch.dtype, rows: int, columns: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Dense (rows, columns), two values of each group that are not 0; values; nibbles."""
    generator = torch.Generator().manual_seed(seed)
    nibbles = torch.tensor(list(NIBBLES))[
        torch.randint(6, (rows, columns // 4), generator=generator)
    ]
    values = torch.randint(1, 128, (rows, columns // 2), generator=generator)
    values *= 2 * torch.randint(2, values.shape, generator=generator) - 1
    lanes = torch.stack([nibbles % 4, nibbles // 4], dim=-1)
    dense = torch.zeros(rows, columns // 4, 4, dtype=torch.int64)
    dense.scatter_(-1, lanes, values.unflatten(1, (-1, 2)))
    return dense.flatten(1).to(dtype), values.to(dtype), nibbles


# Against PyTorch


@pytest.mark.parametrize(("dtype", "shape"), CASES)
def test_from_dense_of_pytorch(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    dense, values, nibbles = random_matrix(dtype, *shape)
    expected_values, expected_meta = sparse_semi_structured_from_dense_cutlass(dense)
    again, meta = to_semi_structured(values, nibbles)
    assert torch.equal(again, expected_values)
    assert meta.dtype == expected_meta.dtype
    assert torch.equal(meta, expected_meta)
    assert meta.is_contiguous()
    back = from_semi_structured(expected_values, expected_meta)
    assert back[1].dtype == torch.int64
    assert all(map(torch.equal, back, (values, nibbles)))


@pytest.mark.parametrize(("dtype", "shape"), CASES)
def test_to_dense_of_pytorch(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    dense, values, nibbles = random_matrix(dtype, *shape, seed=1)
    assert torch.equal(
        sparse_semi_structured_to_dense_cutlass(*to_semi_structured(values, nibbles)), dense
    )


def test_each_nibble_of_each_group() -> None:
    """All others the same, so that each place of each nibble is seen."""
    for dtype, rows, columns in ((torch.float16, 32, 32), (torch.int8, 16, 64)):
        values = torch.ones(rows, columns // 2, dtype=dtype)
        for place in range(rows * columns // 4):
            nibbles = torch.full((rows, columns // 4), 0x4)
            nibbles.view(-1)[place] = list(NIBBLES)[1 + place % 5]
            _, meta = to_semi_structured(values, nibbles)
            dense = sparse_semi_structured_to_dense_cutlass(values, meta)
            kept = dense.view(-1, 4)[place].nonzero().flatten().tolist()
            assert tuple(kept) == NIBBLES[int(nibbles.view(-1)[place])]
            assert torch.equal(from_semi_structured(values, meta)[1], nibbles)


def test_tensor_class_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class can be made of the two tensors on a CPU, where it does not compute."""
    dense, values, nibbles = random_matrix(torch.bfloat16, 64, 128)
    packed, meta = to_semi_structured(values, nibbles)
    monkeypatch.setattr(SparseSemiStructuredTensorCUTLASS, "_PROTOTYPE_WARNING_SHOWN", False)
    with pytest.warns(UserWarning, match="prototype"):
        tensor = SparseSemiStructuredTensorCUTLASS(
            dense.shape,
            packed=packed,
            meta=meta,
            packed_t=None,
            meta_t=None,
            compressed_swizzled_bitmask=None,
        )
    assert torch.equal(tensor.to_dense(), dense)


def test_kept_zeros() -> None:
    """PyTorch names other lanes of a group with fewer than two values; both are the same tensor."""
    values = torch.zeros(32, 16, dtype=torch.bfloat16)
    values[0, :2] = torch.tensor([-0.0, 3.0])
    nibbles = torch.full((32, 8), 0xC)
    again, meta = to_semi_structured(values, nibbles)
    dense = sparse_semi_structured_to_dense_cutlass(again, meta)
    assert dense[0, 3] == 3
    assert dense[0, 0].signbit()
    their_values, their_meta = sparse_semi_structured_from_dense_cutlass(dense)
    assert not torch.equal(their_meta, meta)
    _, their_nibbles = from_semi_structured(their_values, their_meta)
    assert their_nibbles[0, 0] == 0xE
    assert torch.equal(sparse_semi_structured_to_dense_cutlass(their_values, their_meta), dense)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("places.permute(4, 0, 3, 1, 5, 2)", "places.permute(4, 0, 3, 1, 2, 5)"),
        ("places.permute(4, 0, 3, 1, 5, 2)", "places.permute(0, 4, 3, 1, 5, 2)"),
        ("places.permute(4, 0, 3, 1, 5, 2)", "places.permute(4, 0, 1, 3, 5, 2)"),
        ("places.permute(1, 3, 5, 2, 0, 4)", "places.permute(1, 3, 4, 2, 0, 5)"),
        ("unflatten(1, (-1, words.groups)) << torch.arange(0, words.bits, 4)",
         "unflatten(1, (-1, words.groups)) << torch.arange(0, words.bits, 4).flip(0)"),
        ("return 32 // self.bits", "return 3 - 32 // self.bits"),
    ],
)  # fmt: skip
def test_pytorch_finds_a_wrong_module(old: str, new: str) -> None:
    broken = mutant(sw.semi_structured, old, new)

    def is_right(module: types.ModuleType) -> bool:
        dense, values, nibbles = random_matrix(torch.bfloat16, 64, 64)
        expected = sparse_semi_structured_from_dense_cutlass(dense)
        try:
            there = module.to_semi_structured(values, nibbles)
            back = module.from_semi_structured(*expected)
        except (module.SemiStructuredError, RuntimeError):
            return False
        return all(map(torch.equal, there + back, (*expected, values, nibbles)))

    assert is_right(sw.semi_structured)
    assert not is_right(broken)


# Packed tensors


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("code", METADATA)
@pytest.mark.parametrize(("dtype", "rows", "columns"), [("bf16", 64, 96), ("int8", 32, 128)])
def test_packed_tensors(layout: str, code: str, dtype: str, rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(3)
    numbers = torch.randint(-128, 128, (rows, columns), generator=generator)
    packed_format = PackedFormat(n=2, m=4, dtype=dtype, metadata=code, layout=layout)
    packed = compress(numbers.to(TORCH_DTYPES[dtype]), packed_format)
    values, meta = packed_to_semi_structured(packed)
    dense = expand(packed)
    assert torch.equal(sparse_semi_structured_to_dense_cutlass(values, meta), dense)
    again = semi_structured_to_packed(values, meta, packed_format)
    assert again.shape == (rows, columns)
    assert all(map(torch.equal, again.streams, packed.streams))
    theirs = semi_structured_to_packed(
        *sparse_semi_structured_from_dense_cutlass(dense), packed_format
    )
    assert torch.equal(codes_of(expand(theirs), dtype), codes_of(dense, dtype))


# Errors


def meta_of(dtype: torch.dtype, rows: int, columns: int) -> torch.Tensor:
    _, values, nibbles = random_matrix(dtype, rows, columns)
    return to_semi_structured(values, nibbles)[1]


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        (
            torch.bfloat16,
            (16, 16),
            "values must have a multiple of 32 rows for torch.bfloat16, not 16",
        ),
        (
            torch.float16,
            (32, 24),
            "values must have a multiple of 16 columns for torch.float16, not 24",
        ),
        (torch.int8, (24, 32), "values must have a multiple of 16 rows for torch.int8, not 24"),
        (torch.int8, (16, 48), "values must have a multiple of 32 columns for torch.int8, not 48"),
        (
            torch.int8,
            (0, 32),
            "values must have shape (rows, K / 2), both at least 1, not (0, 32)",
        ),
        (torch.int8, (32,), "values must have shape (rows, K / 2), both at least 1, not (32,)"),
    ],
)
def test_shapes_of_values(dtype: torch.dtype, shape: tuple[int, ...], message: str) -> None:
    values = torch.ones(shape).to(dtype)
    word = torch.int32 if dtype == torch.int8 else torch.int16
    for convert, second in (
        (to_semi_structured, torch.zeros(1, 1, dtype=torch.int64)),
        (from_semi_structured, torch.zeros(1, 1, dtype=word)),
    ):
        with pytest.raises(SemiStructuredError) as caught:
            convert(values, second)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        (torch.bfloat16, (16, 32)), (torch.bfloat16, (32, 48)), (torch.bfloat16, (32, 16)),
        (torch.int8, (24, 64)), (torch.int8, (16, 96)), (torch.int8, (16, 32)),
    ],
)  # fmt: skip
def test_what_is_refused_pytorch_refuses_too(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    with pytest.raises(RuntimeError):
        sparse_semi_structured_from_dense_cutlass(torch.ones(shape).to(dtype))
    values = torch.ones(shape[0], shape[1] // 2).to(dtype)
    with pytest.raises(SemiStructuredError):
        to_semi_structured(values, torch.full((shape[0], shape[1] // 4), 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float8_e4m3fn, torch.int16])
def test_types_of_values(dtype: torch.dtype) -> None:
    values = torch.zeros(32, 32).to(dtype)
    for convert in (to_semi_structured, from_semi_structured):
        with pytest.raises(TypeError) as caught:
            convert(values, torch.zeros(32, 16, dtype=torch.int64))
        assert str(caught.value) == (
            f"values must be one of torch.bfloat16, torch.float16, torch.int8, not {dtype}"
        )


def test_nibbles_and_meta_of_another_type_or_shape() -> None:
    values = torch.ones(32, 32, dtype=torch.bfloat16)
    for convert, second, kind, message in (
        (
            to_semi_structured,
            torch.full((32, 16), 4, dtype=torch.int32),
            TypeError,
            "nibbles must be torch.int64, not torch.int32",
        ),
        (
            to_semi_structured,
            torch.full((32, 8), 4),
            SemiStructuredError,
            "nibbles must have shape (32, 16), not (32, 8)",
        ),
        (
            from_semi_structured,
            meta_of(torch.int8, 32, 64),
            TypeError,
            "meta must be torch.int16 for torch.bfloat16, not torch.int32",
        ),
        (
            from_semi_structured,
            meta_of(torch.bfloat16, 32, 32),
            SemiStructuredError,
            "meta must have shape (32, 4), not (32, 2)",
        ),
    ):
        with pytest.raises(kind) as caught:
            convert(values, second)
        assert str(caught.value) == message


@pytest.mark.parametrize("nibble", sorted(set(range(-1, 18)) - set(NIBBLES)))
def test_nibbles_that_name_no_two_lanes(nibble: int) -> None:
    values = torch.ones(32, 16, dtype=torch.bfloat16)
    nibbles = torch.full((32, 8), 0x4)
    nibbles[3, 5] = nibble
    with pytest.raises(SemiStructuredError) as caught:
        to_semi_structured(values, nibbles)
    assert str(caught.value) == (
        "nibbles must name two lanes of each group, the lower one first, "
        f"not {nibble:#x} in row 3, group 5"
    )


def test_meta_that_names_no_two_lanes() -> None:
    """Row 8, group 6: the second of four rows that lie together, and the second word."""
    values, meta = torch.ones(32, 16, dtype=torch.bfloat16), meta_of(torch.bfloat16, 32, 32)
    for nibble in sorted(set(range(16)) - set(NIBBLES)):
        broken = meta.clone()
        broken.view(-1)[3] = (int(broken.view(-1)[3]) & ~0xF00) | nibble << 8
        with pytest.raises(SemiStructuredError) as caught:
            from_semi_structured(values, broken)
        assert str(caught.value) == (
            "meta must name two lanes of each group, the lower one first, "
            f"not {nibble:#x} in row 8, group 6"
        )


@pytest.mark.parametrize(
    ("packed_format", "features", "message"),
    [
        (PackedFormat(n=4, m=8), 32, "pattern must be 2:4, not 4:8"),
        (
            PackedFormat(n=2, m=4, dtype="int4"),
            32,
            "dtype must be one of bf16, fp16, int8, not int4",
        ),
        (PackedFormat(n=2, m=4), 31, "packed must have a multiple of 4 features, not 31"),
    ],
)
def test_packed_tensors_that_pytorch_cannot_hold(
    packed_format: PackedFormat, features: int, message: str
) -> None:
    numbers = torch.ones(32, features).to(TORCH_DTYPES[packed_format.dtype])
    with pytest.raises(SemiStructuredError) as caught:
        packed_to_semi_structured(compress(numbers, packed_format))
    assert str(caught.value) == message


def test_formats_that_do_not_fit_the_values() -> None:
    values, meta = torch.ones(32, 16, dtype=torch.bfloat16), meta_of(torch.bfloat16, 32, 32)
    for packed_format, message in (
        (PackedFormat(n=2, m=4, dtype="fp16"), "dtype must be bf16 for torch.bfloat16, not fp16"),
        (PackedFormat(n=1, m=4), "pattern must be 2:4, not 1:4"),
    ):
        with pytest.raises(SemiStructuredError) as caught:
            semi_structured_to_packed(values, meta, packed_format)
        assert str(caught.value) == message


def test_illegal_bytes() -> None:
    packed = compress(torch.ones(32, 32).bfloat16(), PackedFormat(n=2, m=4))
    packed.streams[0][0] |= 0xF
    with pytest.raises(PackedError):
        packed_to_semi_structured(packed)
