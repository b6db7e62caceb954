"""``python -m sw.benchmark_selection``: how fast a CPU finds the masks of N:M, in one run.

All ways to a mask are called in turn, round by round, so that a machine whose speed drifts is slow
for all of them.  A *ratio* is the time of ``torch.topk`` and ``scatter_`` over that of another way
in the same round; the median of the rounds is what is printed.  All masks are compared with those
of `sw.selection.select`; only ``topk`` may differ from them, where magnitudes tie.
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil

import numpy as np
import torch
from tabulate import tabulate

from hw.cli import CommandParser, parse_patterns
from hw.parameters import MAX_M
from hw.progress import progress_bar
from sw.errors import InputError
from sw.fast_selection import METHODS, auto_method, keep_mask
from sw.selection_candidates import CANDIDATES, Selection, compiled_network, topk_scatter

__all__ = ["Timing", "Way", "main", "measure"]

#: From x to its mask.
Way = Callable[[torch.Tensor], torch.Tensor]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

#: Calls that take less than this many seconds are repeated and timed together.
_SHORTEST = 0.002


@dataclass(frozen=True)
class Timing:
    """What one way took.

    Parameters
    ----------
    way
        Its name.
    seconds
        Of one call, median of the rounds.
    ratio
        Time of the first way over its own, median of the rounds.
    wrong
        Groups whose mask is not that of `sw.selection.select`.
    """

    way: str
    seconds: float
    ratio: float
    wrong: int


def measure(
    x: torch.Tensor,
    n: int,
    m: int,
    ways: dict[str, Way],
    rounds: int,
    tick: Callable[[], object] = lambda: None,
) -> list[Timing]:
    """Times of all ways to the mask of x; the first of them is what the others are compared with.

    Parameters
    ----------
    x
        bf16, fp16 or fp32 (..., K), K a multiple of m.
    n, m
        Pattern.
    ways
        Functions of x by name.
    rounds
        How often each is timed, at least 1.
    tick
        Called after each round.
    """
    expected = keep_mask(x, n, m, "golden").view(-1, m)
    wrong = {
        name: int((way(x).view(-1, m) != expected).any(-1).sum()) for name, way in ways.items()
    }
    calls = {name: ceil(_SHORTEST / _seconds(way, x)) for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(_seconds(way, x, calls[name]))
        tick()
    first = next(iter(times.values()))
    return [
        Timing(
            way=name,
            seconds=statistics.median(own),
            ratio=statistics.median(a / b for a, b in zip(first, own, strict=True)),
            wrong=wrong[name],
        )
        for name, own in times.items()
    ]


def _seconds(way: Way, x: torch.Tensor, calls: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        way(x)
    return (time.perf_counter() - start) / calls


def _ways(x: torch.Tensor, n: int, m: int, every: bool) -> tuple[dict[str, Way], str]:
    """All ways by name, and what is to be said of them."""
    auto = auto_method(x.numel() // m, m)
    ways: dict[str, Way] = {"topk + scatter_": _of_pattern(topk_scatter, n, m)}
    for method in METHODS:
        name = f"{method} (auto)" if method == auto else method
        ways[name] = partial(keep_mask, n=n, m=m, method=method)
    if not every:
        return ways, ""
    ways |= {name: _of_pattern(way, n, m) for name, way in CANDIDATES.items()}
    compiled = compiled_network(n, m)
    try:
        seconds = _seconds(compiled, x)
    except RuntimeError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        return ways, f"torch.compile is not possible here: {reason}"
    return ways | {"network, compiled": compiled}, f"compiled in {seconds:.1f} s"


def _of_pattern(way: Selection, n: int, m: int) -> Way:
    return lambda x: way(x, n, m)


def _report(x: torch.Tensor, pattern: tuple[int, int], options: argparse.Namespace) -> str:
    """One table."""
    n, m = pattern
    ways, note = _ways(x, n, m, options.all)
    size = " x ".join(map(str, x.shape))
    threads = torch.get_num_threads()
    title = f"{size}, {n}:{m}, {threads} thread{'s' if threads > 1 else ''}"
    with progress_bar(total=options.rounds, desc=title, unit="round", leave=False) as bar:
        timings = measure(x, n, m, ways, options.rounds, bar.update)
    rows = [[t.way, f"{t.seconds * 1e3:.3f}", f"{t.ratio:.2f}", f"{t.wrong:,}"] for t in timings]
    headers = ["way", "ms", "ratio", "groups that differ"]
    align = ["left", "right", "right", "right"]
    table = tabulate(rows, headers, disable_numparse=True, colalign=align)
    return "\n".join(filter(None, [title, "", table, note]))


def _shapes(text: str) -> list[tuple[int, int]]:
    """Shapes such as 2048x4096,1x4096, as the type of an argument."""
    matches = [re.fullmatch(r"([1-9][0-9]{0,8})x([1-9][0-9]{0,8})", s) for s in text.split(",")]
    if not all(matches):
        raise argparse.ArgumentTypeError(
            f"must be a list of shapes TOKENSxFEATURES such as 2048x4096,1x4096, not {text!r}"
        )
    return [(int(match[1]), int(match[2])) for match in matches if match]


def _numbers(text: str) -> list[int]:
    """Positive numbers, as the type of an argument."""
    if not re.fullmatch(r"[1-9][0-9]{0,3}(,[1-9][0-9]{0,3})*", text):
        raise argparse.ArgumentTypeError(
            f"must be a list of positive numbers such as 1,2, not {text!r}"
        )
    return [int(number) for number in text.split(",")]


def _rounds(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return int(text)


def _check(shapes: Sequence[tuple[int, int]], patterns: Sequence[tuple[int, int]]) -> None:
    for n, m in patterns:
        if not (2 <= m <= MAX_M and 1 <= n <= m):
            raise InputError(
                f"argument --patterns: must be patterns n:m with 2 <= m <= {MAX_M} and "
                f"1 <= n <= m, not {n}:{m}"
            )
    for (_, features), (n, m) in product(shapes, patterns):
        if features % m:
            raise InputError(
                f"argument --shapes: must have a multiple of {m} features for {n}:{m}, "
                f"not {features}"
            )


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m sw.benchmark_selection",
        description="How fast a CPU finds the masks of N:M, next to torch.topk and scatter_.",
    )
    parser.add_argument("--patterns", type=parse_patterns, default="8:16", help="N:M, ...")
    parser.add_argument(
        "--shapes", type=_shapes, default="2048x4096", metavar="SHAPES",
        help="tokens x features, ...",
    )  # fmt: skip
    parser.add_argument("--dtype", choices=_DTYPES, default="bf16", help="type of the activations")
    parser.add_argument(
        "--threads", type=_numbers, default="1,2", help="numbers of threads, one after another"
    )
    parser.add_argument("--rounds", type=_rounds, default=9, help="times that each way is timed")
    parser.add_argument(
        "--all", action="store_true",
        help="also ways that are not used, among them one by torch.compile",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see ``python -m sw.benchmark_selection --help``.

    Returns
    -------
    int
        0; a wrong argument exits with status 2 and one line on standard error.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        _check(options.shapes, options.patterns)
    except InputError as error:
        parser.error(str(error))
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"{options.dtype}, normally distributed, rounds: {options.rounds}")
    print(f"torch {torch.__version__} ({capability}), numpy {np.__version__}")
    threads_before = torch.get_num_threads()
    try:
        for shape, pattern, threads in product(options.shapes, options.patterns, options.threads):
            torch.set_num_threads(threads)
            x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            print(f"\n{_report(x.to(_DTYPES[options.dtype]), pattern, options)}", flush=True)
    finally:
        torch.set_num_threads(threads_before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
