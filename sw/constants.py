"""Constants of a method: what each linear needs beside its weights, and the file that holds it.

A *constant* is an fp32 tensor of one linear.  It plays a *role* in the formula of `sw.mitigation`,
and has a *name* in files, which says how it came to be:

===============  ==========  ====================  =============================================
role             shape       name                  value, source
===============  ==========  ====================  =============================================
``scale``        (C,)        ``scale.<criterion>`` scales of the criterion; weights
``left``         (O, r)      ``left.svd-<r>``      A of the low-rank product; weights
``right``        (r, C)      ``right.svd-<r>``     B of the low-rank product; weights
``shift``        ()          ``shift.s-pts``       mean over tokens of the median of the token's
                                                   features; tokens
``shift``        (C,)        ``shift.s-pts-``      mean over tokens; tokens
                             ``channel``
``input_norm``   (C,)        ``input_norm``        sqrt(mean over windows of sum over tokens of
                                                   x**2); tokens
``input_max``    (C,)        ``input_max``         max over tokens of |x|; tokens
``shift``        (C,)        ``shift@<method>``    L-PTS; training
``gain``         (O,)        ``gain@<method>``     g of LS; training
``bias``         (O,)        ``bias@<method>``     addition to the bias; training
``left``         (O, r)      ``left@<method>``     A; training
``right``        (r, C)      ``right@<method>``    B; training
===============  ==========  ====================  =============================================

``<method>`` is `sw.method.Method.linear_text`: what was trained belongs to one method.  In a file
the tensors are called ``<path of the linear in the model>/<name>``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors
import torch

from hw.files import write_files
from sw.criteria import CRITERIA
from sw.errors import InputError
from sw.method import Method
from sw.mitigation import low_rank_factors
from sw.tensor_file import read_tensors, tensor_file_bytes

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "Constant",
    "Constants",
    "ConstantsError",
    "check_shape",
    "constants_of",
    "from_weights",
    "is_constants_file",
    "merge",
    "read_constants",
]

#: Value of the metadata key ``format``.
FORMAT = "nmsparse constants"

#: Value of the metadata key ``format_version``.
FORMAT_VERSION = "1"

Source = Literal["weights", "tokens", "training"]


class ConstantsError(InputError):
    """Constants, or a file of them, break a rule of the format."""


@dataclass(frozen=True)
class Constant:
    """One constant that a method needs.

    Parameters
    ----------
    role
        What it is in the formula.
    name
        What it is called in files.
    source
        What it is computed from: the ``weights`` of the linear, ``tokens`` that a calibration pass
        reads, or ``training``.
    """

    role: str
    name: str
    source: Source


def constants_of(method: Method) -> tuple[Constant, ...]:
    """The constants that each linear needs for a method."""
    found = []
    trained = method.linear_text

    def learned(*roles: str) -> list[Constant]:
        return [Constant(role, f"{role}@{trained}", "training") for role in roles]

    if CRITERIA[method.criterion].needs == "weights":
        found.append(Constant("scale", f"scale.{method.criterion}", "weights"))
    if method.shift in ("s-pts", "s-pts-channel"):
        found.append(Constant("shift", f"shift.{method.shift}", "tokens"))
    if method.shift == "l-pts":
        found += learned("shift")
    if method.ls != "none":
        found += learned("gain")
    if method.ls == "scale-bias" or method.shift == "l-pts-bias":
        found += learned("bias")
    if method.low_rank and method.low_rank_source == "trained":
        found += learned("left", "right")
    elif method.low_rank:
        rank = method.low_rank
        found += [Constant(role, f"{role}.svd-{rank}", "weights") for role in ("left", "right")]
    if method.scaling == "static":
        found.append(Constant("input_max", "input_max", "tokens"))
    if method.weights == "wanda":
        found.append(Constant("input_norm", "input_norm", "tokens"))
    return tuple(found)


def from_weights(method: Method, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Constants of a method whose source are the weights (O, C): name -> tensor."""
    values: dict[str, torch.Tensor] = {}
    roles = {item.role: item.name for item in constants_of(method) if item.source == "weights"}
    compute = CRITERIA[method.criterion].weight_scales
    if "scale" in roles and compute is not None:
        values[roles["scale"]] = compute(weight)
    if "left" in roles:
        left, right = low_rank_factors(weight, method.low_rank)
        values |= {roles["left"]: left, roles["right"]: right}
    return values


