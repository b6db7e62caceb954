"""Files of captured activations: safetensors, one tensor per linear, and where they came from."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch

from hw.files import write_files
from sw.errors import InputError
from sw.groups import to_groups
from sw.linears import linear_order
from sw.tensor_file import read_tensors, tensor_file_bytes

__all__ = [
    "DTYPES",
    "FORMAT",
    "FORMAT_VERSION",
    "Activations",
    "ActivationsError",
    "group_rows",
    "is_activations_file",
    "read_activations",
]

#: Value of the metadata key ``format``.
FORMAT = "nmsparse activations"

#: Value of the metadata key ``format_version``.
FORMAT_VERSION = "1"

#: Number formats of stored activations.
DTYPES: dict[str, torch.dtype] = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}

_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class ActivationsError(InputError):
    """Activations, or a file of them, break a rule of the format."""


@dataclass(frozen=True)
class Activations:
    """Activations by the name of the linear whose input they are.

    Parameters
    ----------
    tensors
        Name -> tensor of shape (tokens, features); at least one, none empty, all of one dtype out
        of `DTYPES`.  Kept in canonical order: layers as numbers, in a layer q, k, v, o, gate, up,
        down.
    metadata
        Where the activations came from; the keys are described in `sw.capture`.  May be empty.
        Kept in the order of its keys.

    Raises
    ------
    ActivationsError
        A tensor breaks a rule; the text names it.
    """

    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]

    def __post_init__(self) -> None:
        _check_tensors(self.tensors, "activations")
        ordered = {name: self.tensors[name] for name in sorted(self.tensors, key=linear_order)}
        object.__setattr__(self, "tensors", ordered)
        object.__setattr__(self, "metadata", dict(sorted(self.metadata.items())))

    @property
    def dtype(self) -> str:
        """Name of the number format of all tensors, a key of `DTYPES`."""
        return _DTYPE_NAMES[next(iter(self.tensors.values())).dtype]

    def groups(self, m: int) -> torch.Tensor:
        """All groups of all tensors, in canonical order.

        Tensor after tensor, token after token, and in a token by rising feature.  Rows are padded
        with +0 at their end to a multiple of m, so that a group never crosses a token.

        Parameters
        ----------
        m
            Group size, at least 1.

        Returns
        -------
        torch.Tensor
            (G, m) of the tensors' dtype, where G is the sum over tensors of
            tokens * ceil(features / m).
        """
        return torch.cat([group_rows(tensor, m) for tensor in self.tensors.values()])

    def to_bytes(self) -> bytes:
        """The safetensors file; equal activations give equal bytes."""
        return tensor_file_bytes(self.tensors, self.metadata)

    def write(self, path: Path | str) -> None:
        """Write the file whole or not at all; missing folders are made.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        write_files({Path(path): self.to_bytes()})


def group_rows(x: torch.Tensor, m: int) -> torch.Tensor:
    """Cut rows into groups of m: group g of a row is its elements g * m .. g * m + m - 1.

    A row whose length is not a multiple of m is padded with +0 at its end.

    Parameters
    ----------
    x
        Shape (..., K), K >= 1, any dtype.
    m
        Group size, at least 1.

    Returns
    -------
    torch.Tensor
        Shape (rows * ceil(K / m), m), the same dtype.

    Examples
    --------
    >>> group_rows(torch.tensor([[1, 2, 3], [4, 5, 6]]), 2).tolist()
    [[1, 2], [3, 0], [4, 5], [6, 0]]
    """
    m = operator.index(m)
    if m < 1:
        raise InputError(f"m must be at least 1, not {m}")
    return to_groups(x, m).reshape(-1, m)


def read_activations(path: Path | str) -> Activations:
    """Read a file of activations.

    Every safetensors file of non-empty (tokens, features) tensors of one number format out of
    `DTYPES` will do, whoever wrote it and whatever its metadata.

    Raises
    ------
    ActivationsError
        The file does not exist, cannot be read, is not a safetensors file, is of another version of
        the format, or a tensor in it breaks a rule; the text names file, rule and value.
    """
    path = Path(path)
    subject = f"activations file {str(path)!r}"
    tensors, metadata = read_tensors(path, subject, ActivationsError)
    version = metadata.get("format_version", FORMAT_VERSION)
    if metadata.get("format") == FORMAT and version != FORMAT_VERSION:
        raise ActivationsError(
            f"{subject} must have format version {FORMAT_VERSION}, not {version!r}"
        )
    _check_tensors(tensors, subject)
    return Activations(tensors, metadata)


def is_activations_file(path: Path) -> bool:
    """Whether the file says in its metadata that it holds activations."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (OSError, safetensors.SafetensorError):
        return False


def _check_tensors(tensors: dict[str, torch.Tensor], subject: str) -> None:
    for rule in _broken_rules(tensors):
        raise ActivationsError(f"{subject} {rule}")


def _broken_rules(tensors: dict[str, torch.Tensor]) -> Iterator[str]:
    if not tensors:
        yield "must hold at least one tensor, not 0"
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        if tensor.dtype not in _DTYPE_NAMES:
            yield f"must hold tensors of {', '.join(DTYPES)}, not {dtype} in {name!r}"
        if tensor.ndim != 2:
            yield (
                f"must hold tensors of shape (tokens, features), not {tuple(tensor.shape)}"
                f" in {name!r}"
            )
        if tensor.numel() == 0:
            yield f"must hold no empty tensor, not {tuple(tensor.shape)} in {name!r}"
    if len(dtypes := {tensor.dtype for tensor in tensors.values()}) > 1:
        names = ", ".join(sorted(_DTYPE_NAMES[dtype] for dtype in dtypes))
        yield f"must hold tensors of one number format, not {names}"
