"""Constants of methods of sparsity: `python -m sw.calibrate METHOD ... -o FILE`.

Everything that the methods need for each linear is computed and written to one safetensors file
(`sw.constants`): scales and singular vectors from the weights, shifts and norms from the tokens
that the dense model reads (`sw.input_statistics`), and what is learned by training (`sw.training`).
Windows are drawn at random from a range of the text's tokens.  Arguments may come from a file, one
a line (``@sw/baselines/calibration.txt``).  Layers that are done are kept beside
the file until it is complete, so that a run that was stopped goes on where it was.

The metadata say where the constants came from, all in strings:

=====================  ==========================================================================
key                    value
=====================  ==========================================================================
format, format_version what the file is
model, model_source,   the model as in `sw.model.LanguageModel`; the hash is ``unknown`` for
model_sha256,          models from the hub
architecture
text, text_sha256      the text as in `sw.text.Text`
tokenizer              class and number of entries; no special tokens are added to the text
tokens                 START:STOP, the range that windows are drawn from
window, windows, seed  tokens of a window, how many there are, seed of the draw and of training
token0                 ``include`` or ``exclude``: whether the first token of each window counts
methods                texts of the methods, joined by blanks
recipe                 of training (`sw.training.Recipe`), if there was any
torch, transformers,   versions
nmsparse
command                the command that makes the file again, without folders of the machine
=====================  ==========================================================================
"""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from hw.cli import CommandParser
from hw.progress import progress_bar
from sw.constants import Constants, constants_of, from_weights, is_constants_file
from sw.errors import InputError
from sw.input_statistics import InputStatistics
from sw.layer_walk import Layer, LayerWalk
from sw.method import Method
from sw.model import LanguageModel
from sw.model_text import (
    add_model_and_text,
    check_folder_of,
    load_model_and_text,
    origin,
    origin_options,
    versions,
)
from sw.parts import Parts
from sw.sparse_model import choose_linears, layer_number, weight_matrix
from sw.text import Text
from sw.training import LayerLoss, Recipe, steps_of, train
from sw.windows import draw_windows, parse_tokens

__all__ = ["calibrate", "main"]

_PROGRAM = "python -m sw.calibrate"

_Tensors = dict[str, dict[str, torch.Tensor]]


def calibrate(
    language_model: LanguageModel,
    text: Text,
    methods: Sequence[Method],
    *,
    tokens: tuple[int, int] = (8192, 65536),
    window: int = 512,
    windows: int = 32,
    token0: bool = True,
    recipe: Recipe | None = None,
    parts: Path | None = None,
    progress: bool = True,
) -> tuple[Constants, dict[str, list[LayerLoss]]]:
    """Compute the constants that methods need.

    Parameters
    ----------
    language_model, text
        From `sw.model.load_model` and `sw.text.load_text`.
    methods
        At least one that needs constants.
    tokens, window, windows
        As of `sw.windows.draw_windows`; the seed is the recipe's.
    token0
        Whether the first token of each window, which carries massive activations, counts in
        statistics and losses.
    recipe
        Of training; None: as published.
    parts
        Folder of layers that are done (`sw.parts`); None: nothing is kept.
    progress
        Whether a progress bar shows on standard error.

    Returns
    -------
    constants
        Of all linears of all methods.
    losses
        Text of each method that was trained -> what training did to each layer in this run.

    Raises
    ------
    InputError
        An argument breaks a rule, or a method needs nothing or does not fit the model.
    """
    recipe = recipe or Recipe()
    for method in methods:
        if not constants_of(method):
            raise InputError(f"methods must need constants, not {method}")
    metadata = _metadata(language_model, text, methods, tokens, window, windows, token0, recipe)
    drawn = draw_windows(language_model, text, tokens, window, windows, recipe.seed)
    model = language_model.model
    linears = {str(method): choose_linears(model, method) for method in methods}
    trained = {method.linear_text: method for method in methods if _names([method], "training")}
    kept = Parts(parts, metadata)
    layers = len({_number(path) for named in linears.values() for path in named})
    total = layers * (windows + len(trained) * steps_of(windows, recipe))
    losses = {}
    with progress_bar(total=total, desc="statistics", unit="window", disable=not progress) as bar:
        found = _statistics(model, methods, linears, drawn, token0, kept, bar.update)
        for number, (name, method) in enumerate(trained.items()):
            bar.set_description(f"training {name}", refresh=False)
            learned, losses[name] = train(
                model,
                method,
                drawn,
                constants=Constants(found, {}),
                recipe=recipe,
                token0=token0,
                parts=kept,
                stage=f"training-{number}",
                step=bar.update,
            )
            for path, named in learned.tensors.items():
                found[path] |= named
    return Constants(found, metadata), losses


