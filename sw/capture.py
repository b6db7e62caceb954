"""Capture of real activations: `python -m sw.capture` runs a language model over text.

The inputs of chosen linears are recorded while the model reads a range of tokens in windows.
The result is a safetensors file (`sw.activations`) with one tensor of shape (tokens, features) per
linear, named like ``layers.3.down_proj``.  Its metadata says where it came from, all in strings:

=====================  ==========================================================================
key                    value
=====================  ==========================================================================
format, format_version what the file is
model, model_source,   the model as in `sw.model.LanguageModel`; the hash is ``unknown`` for
model_sha256,          models from the hub
architecture
text, text_sha256      the text as in `sw.text.Text`
tokenizer              class and number of entries; no special tokens are added to the text
tokens                 START:STOP, the range of the text's tokens that the model read
window                 most tokens of one forward pass; windows follow each other without overlap
                       from START on, and know nothing of each other
token0                 ``include`` or ``exclude``: whether the first token of each window is there
layers, projections    what was captured, numbers and names joined by commas
dtype                  number format of the tensors; the model itself computes in fp32
torch, transformers,   versions
nmsparse
command                the command that makes the file again, without folders of the machine
=====================  ==========================================================================
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tabulate
import torch

from hw.cli import CommandParser
from hw.progress import progress_bar
from sw.activations import DTYPES, FORMAT, FORMAT_VERSION, Activations, is_activations_file
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
    add_model_and_text,
    check_folder_of,
    load_model_and_text,
    origin,
    origin_options,
    versions,
)
from sw.text import Text
from sw.windows import check_windows, parse_tokens, read_windows

__all__ = ["capture", "main"]

_PROGRAM = "python -m sw.capture"


class _AllCaptured(Exception):
    """The rest of the forward pass would record nothing."""


def capture(
    language_model: LanguageModel,
    text: Text,
    *,
    projections: Sequence[str] = DISTINCT,
    layers: Sequence[int] | str = SPREAD,
    tokens: tuple[int, int] = (0, 512),
    window: int = 512,
    token0: bool = True,
    dtype: str = "bf16",
    progress: bool = True,
) -> Activations:
    """Run a language model over text and record the inputs of linears.

    Window w holds the tokens START + w * window .. of the text; each window is one forward pass of
    the model on its own.  Row t of every tensor is the same token.  Equal arguments give equal bits
    on one machine; sums may be split differently on another.

    Parameters
    ----------
    language_model, text
        From `sw.model.load_model` and `sw.text.load_text`.
    projections
        Names out of `sw.linears.PROJECTIONS`.
    layers
        Numbers of layers from 0, ``all``, or ``spread``: the first, the middle and the last.
    tokens
        (START, STOP): the model reads the text's tokens START .. STOP - 1.
    window
        Most tokens of one forward pass.
    token0
        Whether the first token of each window, which carries massive activations, is recorded.
    dtype
        Number format of the tensors, a key of `sw.activations.DTYPES`; rounded once from fp32.
    progress
        Whether a progress bar shows on standard error.

    Raises
    ------
    InputError
        An argument breaks a rule, also one that the model or the text sets.
    """
    names = check_projections(projections)
    start, stop, window = _check_windows(tokens, window, token0)
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    numbers, linears = choose_linears(language_model.model, layers, names)
    windows = read_windows(language_model, text, (start, stop), window)

    rows: dict[str, list[torch.Tensor]] = {name: [] for name in linears}
    bar = progress_bar(total=stop - start, desc="capture", unit="token", disable=not progress)
    with bar:
        for window_ids in windows:
            seen = _run_window(language_model.model, linears, window_ids)
            for name, x in seen.items():
                rows[name].append(_convert(x if token0 else x[1:], dtype, name))
            bar.update(window_ids.shape[1])
    tensors = {name: torch.cat(pieces) for name, pieces in rows.items()}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **origin(language_model, text),
        "tokens": f"{start}:{stop}",
        "window": str(window),
        "token0": "include" if token0 else "exclude",
        "layers": ",".join(map(str, numbers)),
        "projections": ",".join(names),
        "dtype": dtype,
        **versions(),
    }
    metadata["command"] = _command(language_model, text, metadata)
    return Activations(tensors, metadata)


def _check_windows(tokens: tuple[int, int], window: int, token0: bool) -> tuple[int, int, int]:
    start, stop, window = check_windows(tokens, window)
    if not token0 and min(window, stop - start) < 2:
        raise InputError(
            f"token0 must be included when no window has a second token, not excluded with window"
            f" {window} and tokens {start}:{stop}"
        )
    return start, stop, window


def _run_window(
    model: Any, linears: dict[str, torch.nn.Module], token_ids: torch.Tensor
) -> dict[str, torch.Tensor]:
    """One forward pass; returns name -> input of the linear, (tokens, features) in fp32."""
    seen: dict[str, torch.Tensor] = {}

    def record(name: str, x: torch.Tensor) -> None:
        seen[name] = x.detach().reshape(-1, x.shape[-1])
        if len(seen) == len(linears):
            raise _AllCaptured

    def hook(name: str) -> Any:
        return lambda _module, arguments: record(name, arguments[0])

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in linears.items()]
    try:
        with torch.no_grad():
            # The decoder without the head, which would cost as much as several layers.
            model.base_model(token_ids, use_cache=False)
    except _AllCaptured:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if missing := [name for name in linears if name not in seen]:
        raise InputError(f"model must run {missing[0]} in its forward pass, not leave it out")
    return seen


def _convert(x: torch.Tensor, dtype: str, name: str) -> torch.Tensor:
    converted = x.to(DTYPES[dtype], copy=True)
    if bool((converted.isinf() & x.isfinite()).any()):
        raise InputError(
            f"dtype must reach the largest magnitude of {name}, {float(x.abs().max()):.6g},"
            f" not {dtype!r}"
        )
    return converted


def _command(language_model: LanguageModel, text: Text, metadata: dict[str, str]) -> str:
    words = [_PROGRAM, *origin_options(language_model, text)]
    for option in ("projections", "layers", "tokens", "window", "token0", "dtype"):
        words.append(f"--{option} {metadata[option]}")
    return " ".join(words)


def _check_output(path: Path) -> None:
    """Find out before the work that the output cannot be written."""
    check_folder_of(path)
    # A slip of the hand must not cost somebody the weights of a model.
    if path.exists() and not is_activations_file(path):
        raise InputError(
            f"output must be new or replace captured activations, not {str(path)!r}, which is"
            " something else"
        )


def _print_summary(activations: Activations, path: Path) -> None:
    rows = []
    for name, tensor in activations.tensors.items():
        x = tensor.double()
        deviation = x - x.mean()
        kurtosis = deviation.pow(4).mean() / deviation.square().mean().square()
        rows.append([name, *tensor.shape, f"{x.abs().max():.4g}", f"{kurtosis:,.1f}"])
    headers = ["input of", "tokens", "features", "max |x|", "kurtosis"]
    print(
        tabulate.tabulate(rows, headers, colalign=("left", *["right"] * 4), disable_numparse=True)
    )
    elements = sum(tensor.numel() for tensor in activations.tensors.values())
    included = "included" if activations.metadata["token0"] == "include" else "left out"
    print(f"{elements:,} values; the first token of each window is {included}")
    print("kurtosis tells how heavy the tails are: a Gaussian has 3")
    print(f"wrote {path} ({path.stat().st_size:,} bytes)")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_PROGRAM,
        description="Run a language model over text and write the inputs of its linears to a file.",
    )
    add_model_and_text(parser)
    parser.add_argument(
        "--projections",
        default=",".join(DISTINCT),
        help=f"linears of each layer, of {','.join(PROJECTIONS)}; k and v have the same input as q,"
        " and up has the same as gate, so the default is one of each input",
    )
    add_layers(parser)
    parser.add_argument(
        "--tokens",
        default="0:512",
        metavar="START:STOP",
        help="range of the text's tokens that the model reads; STOP is not in it",
    )
    parser.add_argument(
        "--window", type=int, default=512, help="most tokens of one forward pass of the model"
    )
    parser.add_argument(
        "--token0",
        default="include",
        metavar="include|exclude",
        help="the first token of each window, which carries massive activations",
    )
    parser.add_argument(
        "--dtype", default="bf16", help=f"number format of the file: {', '.join(DTYPES)}"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("build/activations.safetensors"), metavar="FILE",
        help="file to write",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see ``python -m sw.capture --help``.

    Returns
    -------
    int
        0; a wrong argument exits with status 2 and one line on standard error.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        # What needs no model is checked before it is loaded.
        projections = check_projections(options.projections.split(","))
        layers = parse_layers(options.layers)
        if options.token0 not in ("include", "exclude"):
            raise InputError(f"token0 must be include or exclude, not {options.token0!r}")
        token0 = options.token0 == "include"
        tokens = parse_tokens(options.tokens)
        _check_windows(tokens, options.window, token0)
        if options.dtype not in DTYPES:
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {options.dtype!r}")
        _check_output(options.output)
        language_model, text = load_model_and_text(options)
        activations = capture(
            language_model,
            text,
            projections=projections,
            layers=layers,
            tokens=tokens,
            window=options.window,
            token0=token0,
            dtype=options.dtype,
        )
        try:
            activations.write(options.output)
        except OSError as error:
            raise InputError(
                f"output must be a file that can be written, not {str(options.output)!r}"
                f" ({error.strerror})"
            ) from error
    except InputError as error:
        parser.error(str(error))
    _print_summary(activations, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
