"""Safetensors files: reading with errors that name the file, bytes that the contents decide."""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from sw.errors import InputError

__all__ = ["read_tensors", "tensor_file_bytes"]


def tensor_file_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """The safetensors file of tensors and metadata; equal contents give equal bytes."""
    # Copies, since the library takes no two tensors that share memory.
    contiguous = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    # The library writes the metadata in the random order of a hash map, so the header is written
    # again, sorted.  The offsets in it count from its end and stay right.
    content = safetensors.torch.save(contiguous, dict(metadata))
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(
        json.loads(content[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def read_tensors(
    path: Path, subject: str, error_type: type[InputError] = InputError
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors by name, and the metadata, of a safetensors file.

    Parameters
    ----------
    path
        The file.
    subject
        What an error calls it.
    error_type
        The type of that error.

    Raises
    ------
    InputError
        Of `error_type`: the file does not exist, cannot be read, or is not a safetensors file.
    """
    try:
        # Opened first by Python, whose errors say why a file cannot be read.
        with path.open("rb"):
            pass
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (no dict)
    except OSError as error:
        raise error_type(f"{subject} must be a readable file: {error.strerror}") from error
    except safetensors.SafetensorError as error:
        raise error_type(f"{subject} must be a safetensors file: {error}") from error