def _statistics(
    model: Any,
    methods: Sequence[Method],
    linears: Mapping[str, Mapping[str, Any]],
    windows: Sequence[torch.Tensor],
    token0: bool,
    parts: Parts,
    step: Any,
) -> _Tensors:
    """Constants from weights and tokens, layer by layer through the dense model."""
    wanted: dict[str, list[Method]] = {}
    for method in methods:
        for path in linears[str(method)]:
            wanted.setdefault(path, []).append(method)
    names = {path: _names(chosen, "tokens") for path, chosen in wanted.items()}
    walk = LayerWalk(model, list(wanted), windows) if any(names.values()) else None
    if walk is not None:
        numbers = [layer.number for layer in walk.layers]
    else:
        # No token is read, and linears may lie anywhere.
        numbers = sorted({_number(path) for path in wanted})
    done, hidden = parts.resume("statistics")
    if walk is not None and hidden:
        walk.hidden = hidden
    found: _Tensors = {}
    for place, number in enumerate(numbers):
        paths = [path for path in wanted if _number(path) == number]
        if place < done:
            for path, named in parts.read("statistics", place).items():
                found[path] = dict(named)
            step(len(windows))
            continue
        gathered = {path: InputStatistics(names[path]) for path in paths}
        if walk is not None:
            _gather(model, walk, walk.layers[place], gathered, token0)
        for path in paths:
            found[path] = gathered[path].constants() | _from_weights(model, path, wanted[path])
        step(len(windows))
        new = {path: found[path] for path in paths}
        parts.write("statistics", place, new, [] if walk is None else walk.hidden)
    return found


def _number(path: str) -> int:
    """Number of the layer, -1 outside of layers."""
    number = layer_number(path)
    return -1 if number is None else number


def _names(methods: Sequence[Method], source: str) -> set[str]:
    """Names of the constants that methods need from a source."""
    return {
        constant.name
        for method in methods
        for constant in constants_of(method)
        if constant.source == source
    }


def _from_weights(model: Any, path: str, methods: Sequence[Method]) -> dict[str, torch.Tensor]:
    weight = weight_matrix(model.get_submodule(path))
    found: dict[str, torch.Tensor] = {}
    for method in methods:
        # Methods share what they have in common.
        if _names([method], "weights") - found.keys():
            found |= from_weights(method, weight)
    return found


