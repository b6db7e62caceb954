import doctest
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

import sw.interchange
from hw.config import LAYOUTS, METADATA, UnitConfig
from hw.formats import FORMATS
from sw.codes import TORCH_DTYPES, codes_of, numbers_of
from sw.golden import sparsify
from sw.groups import to_groups
from sw.interchange import (
    FORMAT,
    Packed,
    PackedError,
    compress,
    expand,
    pack_groups,
    read_packed,
    unpack_groups,
    write_packed,
)
from sw.packed import PackedFormat, unpack_token
from sw.packing import unpack
from tests.mutant import mutant
from tests.sw import naive
from tests.sw.test_packed import DOCS, formats, naive_streams

INT8 = PackedFormat(n=2, m=4, dtype="int8")
SPLIT = PackedFormat(n=2, m=4, dtype="int8", layout="split")


def random_numbers(tokens: int, features: int, dtype: str, seed: int = 0) -> torch.Tensor:
    """Random bits: NaNs, infinities and both zeros among them."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(1 << FORMATS[dtype].width, (tokens, features), generator=generator)
    codes[torch.rand(codes.shape, generator=generator) < 0.3] = 0
    return numbers_of(codes, dtype)


def bytes_of(packed: Packed) -> tuple[bytes, ...]:
    return tuple(bytes(stream.tolist()) for stream in packed.streams)


def streams(*texts: str) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8) for text in texts)


def test_doctests() -> None:
    assert doctest.testmod(sw.interchange).failed == 0


# Tensors


def test_tokens_follow_each_other() -> None:
    numbers = torch.tensor([[1, 2, 0, 0], [0, 0, 3, 4]], dtype=torch.int8)
    packed = compress(numbers, INT8)
    assert bytes_of(packed) == (bytes.fromhex("132000 3c4000"),)
    assert packed.groups == 1
    assert bytes_of(compress(numbers, SPLIT)) == (bytes.fromhex("0102 0304"), bytes([3, 12]))


@pytest.mark.parametrize(("n", "m"), [(2, 4), (8, 16), (3, 5), (4, 4)])
@pytest.mark.parametrize("features", [1, 15, 16, 33])
def test_every_format(n: int, m: int, features: int) -> None:
    for packed_format in formats(n, m):
        dtype = packed_format.dtype
        numbers = random_numbers(3, features, dtype)
        packed = compress(numbers, packed_format)
        assert packed.shape == (3, features)
        # By the definition, bit by bit.
        rows = to_groups(codes_of(numbers, dtype), m).tolist()
        code, layout = packed_format.metadata, packed_format.layout
        tokens = [naive_streams(row, n, m, dtype, code, layout) for row in rows]
        assert bytes_of(packed) == tuple(map(b"".join, zip(*tokens, strict=True)))
        # By the golden sparsifier.
        values, mask = sparsify(UnitConfig(n=n, m=m, dtype=dtype), torch.tensor(rows))
        dense = numbers_of(unpack(values, mask).flatten(1)[:, :features], dtype)
        again = expand(packed)
        assert again.dtype == TORCH_DTYPES[dtype]
        assert torch.equal(codes_of(again, dtype), codes_of(dense, dtype))
        assert all(map(torch.equal, unpack_groups(packed), (values, mask)))
        assert bytes_of(pack_groups(values, mask, features, packed_format)) == bytes_of(packed)
        # What was kept is kept again.
        assert bytes_of(compress(again, packed_format)) == bytes_of(packed)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = random_numbers(7, 20, "bf16")
    packed_format = PackedFormat(n=2, m=4, metadata="enumerative", layout="split")
    whole = compress(numbers, packed_format)
    dense = codes_of(expand(whole), "bf16")
    for block in (1, 20, 47):
        monkeypatch.setattr(sw.interchange, "_BLOCK", block)
        assert bytes_of(compress(numbers, packed_format)) == bytes_of(whole)
        assert torch.equal(codes_of(expand(whole), "bf16"), dense)
        values, mask = unpack_groups(whole)
        assert bytes_of(pack_groups(values, mask, 20, packed_format)) == bytes_of(whole)
    broken = Packed((whole.streams[0], whole.streams[1] | 0x7), (7, 20), packed_format)
    with pytest.raises(PackedError) as caught:
        expand(broken)
    assert str(caught.value) == (
        "packed must have enumerative metadata that names 2 of 4 lanes, not [7] in token 0, group 0"
    )


def test_view_and_gradient_are_taken_as_they_are() -> None:
    numbers = torch.arange(32, dtype=torch.float32).bfloat16().reshape(8, 4).T.requires_grad_()
    packed = compress(numbers, PackedFormat(n=2, m=4))
    assert bytes_of(packed) == bytes_of(compress(numbers.detach().clone(), PackedFormat(n=2, m=4)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # The largest are dropped, or another dtype decides.
        ("sparsify(config, codes)", "sparsify(config, codes.flip(-1))"),
        ("n=packed_format.n, m=packed_format.m, dtype=packed_format.dtype)",
         "n=packed_format.n, m=packed_format.m, dtype='int16')"),
        # One token instead of many.
        ("last[:, -1] = 1", "last[-1, -1] = 1"),
        # The padding stays, or the row begins late.
        (".flatten(1)[:, :features], packed", ".flatten(1)[:, -features:], packed"),
    ],
)  # fmt: skip
def test_wrong_modules_are_found(old: str, new: str) -> None:
    broken = mutant(sw.interchange, old, new)
    numbers = torch.tensor([[9, -3, 0, 1, -8, 2], [5, 4, -1, -9, 0, 0]], dtype=torch.int8)
    rows = to_groups(codes_of(numbers, "int8"), 4).tolist()
    tokens = [naive_streams(row, 2, 4, "int8", "enumerative", "interleaved") for row in rows]
    dense = [[9, -3, 0, 0, -8, 2], [5, 0, 0, -9, 0, 0]]
    packed_format = PackedFormat(n=2, m=4, dtype="int8", metadata="enumerative")

    def is_right(module: types.ModuleType) -> bool:
        try:
            packed = module.compress(numbers, packed_format)
        except module.PackedError:
            return False
        same = bytes_of(packed)[0] == b"".join(stream for (stream,) in tokens)
        return same and module.expand(packed).tolist() == dense

    assert is_right(sw.interchange)
    assert not is_right(broken)


@pytest.mark.parametrize(
    ("numbers", "dtype", "kind", "message"),
    [
        ([[1.0]], "bf16", TypeError, "numbers must be a torch.Tensor, not [[1.0]]"),
        (
            torch.zeros(2, 4),
            "bf16",
            TypeError,
            "numbers must be torch.bfloat16 for bf16, not torch.float32",
        ),
        (
            torch.full((2, 4), -9, dtype=torch.int8),
            "int4",
            ValueError,
            "numbers must be between -8 and 7 for int4, not -9 .. -9",
        ),
        (
            torch.zeros(4, dtype=torch.bfloat16),
            "bf16",
            PackedError,
            "numbers must have shape (tokens, features), both at least 1, not (4,)",
        ),
        (
            torch.zeros(0, 4, dtype=torch.bfloat16),
            "bf16",
            PackedError,
            "numbers must have shape (tokens, features), both at least 1, not (0, 4)",
        ),
    ],
)
def test_wrong_numbers(
    numbers: torch.Tensor, dtype: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        compress(numbers, PackedFormat(n=2, m=4, dtype=dtype))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (
            torch.zeros(1, 2, 3, dtype=torch.int64),
            torch.ones(1, 2, 4, dtype=torch.bool),
            "values must have shape (1, 2, 2), not (1, 2, 3)",
        ),
        (
            torch.zeros(1, 2, 2, dtype=torch.int64),
            torch.ones(1, 2, 5, dtype=torch.bool),
            "mask must have shape (1, 2, 4), not (1, 2, 5)",
        ),
        (
            torch.full((1, 2, 2), 256),
            torch.tensor([True, True, False, False]).expand(1, 2, 4),
            "values must be codes of 8 bits, not 256 .. 256",
        ),
        (
            torch.full((1, 2, 2), -1),
            torch.tensor([True, True, False, False]).expand(1, 2, 4),
            "values must be codes of 8 bits, not -1 .. -1",
        ),
        (
            torch.zeros(2, 2, dtype=torch.int64),
            torch.ones(1, 2, 4, dtype=torch.bool),
            "values must have 3 dimensions, not 2",
        ),
        (
            torch.zeros(0, 2, 2, dtype=torch.int64),
            torch.ones(0, 2, 4, dtype=torch.bool),
            "shape must be at least 1 token and 1 feature, not (0, 8)",
        ),
        (
            torch.zeros(1, 2, 2, dtype=torch.int64),
            torch.ones(1, 2, 4, dtype=torch.bool),
            "mask must keep exactly 2 lanes of each group, not 4",
        ),
    ],
)
def test_wrong_groups(values: torch.Tensor, mask: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        pack_groups(values, mask, 8, INT8)
    assert str(caught.value) == message


def test_groups_of_another_type() -> None:
    values, mask = torch.zeros(1, 2, 2, dtype=torch.int64), torch.ones(1, 2, 4, dtype=torch.bool)
    for arguments, message in (
        ((values.int(), mask, 8, INT8), "values must be torch.int64, not torch.int32"),
        ((values, mask.long(), 8, INT8), "mask must be torch.bool, not torch.int64"),
        ((values, mask, 8, (2, 4)), "format must be a PackedFormat, not (2, 4)"),
    ):
        with pytest.raises(TypeError) as caught:
            pack_groups(*arguments)  # type: ignore[arg-type]
        assert str(caught.value) == message
    with pytest.raises(TypeError) as caught:
        compress(torch.zeros(1, 4), "2:4")  # type: ignore[arg-type]
    assert str(caught.value) == "format must be a PackedFormat, not '2:4'"


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((streams("00"), (1, 4), "2:4"), TypeError, "format must be a PackedFormat, not '2:4'"),
        ((streams("00"), 4, INT8), TypeError, "shape must be (tokens, features), not 4"),
        (
            (streams("00"), (1.0, 4), INT8),
            TypeError,
            "shape must be (tokens, features), not (1.0, 4)",
        ),
        (
            (streams("00"), (0, 4), INT8),
            PackedError,
            "shape must be at least 1 token and 1 feature, not (0, 4)",
        ),
        (
            ((torch.zeros(3, dtype=torch.int8),), (1, 4), INT8),
            TypeError,
            "packed must have streams of 1-dimensional torch.uint8, not 1-dimensional torch.int8",
        ),
        (
            ((b"\0\0\0",), (1, 4), INT8),
            TypeError,
            "packed must have streams of 1-dimensional torch.uint8, not b'\\x00\\x00\\x00'",
        ),
        (
            (streams("000000"), (1, 4), SPLIT),
            PackedError,
            "packed must have the streams values and metadata in layout split, not 1",
        ),
        (
            (streams("000000"), (2, 4), INT8),
            PackedError,
            "packed must have 6 bytes for 2 tokens of 4 features, not 3",
        ),
        (
            (streams("0000", "0000"), (1, 4), SPLIT),
            PackedError,
            "packed must have 2 and 1 bytes for 1 tokens of 4 features, not 2 and 2",
        ),
    ],
)
def test_wrong_packed(arguments: tuple[object, ...], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        Packed(*arguments)  # type: ignore[arg-type]
    assert str(caught.value) == message


#: Streams of a token of 6 features at 2:4, int8, that mean nothing, and what is wrong.
ILLEGAL = [
    (
        INT8,
        ["13d0ff05f9"],
        "must have bitmap metadata that names 2 of 4 lanes, not [1, 1, 1, 1] in token 0, group 1",
    ),
    (
        PackedFormat(n=2, m=4, dtype="int8", metadata="index", layout="split"),
        ["01fd05f9", "e1"],
        "must have index metadata that names 2 of 4 lanes, not [1, 0] in token 0, group 0",
    ),
    (
        PackedFormat(n=2, m=4, dtype="int8", metadata="enumerative", layout="split"),
        ["01fd05f9", "30"],
        "must have enumerative metadata that names 2 of 4 lanes, not [6] in token 0, group 1",
    ),
    (
        PackedFormat(n=2, m=4, dtype="int8", metadata="bitmap-implied", layout="split"),
        ["01fd05f9", "1f"],
        "must have bitmap-implied metadata that names 2 of 4 lanes, not [1, 1, 1] in token 0, "
        "group 0",
    ),
    # Lanes 2 and 3 of the second group are no features.
    (INT8, ["13d0cf05f9"], "must have +0 in the padding of a row, not code 0x5 in token 0"),
    (
        PackedFormat(n=2, m=4, dtype="int8", metadata="enumerative", layout="split"),
        ["01fd0500", "42"],
        "must have zeros after the last group of a token, not 0x42 as the last byte of token 0",
    ),
]


@pytest.mark.parametrize(("packed_format", "texts", "rule"), ILLEGAL)
def test_illegal_content(packed_format: PackedFormat, texts: list[str], rule: str) -> None:
    packed = Packed(streams(*texts), (1, 6), packed_format)
    for read in (expand, unpack_groups):
        with pytest.raises(PackedError) as caught:
            read(packed)
        assert str(caught.value) == f"packed {rule}"


def test_place_of_illegal_metadata() -> None:
    """Token and group are counted over the whole tensor."""
    numbers = torch.ones(5, 12, dtype=torch.int8)
    (stream,) = compress(numbers, INT8).streams
    assert len(stream) == 5 * 8
    stream[3 * 8 + 5] &= 0x0F  # The bitmap of group 2 begins at bit 40.
    stream[3 * 8 + 5] &= 0xF0
    with pytest.raises(PackedError) as caught:
        expand(Packed((stream,), (5, 12), INT8))
    assert str(caught.value) == (
        "packed must have bitmap metadata that names 2 of 4 lanes, not [0, 0, 0, 0] in token 3, "
        "group 2"
    )


# Files


def test_round_trip(tmp_path: Path) -> None:
    written = {}
    for place, packed_format in enumerate(formats(3, 5)):
        numbers = random_numbers(3, 11, packed_format.dtype, seed=place)
        written[f"layers.{place}.q_proj"] = compress(numbers, packed_format)
    write_packed(tmp_path / "new" / "a.safetensors", written)
    read = read_packed(tmp_path / "new" / "a.safetensors")
    assert list(read) == list(written)
    for name, packed in read.items():
        assert packed.format == written[name].format
        assert packed.shape == written[name].shape
        assert bytes_of(packed) == bytes_of(written[name])


def test_file_is_plain_safetensors(tmp_path: Path) -> None:
    numbers = torch.tensor([[1, -3, 0, 0, 0, 0, 5, -7]], dtype=torch.int8)
    tensors = {"größer": compress(numbers, SPLIT), "x.y": compress(numbers, INT8)}
    write_packed(tmp_path / "a", tensors)
    loaded = safetensors.torch.load_file(tmp_path / "a")
    assert {name: bytes(tensor.tolist()).hex(" ") for name, tensor in loaded.items()} == {
        "größer.metadata": "c3",
        "größer.values": "01 fd 05 f9",
        "x.y.data": "13 d0 cf 05 f9",
    }
    assert {tensor.dtype for tensor in loaded.values()} == {torch.uint8}
    with safetensors.safe_open(tmp_path / "a", framework="pt") as file:
        assert file.metadata() == {
            "format": "nmsparse packed",
            "format_version": "1",
            "größer.pattern": "2:4",
            "größer.dtype": "int8",
            "größer.code": "bitmap",
            "größer.layout": "split",
            "größer.tokens": "1",
            "größer.features": "8",
            "x.y.pattern": "2:4",
            "x.y.dtype": "int8",
            "x.y.code": "bitmap",
            "x.y.layout": "interleaved",
            "x.y.tokens": "1",
            "x.y.features": "8",
        }


def test_header_is_aligned_and_sorted(tmp_path: Path) -> None:
    for name in ("a", "ab", "abc", "abcd"):
        write_packed(tmp_path / "a", {name: Packed(streams("132000"), (1, 4), INT8)})
        content = (tmp_path / "a").read_bytes()
        length = int.from_bytes(content[:8], "little")
        assert length % 8 == 0
        header = json.loads(content[8 : 8 + length])
        assert list(header) == sorted(header)
        assert content[8 + length :] == bytes.fromhex("132000")


def test_bytes_do_not_depend_on_order_or_process(tmp_path: Path) -> None:
    program = (
        "import sys, torch; from sw.interchange import compress, write_packed;"
        "from sw.packed import PackedFormat;"
        "numbers = torch.arange(32, dtype=torch.int8).reshape(2, 16);"
        "form = PackedFormat(n=2, m=4, dtype='int8', layout='split');"
        "write_packed(sys.argv[1], {f'layers.{i}.q_proj': compress(numbers + i, form) for i in %s})"
    )
    contents = set()
    for order in ("range(12)", "reversed(range(12))"):
        subprocess.run(
            [sys.executable, "-c", program % order, str(tmp_path / "a")],
            check=True,
            cwd=Path(__file__).parents[2],
        )
        contents.add((tmp_path / "a").read_bytes())
    assert len(contents) == 1


def test_layers_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    packed = Packed(streams("132000"), (1, 4), INT8)
    names = ["layers.2.q_proj", "layers.10.q_proj", "a", "b"]
    write_packed(tmp_path / "a", dict.fromkeys(reversed(names), packed))
    assert list(read_packed(tmp_path / "a")) == names


def test_no_half_written_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        write_packed(tmp_path / "file" / "a", {"x": Packed(streams("132000"), (1, 4), INT8)})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("tensors", "kind", "message"),
    [
        ({}, PackedError, "tensors must be at least one, not 0"),
        ({"x": 1}, TypeError, "tensors must be Packed by name, not 1 by 'x'"),
        (
            {"": Packed(streams("132000"), (1, 4), INT8)},
            PackedError,
            "tensors must have names, not ''",
        ),
    ],
)
def test_wrong_tensors(
    tmp_path: Path, tensors: dict[str, Packed], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        write_packed(tmp_path / "a", tensors)
    assert str(caught.value) == message
    assert not (tmp_path / "a").exists()


def test_file_that_does_not_exist(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file or directory"),
                         (tmp_path, "Is a directory")):  # fmt: skip
        with pytest.raises(PackedError) as caught:
            read_packed(path)
        assert str(caught.value) == f"packed file {str(path)!r} must be a readable file: {reason}"


def test_no_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_packed(path, {"x": Packed(streams("132000"), (1, 4), INT8)})
    for content in (b"", b"only a line of text\n", b"\xff" * 64, path.read_bytes()[:-1]):
        path.write_bytes(content)
        with pytest.raises(PackedError) as caught:
            read_packed(path)
        message = str(caught.value)
        assert message.startswith(f"packed file {str(path)!r} must be a safetensors file: ")
        assert "\n" not in message


DESCRIPTION = {
    "format": FORMAT,
    "format_version": "1",
    "x.pattern": "2:4",
    "x.dtype": "int8",
    "x.code": "bitmap",
    "x.layout": "interleaved",
    "x.tokens": "1",
    "x.features": "8",
}

EXAMPLE = {"x.data": torch.tensor([0x13, 0xD0, 0xCF, 0x05, 0xF9], dtype=torch.uint8)}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"format": None}, "{file} must have format 'nmsparse packed', not None"),
        ({"format": "pt"}, "{file} must have format 'nmsparse packed', not 'pt'"),
        ({"format_version": "2"}, "{file} must have format_version '1', not '2'"),
        ({"x.pattern": None}, "{x} must say its pattern in the metadata, not leave it out"),
        ({"x.tokens": None}, "{x} must say its tokens in the metadata, not leave it out"),
        ({"x.pattern": "2/4"}, "{x} must have a pattern n:m, not '2/4'"),
        ({"x.pattern": "2:04"}, "{x} must have a pattern n:m, not '2:04'"),
        (
            {"x.pattern": "5:4"},
            "{x} must have a legal format: n must be between 1 and m = 4, not 5",
        ),
        (
            {"x.pattern": "2:" + "9" * 18},
            "{x} must have a legal format: m must be between 2 and 64, not " + "9" * 18,
        ),
        (
            {"x.code": "ranks"},
            "{x} must have a legal format: metadata must be one of bitmap, index, bitmap-implied, "
            "enumerative, not 'ranks'",
        ),
        (
            {"x.dtype": "fp32"},
            "{x} must have a legal format: dtype must be one of int4, int8, int16, fp16, bf16, "
            "fp8_e4m3, fp8_e5m2, not 'fp32'",
        ),
        (
            {"x.layout": ""},
            "{x} must have a legal format: layout must be one of interleaved, split, not ''",
        ),
        (
            {"x.layout": "split"},
            "{x} must have the streams values and metadata in layout split, not data",
        ),
        ({"x.tokens": "0"}, "{x} must have a number of tokens of at least 1, not '0'"),
        ({"x.tokens": "-1"}, "{x} must have a number of tokens of at least 1, not '-1'"),
        (
            {"x.features": "9" * 5000},
            "{x} must have a number of features of at least 1, not '" + "9" * 5000 + "'",
        ),
        (
            {"x.tokens": "2"},
            "{x} must have 10 bytes for 2 tokens of 8 features, not 5",
        ),
        (
            {"x.features": "9" * 18},
            "{x} must have 625000000000000000 bytes for 1 tokens of 999999999999999999 features, "
            "not 5",
        ),
        ({"x.features": "6"}, "{x} must have +0 in the padding of a row, not code 0x5 in token 0"),
        (
            {"x.code": "index"},
            "{x} must have index metadata that names 2 of 4 lanes, not [3, 0] in token 0, group 0",
        ),
        (
            {"y.pattern": "2:4"},
            "tensor 'y' of {file} must say its dtype in the metadata, not leave it out",
        ),
    ],
)
def test_wrong_descriptions(tmp_path: Path, changes: dict[str, str | None], rule: str) -> None:
    path = tmp_path / "a"
    metadata = {key: text for key, text in (DESCRIPTION | changes).items() if text is not None}
    path.write_bytes(safetensors.torch.save(EXAMPLE, metadata))
    with pytest.raises(PackedError) as caught:
        read_packed(path)
    file = f"packed file {str(path)!r}"
    assert str(caught.value) == rule.format(file=file, x=f"tensor 'x' of {file}")


@pytest.mark.parametrize(
    ("tensors", "rule"),
    [
        ({}, "must have the streams data in layout interleaved, not none"),
        (
            EXAMPLE | {"x.values": EXAMPLE["x.data"].clone()},
            "must have the streams data in layout interleaved, not data and values",
        ),
        (
            {"x.data": EXAMPLE["x.data"].to(torch.int8)},
            "must have streams of 1-dimensional torch.uint8, not 1-dimensional torch.int8",
        ),
        (
            {"x.data": EXAMPLE["x.data"].unsqueeze(0)},
            "must have streams of 1-dimensional torch.uint8, not 2-dimensional torch.uint8",
        ),
    ],
)
def test_wrong_streams(tmp_path: Path, tensors: dict[str, torch.Tensor], rule: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(safetensors.torch.save(tensors, DESCRIPTION))
    with pytest.raises(PackedError) as caught:
        read_packed(path)
    assert str(caught.value) == f"tensor 'x' of packed file {str(path)!r} {rule}"


@pytest.mark.parametrize("name", ["y.data", "y"])
def test_stream_of_a_tensor_that_is_not_described(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(safetensors.torch.save(EXAMPLE | {name: torch.zeros(5)}, DESCRIPTION))
    with pytest.raises(PackedError) as caught:
        read_packed(path)
    tensor = name.removesuffix(".data") if "." in name else ""
    assert str(caught.value) == (
        f"tensor {tensor!r} of packed file {str(path)!r} must say its pattern in the metadata, "
        "not leave it out"
    )


def test_file_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a"
    description = {key: text for key, text in DESCRIPTION.items() if "." not in key}
    path.write_bytes(safetensors.torch.save({}, description))
    with pytest.raises(PackedError) as caught:
        read_packed(path)
    assert str(caught.value) == f"packed file {str(path)!r} must hold at least one tensor, not 0"


def test_foreign_keys_are_no_concern(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(safetensors.torch.save(EXAMPLE, DESCRIPTION | {"command": "make"}))
    assert expand(read_packed(path)["x"]).tolist() == [[1, -3, 0, 0, 0, 0, 5, -7]]


@pytest.mark.parametrize(("packed_format", "texts", "rule"), ILLEGAL)
def test_illegal_content_of_a_file(
    tmp_path: Path, packed_format: PackedFormat, texts: list[str], rule: str
) -> None:
    path = tmp_path / "a"
    good = compress(torch.zeros(1, 6, dtype=torch.int8), packed_format)
    bad = Packed(streams(*texts), (1, 6), packed_format)
    write_packed(path, {"a": good, "x": bad})
    with pytest.raises(PackedError) as caught:
        read_packed(path)
    assert str(caught.value) == f"tensor 'x' of packed file {str(path)!r} {rule}"


@pytest.mark.parametrize("code", METADATA)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_flipped_bit_goes_unseen(tmp_path: Path, layout: str, code: str) -> None:
    """A flipped bit of the data gives an error or another tensor, never the same one."""
    packed_format = PackedFormat(n=2, m=4, dtype="int8", metadata=code, layout=layout)
    numbers = torch.tensor([[1, -3, 2, 4, 5, 6], [0, 0, 7, -7, 0, 0]], dtype=torch.int8)
    packed = compress(numbers, packed_format)
    dense = expand(packed)
    for place, stream in enumerate(packed.streams):
        for bit in range(8 * len(stream)):
            flipped = [content.clone() for content in packed.streams]
            flipped[place][bit // 8] ^= 1 << bit % 8
            write_packed(tmp_path / "a", {"x": Packed(tuple(flipped), (2, 6), packed_format)})
            try:
                again = expand(read_packed(tmp_path / "a")["x"])
            except PackedError:
                continue
            values, mask = unpack_groups(packed)
            other_values, other_mask = unpack_groups(read_packed(tmp_path / "a")["x"])
            assert not torch.equal(values, other_values) or not torch.equal(mask, other_mask)
            assert again.shape == dense.shape


def test_bytes_are_those_of_the_golden_model() -> None:
    packed = compress(torch.tensor([[1, -3, 0, 0, 0, 0, 5, -7]], dtype=torch.int8), INT8)
    values, fields = unpack_token(bytes_of(packed), 2, INT8)
    assert values.tolist() == [[0x01, 0xFD], [0x05, 0xF9]]
    assert fields.tolist() == [naive.bitmap([0, 1], 4), naive.bitmap([2, 3], 4)]


def test_examples_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in the order in which they stand, and give what they say."""
    monkeypatch.chdir(tmp_path)
    text = DOCS.read_text()
    names: dict[str, Any] = {}
    for first, last in (
        ("    import torch\n", "The file is safetensors."),
        ("    from sw.semi_structured import", "`to_semi_structured` and"),
    ):
        block = text[text.index(first) : text.index(last)]
        exec("\n".join(line.removeprefix("    ") for line in block.splitlines()), names)
        if "again" in names:
            assert names["again"].shape == (32, 4096)
            assert expand(names["again"]).dtype == torch.bfloat16
    assert (names["values"].shape, names["values"].dtype) == ((32, 2048), torch.bfloat16)
    assert (names["meta"].shape, names["meta"].dtype) == ((32, 256), torch.int16)
