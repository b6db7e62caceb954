"""Tests of `sw.tensor_file`."""

import random

import pytest
import safetensors.torch
import torch

from sw.errors import InputError
from sw.tensor_file import read_tensors, tensor_file_bytes

SHARED = torch.arange(6.0).view(2, 3)
TENSORS = {
    "b": SHARED,
    "a": SHARED.T,
    "c": torch.tensor([1, 2], dtype=torch.uint8),
    "d": torch.tensor([[1.5]], dtype=torch.bfloat16),
}
METADATA = {f"key {number}": f"é {number}" for number in range(20)}


class Error(InputError):
    pass


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(tensor_file_bytes(TENSORS, METADATA))
    tensors, metadata = read_tensors(path, "file")
    assert metadata == METADATA
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
        assert torch.equal(safetensors.torch.load_file(path)[name], tensor)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_names_and_keys_leaves_the_bytes_alone(seed):
    rng = random.Random(seed)
    tensors = rng.sample(list(TENSORS.items()), len(TENSORS))
    metadata = rng.sample(list(METADATA.items()), len(METADATA))
    expected = tensor_file_bytes(TENSORS, METADATA)
    assert tensor_file_bytes(dict(tensors), dict(metadata)) == expected
    assert tensor_file_bytes(TENSORS, METADATA | {"key 0": ""}) != expected


def test_no_file(tmp_path):
    with pytest.raises(Error) as caught:
        read_tensors(tmp_path / "none", "file of x", Error)
    assert str(caught.value) == "file of x must be a readable file: No such file or directory"


def test_another_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\x01")
    with pytest.raises(Error) as caught:
        read_tensors(path, "file of x", Error)
    assert str(caught.value).startswith("file of x must be a safetensors file: ")