def _gather(
    model: Any,
    walk: LayerWalk,
    layer: Layer,
    gathered: Mapping[str, InputStatistics],
    token0: bool,
) -> None:
    """Run a layer on all windows and look at what its linears read."""

    def hook(path: str) -> Any:
        def look(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
            x = arguments[0].detach()
            x = x.reshape(-1, x.shape[-1])
            gathered[path].update(x if token0 else x[1:])

        return look

    handles = [model.get_submodule(path).register_forward_pre_hook(hook(path)) for path in gathered]
    try:
        for number in range(len(walk.hidden)):
            walk.advance(layer, number)
    finally:
        for handle in handles:
            handle.remove()


def _metadata(
    language_model: LanguageModel,
    text: Text,
    methods: Sequence[Method],
    tokens: tuple[int, int],
    window: int,
    windows: int,
    token0: bool,
    recipe: Recipe,
) -> dict[str, str]:
    metadata = {
        **origin(language_model, text),
        "tokens": f"{tokens[0]}:{tokens[1]}",
        "window": str(window),
        "windows": str(windows),
        "seed": str(recipe.seed),
        "token0": "include" if token0 else "exclude",
        "methods": " ".join(map(str, methods)),
        **versions(),
    }
    if _names(methods, "training"):
        metadata["recipe"] = json.dumps(asdict(recipe))
    metadata["command"] = _command(language_model, text, methods, metadata, recipe)
    return metadata


def _command(
    language_model: LanguageModel,
    text: Text,
    methods: Sequence[Method],
    metadata: Mapping[str, str],
    recipe: Recipe,
) -> str:
    words = [_PROGRAM, *(shlex.quote(str(method)) for method in methods)]
    words += origin_options(language_model, text)
    for option in ("tokens", "window", "windows", "seed", "token0"):
        words.append(f"--{option} {metadata[option]}")
    if "recipe" in metadata:
        words.append(f"--epochs {recipe.epochs} --learning-rate {recipe.learning_rate:g}")
    return " ".join(words)


def _check_output(path: Path) -> None:
    """Find out before the work that the output cannot be written."""
    check_folder_of(path)
    # A slip of the hand must not cost somebody the weights of a model.
    if path.exists() and not is_constants_file(path):
        raise InputError(
            f"output must be new or replace constants, not {str(path)!r}, which is something else"
        )


def _print_summary(
    constants: Constants, losses: Mapping[str, Sequence[LayerLoss]], path: Path
) -> None:
    for name, layers in losses.items():
        rows = [[loss.layer, f"{loss.before:.4g}", f"{loss.after:.4g}"] for loss in layers]
        print(f"mean squared error of the layers of {name}")
        print(tabulate(rows, ["layer", "before", "trained"], disable_numparse=True) + "\n")
    kinds: dict[str, list[torch.Tensor]] = {}
    for named in constants.tensors.values():
        for name, tensor in named.items():
            kinds.setdefault(name, []).append(tensor)
    rows = [
        [name, len(tensors), f"{sum(tensor.numel() for tensor in tensors):,}"]
        for name, tensors in kinds.items()
    ]
    align = ("left", "right", "right")
    print(tabulate(rows, ["constant", "linears", "numbers"], disable_numparse=True, colalign=align))
    print(f"wrote {path} ({path.stat().st_size:,} bytes)")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_PROGRAM,
        description="Compute what methods of sparsity need for each linear, and write it to a"
        " file.  @FILE stands for the arguments in a file, one a line.",
        fromfile_prefix_chars="@",
    )
    parser.add_argument(
        "methods", nargs="+", metavar="METHOD",
        help="such as 8:16,criterion=amber or 8:16,shift=s-pts,var or 8:16,ls",
    )  # fmt: skip
    add_model_and_text(parser)
    parser.add_argument(
        "--tokens", default="8192:65536", metavar="START:STOP",
        help="range of the text's tokens that windows are drawn from; STOP is not in it",
    )  # fmt: skip
    parser.add_argument("--window", type=int, default=512, help="tokens of a window")
    parser.add_argument("--windows", type=int, default=32, help="how many are drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the draw and of training")
    parser.add_argument(
        "--token0", default="include", metavar="include|exclude",
        help="whether the first token of each window, with its massive activations, counts",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=int, default=Recipe.epochs, help="how often training sees each window"
    )
    parser.add_argument(
        "--learning-rate", type=float, default=Recipe.learning_rate, help="largest one of training"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("build/constants.safetensors"), metavar="FILE",
        help="file to write",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see ``python -m sw.calibrate --help``.

    Returns
    -------
    int
        0; a wrong argument exits with status 2 and one line on standard error.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    output: Path = options.output
    try:
        # What needs no model is checked before it is loaded.
        methods = [Method.parse(text) for text in options.methods]
        tokens = parse_tokens(options.tokens)
        if options.token0 not in ("include", "exclude"):
            raise InputError(f"token0 must be include or exclude, not {options.token0!r}")
        recipe = Recipe(
            epochs=options.epochs, learning_rate=options.learning_rate, seed=options.seed
        )
        _check_output(output)
        language_model, text = load_model_and_text(options)
        parts = output.with_name(f"{output.name}.parts")
        try:
            constants, losses = calibrate(
                language_model,
                text,
                methods,
                tokens=tokens,
                window=options.window,
                windows=options.windows,
                token0=options.token0 == "include",
                recipe=recipe,
                parts=parts,
            )
            constants.write(output)
        except OSError as error:
            raise InputError(
                f"output must be a file that can be written, not {str(output)!r} ({error.strerror})"
            ) from error
        Parts(parts, constants.metadata).remove()
    except InputError as error:
        parser.error(str(error))
    _print_summary(constants, losses, output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
