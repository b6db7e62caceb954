"""How long a forward pass takes with a method of sparsity, next to the dense one.

`python -m sw.benchmark_forward METHOD ...` lets a language model read one window of a text, with
logits of all tokens.  Dense and sparse passes take turns, so that both meet the same machine.
Nothing is gained from sparsity here, since the products are those of dense matrices: what is
measured is what the selection and the epilogues cost.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tabulate import tabulate

from hw.cli import CommandParser
from hw.progress import progress_bar
from sw.activations import DTYPES
from sw.constants import Constants, from_weights
from sw.errors import InputError
from sw.method import Method
from sw.model_text import add_model_and_text, load_model_and_text
from sw.sparse_model import choose_linears, sparsify, weight_matrix
from sw.windows import read_windows

__all__ = ["Timing", "main", "measure"]

_PROGRAM = "python -m sw.benchmark_forward"

_DENSE = Method()


@dataclass(frozen=True)
class Timing:
    """How long the forward passes of a method take.

    Parameters
    ----------
    method
        The method.
    seconds
        Median of a pass.
    ratio
        Median over the rounds of its time by that of the dense pass.
    """

    method: Method
    seconds: float
    ratio: float


@torch.no_grad()
def measure(
    model: Any,
    window: torch.Tensor,
    methods: Sequence[Method],
    rounds: int,
    tick: Callable[[], object] = lambda: None,
) -> list[Timing]:
    """Times of the dense model, which comes first, and of the methods.

    Parameters
    ----------
    model
        A causal language model of `transformers`, which is left as it was.
    window
        Tokens (1, T).
    methods
        Methods that need nothing but the weights.
    rounds
        How often each is timed, after one pass that does not count; at least 1.
    tick
        Called after each pass.

    Raises
    ------
    InputError
        A method does not fit the model or needs calibration.
    """
    wanted = dict.fromkeys([_DENSE, *methods])
    # What follows from the weights is computed once.
    constants = {method: _constants(model, method) for method in wanted}
    times: dict[Method, list[float]] = {method: [] for method in wanted}
    for number in range(rounds + 1):
        for method in wanted:
            with sparsify(model, method, constants[method], progress=False):
                start = time.perf_counter()
                model(window, use_cache=False)
                seconds = time.perf_counter() - start
            if number:
                times[method].append(seconds)
            tick()
    return _summary(times)


def _summary(times: Mapping[Method, Sequence[float]]) -> list[Timing]:
    dense = times[_DENSE]
    return [
        Timing(
            method,
            statistics.median(own),
            statistics.median(a / b for a, b in zip(own, dense, strict=True)),
        )
        for method, own in times.items()
    ]


def _constants(model: Any, method: Method) -> Constants:
    linears = choose_linears(model, method) if method.pattern is not None else {}
    found = {path: from_weights(method, weight_matrix(linear)) for path, linear in linears.items()}
    return Constants(found, {})


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_PROGRAM,
        description="How long a forward pass takes with methods of sparsity, next to the dense.",
    )
    parser.add_argument(
        "methods", nargs="+", metavar="METHOD",
        help="such as 8:16 or 8:16,criterion=amber,var; one that needs no calibration",
    )  # fmt: skip
    add_model_and_text(parser)
    parser.add_argument("--window", type=int, default=512, help="tokens that are read")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="fp32", help="what the model computes in"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--rounds", type=int, default=5, help="times that each method is timed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see ``python -m sw.benchmark_forward --help``.

    Returns
    -------
    int
        0; a wrong argument exits with status 2 and one line on standard error.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    threads_before = torch.get_num_threads()
    try:
        methods = [Method.parse(text) for text in options.methods]
        for name in ("threads", "rounds"):
            if (value := getattr(options, name)) < 1:
                raise InputError(f"{name} must be at least 1, not {value}")
        language_model, text = load_model_and_text(options)
        model = language_model.model.to(DTYPES[options.dtype])
        window = read_windows(language_model, text, (0, options.window), options.window)[0]
        torch.set_num_threads(options.threads)
        total = (options.rounds + 1) * len({_DENSE, *methods})
        with progress_bar(total=total, desc="timing", unit="pass", leave=False) as bar:
            timings = measure(model, window, methods, options.rounds, bar.update)
    except InputError as error:
        parser.error(str(error))
    finally:
        torch.set_num_threads(threads_before)
    threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    print(
        f"{language_model.name} in {options.dtype}, {options.window} tokens, {threads},"
        f" rounds: {options.rounds}, torch {torch.__version__}"
    )
    rows = [[str(t.method), f"{t.seconds:.3f}", f"{t.ratio:.2f}"] for t in timings]
    headers = ["method", "s", "times dense"]
    align = ("left", "right", "right")
    print(tabulate(rows, headers, disable_numparse=True, colalign=align))
    return 0


if __name__ == "__main__":
    sys.exit(main())