def check_shape(
    subject: str, method: Method, constant: Constant, value: torch.Tensor, weight_shape: torch.Size
) -> None:
    """Refuse a constant that does not belong to weights of that shape.

    Raises
    ------
    ConstantsError
        Its shape is another one.
    """
    outputs, inputs = weight_shape
    rank = method.low_rank
    if constant.source == "weights":
        rank = min(rank, outputs, inputs)
    expected: dict[str, tuple[int, ...]] = {
        "scale": (inputs,),
        "shift": () if method.shift == "s-pts" else (inputs,),
        "gain": (outputs,),
        "bias": (outputs,),
        "left": (outputs, rank),
        "right": (rank, inputs),
        "input_norm": (inputs,),
        "input_max": (inputs,),
    }
    if tuple(value.shape) != expected[constant.role]:
        raise ConstantsError(
            f"{subject} must be of shape {expected[constant.role]}, not {tuple(value.shape)}"
        )


@dataclass(frozen=True)
class Constants:
    """Constants by linear and name.

    Parameters
    ----------
    tensors
        Path of the linear in the model -> name -> tensor, fp32 and finite.
    metadata
        Where they came from; the keys are described in `sw.calibrate`.  May be empty.

    Raises
    ------
    ConstantsError
        A tensor breaks a rule; the text names it.
    """

    tensors: Mapping[str, Mapping[str, torch.Tensor]]
    metadata: Mapping[str, str]

    def __post_init__(self) -> None:
        for linear, named in self.tensors.items():
            for name, tensor in named.items():
                _check(f"{name} of {linear}", tensor)

    def get(self, linear: str, constant: Constant) -> torch.Tensor | None:
        """The value of a constant of a linear, None where there is none."""
        return self.tensors.get(linear, {}).get(constant.name)

    def to_bytes(self) -> bytes:
        """The safetensors file; equal constants give equal bytes."""
        flat = {
            f"{linear}/{name}": tensor
            for linear, named in self.tensors.items()
            for name, tensor in named.items()
        }
        return tensor_file_bytes(
            flat, {**self.metadata, "format": FORMAT, "format_version": FORMAT_VERSION}
        )

    def write(self, path: Path | str) -> None:
        """Write the file whole or not at all; missing folders are made.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        write_files({Path(path): self.to_bytes()})


def read_constants(path: Path | str) -> Constants:
    """Read a file of constants.

    Raises
    ------
    ConstantsError
        The file does not exist, cannot be read, is not such a file or of another version, or a
        tensor in it breaks a rule; the text names file, rule and value.
    """
    path = Path(path)
    subject = f"constants file {str(path)!r}"
    flat, metadata = read_tensors(path, subject, ConstantsError)
    if (kind := metadata.pop("format", "")) != FORMAT:
        raise ConstantsError(f"{subject} must have the format {FORMAT!r}, not {kind!r}")
    if (version := metadata.pop("format_version", "")) != FORMAT_VERSION:
        raise ConstantsError(
            f"{subject} must have format version {FORMAT_VERSION}, not {version!r}"
        )
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in flat.items():
        linear, separator, name = key.partition("/")
        if not (linear and separator and name):
            raise ConstantsError(f"{subject} must name tensors LINEAR/CONSTANT, not {key!r}")
        _check(f"{subject}: {name} of {linear}", tensor)
        tensors.setdefault(linear, {})[name] = tensor
    return Constants(tensors, metadata)


def is_constants_file(path: Path) -> bool:
    """Whether the file says in its metadata that it holds constants."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (OSError, safetensors.SafetensorError):
        return False


def merge(several: Iterable[Constants]) -> Constants:
    """All constants of several, with the metadata of the first.

    Raises
    ------
    ConstantsError
        Two of them have the same constant with different values.
    """
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    metadata: Mapping[str, str] | None = None
    for one in several:
        metadata = one.metadata if metadata is None else metadata
        for linear, named in one.tensors.items():
            known = tensors.setdefault(linear, {})
            for name, tensor in named.items():
                if not torch.equal(known.setdefault(name, tensor), tensor):
                    raise ConstantsError(
                        f"constants must agree where they meet, not differ in {name} of {linear}"
                    )
    return Constants(tensors, metadata or {})


def _check(subject: str, tensor: torch.Tensor) -> None:
    if tensor.dtype != torch.float32:
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise ConstantsError(f"{subject} must be fp32, not {dtype}")
    if bad := int((~tensor.isfinite()).sum()):
        raise ConstantsError(f"{subject} must be finite, not NaN or infinite {bad} times")
