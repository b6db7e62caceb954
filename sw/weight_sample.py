"""A sample of a model's weights: `python -m sw.weight_sample` writes rows of chosen linears.

The result is a safetensors file with one bf16 tensor of shape (rows, features) for each linear,
named like ``layers.3.down_proj``: the weights of some of its outputs, evenly spread, of ``R`` rows
out of ``O`` outputs those of the outputs ``floor(i * O / R)``.  Its metadata says where it came
from, all in strings:

=====================  ==========================================================================
key                    value
=====================  ==========================================================================
format, format_version what the file is
model, model_source,   the model as in `sw.model.LanguageModel`; the hash is ``unknown`` for
model_sha256,          models from the hub
architecture
layers, projections    which linears, numbers and names joined by commas
rows                   R
torch, transformers,   versions
nmsparse
command                the command that makes the file again, without folders of the machine
=====================  ==========================================================================
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hw.cli import CommandParser
from hw.files import write_files
from sw.errors import InputError
from sw.linears import (
    DISTINCT,
    PROJECTIONS,
    SPREAD,
    check_projections,
    choose_linears,
    parse_layers,
)
from sw.model import LanguageModel
from sw.model_text import (
    add_layers,
    add_model,
    check_folder_of,
    load_given_model,
    model_options,
    model_origin,
    versions,
)
from sw.tensor_file import read_tensors, tensor_file_bytes

__all__ = ["FORMAT", "WeightSample", "main", "read_weight_sample", "sample_weights"]

#: Value of the metadata key ``format``.
FORMAT = "nmsparse weights"

#: Value of the metadata key ``format_version``.
FORMAT_VERSION = "1"

_PROGRAM = "python -m sw.weight_sample"


@dataclass(frozen=True)
class WeightSample:
    """Rows of the weights of linears.

    Parameters
    ----------
    tensors
        Name of the linear -> bf16 (rows, features).
    metadata
        Where they came from.
    """

    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]

    def write(self, path: Path) -> None:
        """Write the file whole or not at all; equal samples give equal bytes."""
        write_files({path: tensor_file_bytes(self.tensors, self.metadata)})


def read_weight_sample(path: Path) -> WeightSample:
    """Read what `WeightSample.write` wrote.

    Raises
    ------
    InputError
        The file cannot be read or is something else; the text names file, rule and value.
    """
    subject = f"weights file {str(path)!r}"
    tensors, metadata = read_tensors(path, subject)
    found = metadata.get("format"), metadata.get("format_version")
    if found != (FORMAT, FORMAT_VERSION):
        raise InputError(
            f"{subject} must have format {FORMAT!r} and version {FORMAT_VERSION!r},"
            f" not {found[0]!r} and {found[1]!r}"
        )
    return WeightSample(tensors, metadata)


def sample_weights(
    language_model: LanguageModel,
    *,
    projections: Sequence[str] = DISTINCT,
    layers: Sequence[int] | str = SPREAD,
    rows: int = 8,
) -> WeightSample:
    """Rows of the weights of chosen linears, each rounded once from fp32 to bf16.

    Parameters
    ----------
    language_model
        From `sw.model.load_model`.
    projections
        Names out of `sw.linears.PROJECTIONS`.
    layers
        Numbers of layers from 0, ``all``, or ``spread``: the first, the middle and the last.
    rows
        Rows of each linear, at least 1 and at most its outputs.

    Raises
    ------
    InputError
        An argument breaks a rule, also one that the model sets.
    """
    names = check_projections(projections)
    numbers, linears = choose_linears(language_model.model, layers, names)
    tensors = {}
    for name, linear in linears.items():
        weight = linear.get_parameter("weight").detach()
        outputs = len(weight)
        if not 1 <= rows <= outputs:
            raise InputError(
                f"rows must be between 1 and the outputs of {name}, {outputs}, not {rows}"
            )
        tensors[name] = weight[torch.arange(rows) * outputs // rows].to(torch.bfloat16)
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **model_origin(language_model),
        "layers": ",".join(map(str, numbers)),
        "projections": ",".join(names),
        "rows": str(rows),
        **versions(),
    }
    words = [_PROGRAM, *model_options(language_model)]
    words += [f"--{option} {metadata[option]}" for option in ("projections", "layers", "rows")]
    return WeightSample(tensors, {**metadata, "command": " ".join(words)})


def _is_weight_sample(path: Path) -> bool:
    try:
        read_weight_sample(path)
    except InputError:
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_PROGRAM, description="Write rows of the weights of a language model's linears."
    )
    add_model(parser)
    parser.add_argument(
        "--projections",
        default=",".join(DISTINCT),
        help=f"linears of each layer, of {','.join(PROJECTIONS)}",
    )
    add_layers(parser)
    parser.add_argument("--rows", type=int, default=8, help="rows of each linear")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("build/weights.safetensors"), metavar="FILE",
        help="file to write",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see ``python -m sw.weight_sample --help``.

    Returns
    -------
    int
        0; a wrong argument exits with status 2 and one line on standard error.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    path: Path = options.output
    try:
        # What needs no model is checked before it is loaded.
        projections = check_projections(options.projections.split(","))
        layers = parse_layers(options.layers)
        if options.rows < 1:
            raise InputError(f"rows must be at least 1, not {options.rows}")
        check_folder_of(path)
        # A slip of the hand must not cost somebody the weights of a model.
        if path.exists() and not _is_weight_sample(path):
            raise InputError(
                f"output must be new or replace a sample of weights, not {str(path)!r}, which is"
                " something else"
            )
        sample = sample_weights(
            load_given_model(options), projections=projections, layers=layers, rows=options.rows
        )
        try:
            sample.write(path)
        except OSError as error:
            raise InputError(
                f"output must be a file that can be written, not {str(path)!r} ({error.strerror})"
            ) from error
    except InputError as error:
        parser.error(str(error))
    for name, tensor in sample.tensors.items():
        print(f"{name}: {len(tensor)} rows of {tensor.shape[1]} weights")
    print(f"wrote {path} ({path.stat().st_size:,} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
