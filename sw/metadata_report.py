"""What metadata costs, and what the masks of real activations would cost at the least.

`python -m sw.metadata_report` compares the codes of the metadata with the entropy of real masks, in
bits of metadata for each dense element.  H is the entropy of the mask of one group of N:M, and a
code that knows the model behind it comes arbitrarily near to it over many groups:

===========  =====================================================================================
model        H, in bits a group
===========  =====================================================================================
uniform      log2 C(M, N): all masks alike.  It is the bound of every code that gives each mask the
             same number of bits, and of every model to which the lanes of a group are
             exchangeable, since there are exactly N ones.
pooled       Entropy of whole masks, one distribution for all groups of all linears.  It sees what
             depends on the place in a group, and nothing of features.  Plug-in estimate with the
             correction of Miller and Madow: - sum q log2 q + (K - 1) / (2 G ln 2), with q the
             frequencies of the K masks that occur in G groups.  Only where G is at least
             `GROUPS_A_MASK` times C(M, N).
per lane     Each feature of a linear's input has its own probability to be kept.  The model is the
             conditional Bernoulli distribution, independent lanes given that N of them are kept:
             P(mask) = prod of w_j over kept lanes j / e_N(w), with e_N the elementary symmetric
             polynomial and odds w_j fitted so that lane j is kept as often as it was seen to be.
             Fitted on the first half of the tokens and evaluated on the second: a cross entropy.
plain odds   The same with w_j = p_j / (1 - p_j) and no fit.  Lanes then compete for places that
             the odds already account for: the smaller M, the more sure it is of itself.
===========  =====================================================================================
"""

import argparse
import fnmatch
import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from hw.cli import CommandParser, parse_patterns
from hw.config import (
    METADATA,
    ConfigError,
    UnitConfig,
    compression_ratio,
    metadata_bits,
    pattern_list,
)
from hw.files import write_files
from hw.formats import FORMATS
from hw.progress import progress_bar
from hw.version import VERSION
from sw.activations import Activations, read_activations
from sw.codes import magnitude_keys
from sw.errors import InputError
from sw.groups import to_groups
from sw.metadata import encode
from sw.quantize import to_codes
from sw.selection import select

__all__ = [
    "GROUPS_A_MASK",
    "LinearMasks",
    "PatternMasks",
    "Report",
    "fit_log_odds",
    "keep_probabilities",
    "log_elementary_symmetric",
    "main",
    "mask_bits",
    "measure",
    "pooled_entropy",
]

#: Groups for each possible mask that the pooled entropy needs; with less it says nothing.
GROUPS_A_MASK = 10

#: The fit of the odds ends when no probability is further off than this, or after so many steps.
_TOLERANCE = 1e-9
_STEPS = 200

_PROGRAM = "python -m sw.metadata_report"

_PATTERNS = "2:4,4:8,8:16,16:32"

_FILES = ("metadata.json", "metadata.md")


def log_elementary_symmetric(log_odds: torch.Tensor, n: int) -> torch.Tensor:
    """Logarithm of the elementary symmetric polynomial of the odds.

    ``ln e_n(w)``, with ``e_n(w)`` the sum over all sets S of n lanes of the product of w_j over S.
    One lane after the other: ``e_k(w_1 .. w_j) = e_k(w_1 .. w_(j-1)) + w_j e_(k-1)(w_1 ..
    w_(j-1))``.  All terms are positive, so nothing cancels.

    Parameters
    ----------
    log_odds
        ln w: float64 (..., M).
    n
        Number of lanes in a set, 0 .. M.

    Returns
    -------
    torch.Tensor
        float64 (...).

    Examples
    --------
    >>> w = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    >>> round(float(log_elementary_symmetric(w.log(), 2).exp()), 9)  # 1*2 + 1*3 + 2*3
    11.0
    """
    return _prefixes(log_odds, n)[-1, ..., n]


def _prefixes(log_odds: torch.Tensor, n: int) -> torch.Tensor:
    """Logarithms of e_k of the first j lanes, at [j, ..., k]: float64 (M + 1, ..., n + 1)."""
    row = log_odds.new_full((*log_odds.shape[:-1], n + 1), -math.inf)
    row[..., 0] = 0
    rows = [row]
    for lane in log_odds.unsqueeze(-1).unbind(-2):
        more = torch.logaddexp(row[..., 1:], row[..., :-1] + lane)
        row = torch.cat([row[..., :1], more], dim=-1)
        rows.append(row)
    return torch.stack(rows)


def mask_bits(mask: torch.Tensor, log_odds: torch.Tensor, n: int) -> torch.Tensor:
    """Length of an ideal code for masks: ``-log2 P``, in bits.

    P is the conditional Bernoulli distribution: ``P = prod of w_j over kept lanes / e_n(w)``.

    Parameters
    ----------
    mask
        bool (..., M), exactly n true in each group.
    log_odds
        ln w: float64, (..., M) or what broadcasts to it.  Adding a number to all lanes of a group
        changes nothing.

    Returns
    -------
    torch.Tensor
        float64 (...), never negative but for rounding.
    """
    kept = (mask * log_odds).sum(-1)
    return (log_elementary_symmetric(log_odds, n) - kept) / math.log(2)


def keep_probabilities(mask: torch.Tensor, n: int) -> torch.Tensor:
    """How probable it is that each lane is kept, from the masks of T tokens: float64 (..., M).

    ``p_j = (kept_j + n / M) / (T + 1)``: one token more in which the lanes share the n places
    alike.  So no lane is sure to be kept or dropped unless n = M, and the p_j of a group still add
    up to n, without which no odds could reproduce them.

    Parameters
    ----------
    mask
        bool (T, ..., M), exactly n true in each group.
    """
    tokens, m = mask.shape[0], mask.shape[-1]
    return (mask.sum(0).double() + n / m) / (tokens + 1)


def fit_log_odds(keep: torch.Tensor, n: int) -> torch.Tensor:
    """Odds with which the conditional Bernoulli distribution keeps each lane as often as asked.

    With f_j the probability that lane j is kept, ``f_j = w_j e_(n-1)(w without j) / e_n(w)``, one
    step adds ``(logit p_j - logit f_j) / 2`` to every ln w_j.  These odds are those of largest
    likelihood of masks in which lane j is kept with frequency p_j.  A full step would be right for
    independent lanes; the half one is safe also where two lanes compete for one place, and about
    halves the error.

    Parameters
    ----------
    keep
        p: float64 (..., M), above 0 and below 1, adding up to n in each group.  For n = M all 1.

    Returns
    -------
    torch.Tensor
        ln w: float64 (..., M), of mean 0 in each group.

    Raises
    ------
    ValueError
        The probabilities are out of range or do not add up to n.
    """
    if not bool(((keep.sum(-1) - n).abs() < 1e-6).all()):
        raise ValueError(f"keep must add up to {n} in each group")
    if n == keep.shape[-1]:
        return torch.zeros_like(keep)
    if not bool(((keep > 0) & (keep < 1)).all()):
        raise ValueError("keep must be above 0 and below 1 in each lane")
    wanted = torch.logit(keep)
    log_odds = wanted
    for _ in range(_STEPS):
        fitted = log_odds + _log_ratios(log_odds, n)
        if bool(((torch.sigmoid(fitted) - keep).abs() < _TOLERANCE).all()):
            break
        log_odds = log_odds + (wanted - fitted) / 2
    return log_odds - log_odds.mean(-1, keepdim=True)


def _log_ratios(log_odds: torch.Tensor, n: int) -> torch.Tensor:
    """Logarithms of e_(n-1) / e_n of the group without lane j, at [..., j]: float64 (..., M)."""
    before = _prefixes(log_odds, n)[:-1]
    # At [j, ..., k] now: ln e_(n-k) of the lanes behind lane j.
    behind = _prefixes(log_odds.flip(-1), n).flip(0)[1:].flip(-1)
    all_places = torch.logsumexp(before + behind, -1)
    one_less = torch.logsumexp(before[..., :-1] + behind[..., 1:], -1)
    return (one_less - all_places).movedim(0, -1)


def pooled_entropy(counts: torch.Tensor) -> float:
    """Entropy in bits of the distribution from which things were drawn, seen so often each.

    Plug-in estimate with the correction of Miller and Madow: ``- sum q log2 q + (K - 1) / (2 G
    ln 2)``, q = counts / G, G their sum, K the number of things seen at all.

    Parameters
    ----------
    counts
        int64 (things,), at least one above 0.

    Examples
    --------
    >>> pooled_entropy(torch.tensor([7, 0, 0]))
    0.0
    """
    seen = counts[counts > 0].double()
    total = seen.sum()
    plug_in = -(seen / total * torch.log2(seen / total)).sum()
    return abs(float(plug_in + (len(seen) - 1) / (2 * total * math.log(2))))


@dataclass(frozen=True)
class LinearMasks:
    """Entropy of the masks of one linear's input, in bits a group.

    Parameters
    ----------
    groups
        Groups of the second half of the tokens, on which the two are evaluated.
    per_lane, plain_odds
        Cross entropies under these two models.
    """

    groups: int
    per_lane: float
    plain_odds: float


@dataclass
class PatternMasks:
    """Entropy of the masks of one pattern, in bits a group, and what the codes take.

    Parameters
    ----------
    n, m
        The pattern.
    linears
        Name -> what was found in the input of that linear.
    groups
        Groups of all linears and tokens.
    counts
        How often each mask occurs in them, by its rank: int64 (C(m, n),).  None where the groups
        are too few.
    """

    n: int
    m: int
    linears: dict[str, LinearMasks] = field(default_factory=dict)
    groups: int = 0
    counts: torch.Tensor | None = None

    @property
    def uniform(self) -> float:
        """log2 C(m, n)."""
        return math.log2(comb(self.m, self.n))

    @property
    def pooled(self) -> float | None:
        """Entropy of the masks of all groups together; None where they are too few."""
        return None if self.counts is None else pooled_entropy(self.counts)

    @property
    def per_lane(self) -> float:
        """Cross entropy under the per-lane model, the mean over all groups evaluated."""
        return self._mean([linear.per_lane for linear in self.linears.values()])

    @property
    def plain_odds(self) -> float:
        """The same without the fit of the odds."""
        return self._mean([linear.plain_odds for linear in self.linears.values()])

    @property
    def lowest(self) -> float:
        """The lowest of uniform, pooled and per lane: what a code could come down to."""
        models = [self.uniform, self.per_lane]
        return min(models if self.pooled is None else [*models, self.pooled])

    def to_win(self, code: str) -> float:
        """Bits a group by which a code is above the lowest model; negative where it is below."""
        return metadata_bits(code, self.n, self.m) - self.lowest

    def to_win_percent(self, code: str, width: int) -> float:
        """The same in per cent of what is stored, n values of that width and the metadata."""
        bits = metadata_bits(code, self.n, self.m)
        return 100 * self.to_win(code) / (self.n * width + bits)

    def _mean(self, bits: Sequence[float]) -> float:
        groups = [linear.groups for linear in self.linears.values()]
        return math.fsum(b * g for b, g in zip(bits, groups, strict=True)) / sum(groups)


def measure(
    activations: Activations,
    patterns: Sequence[tuple[int, int]],
    dtype: str,
    *,
    progress: bool = True,
) -> list[PatternMasks]:
    """Entropies of the masks that selection by magnitude leaves, by pattern.

    The second half of the tokens is the larger one where their number is odd.

    Parameters
    ----------
    activations
        At least two tokens of each linear.
    patterns
        Pairs (n, m) with 1 <= n <= m.
    dtype
        Number format into which the activations are converted first, see `sw.quantize`.
    progress
        Whether a progress bar shows on standard error.

    Raises
    ------
    InputError
        There is but one token, or the activations do not fit into the number format.
    """
    for name, tensor in activations.tensors.items():
        if len(tensor) < 2:
            raise InputError(
                "activations must have at least two tokens, one half to fit the model and one to"
                f" evaluate it, not 1 in {name!r}"
            )
    results = [_without_masks(activations, n, m) for n, m in patterns]
    total = len(results) * len(activations.tensors)
    with progress_bar(total=total, desc="masks", unit="pattern", disable=not progress) as bar:
        for name, tensor in activations.tensors.items():
            keys = magnitude_keys(to_codes(tensor, dtype), FORMATS[dtype])
            for result in results:
                _add_linear(result, name, select(to_groups(keys, result.m), result.n))
                bar.update()
    return results


def _without_masks(activations: Activations, n: int, m: int) -> PatternMasks:
    """A result that knows how many groups will come, and so whether their masks are counted."""
    groups = sum(len(x) * -(-x.shape[-1] // m) for x in activations.tensors.values())
    enough = groups >= GROUPS_A_MASK * comb(m, n)
    counts = torch.zeros(comb(m, n), dtype=torch.int64) if enough else None
    return PatternMasks(n, m, groups=groups, counts=counts)


def _add_linear(result: PatternMasks, name: str, mask: torch.Tensor) -> None:
    """Add the masks of one linear: bool (tokens, groups, m)."""
    if result.counts is not None:
        ranks = encode(mask, result.n, "enumerative").flatten()
        result.counts += torch.bincount(ranks, minlength=len(result.counts))
    first, second = mask[: len(mask) // 2], mask[len(mask) // 2 :]
    keep = keep_probabilities(first, result.n)
    fitted = fit_log_odds(keep, result.n)
    # With n = m, where every lane is sure to be kept, the odds do not matter.
    plain = fitted if result.n == result.m else torch.logit(keep)
    result.linears[name] = LinearMasks(
        groups=second.shape[0] * second.shape[1],
        per_lane=float(mask_bits(second, fitted, result.n).mean()),
        plain_odds=float(mask_bits(second, plain, result.n).mean()),
    )


class Report:
    """Codes and entropies as tables on the terminal, as JSON and as Markdown.

    Parameters
    ----------
    results
        From `measure`, at least one.
    activations
        What they were measured on.
    dtype
        Number format of the masks, and of the stored values in per cent.
    command
        The command that makes the report.
    file_name
        Name of the file of activations.
    """

    def __init__(
        self,
        results: Sequence[PatternMasks],
        activations: Activations,
        *,
        dtype: str,
        command: str,
        file_name: str,
    ) -> None:
        self.results = results
        self.dtype = dtype
        #: What every number depends on.
        self.context: dict[str, Any] = {
            "project": f"nmsparse {VERSION}",
            "command": command,
            "dtype": dtype,
            "file": file_name,
            "linears": {name: list(x.shape) for name, x in activations.tensors.items()},
            "activations": activations.metadata,
        }

    @property
    def json(self) -> str:
        """The report as JSON: `context`, and `patterns` with one record each."""
        content = {"context": self.context, "patterns": list(map(self._record, self.results))}
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @property
    def text(self) -> str:
        """The report as tables on the terminal."""
        parts = [part for title, table in self._tables("simple") for part in (title, table)]
        return "\n\n".join([*parts, "\n".join(self._notes())])

    @property
    def markdown(self) -> str:
        """The report in Markdown."""
        parts = ["# Metadata", f"    {self.context['command']}", self._origin()]
        for title, table in self._tables("github"):
            parts += [f"## {title}", table]
        parts.append("\n".join(f"- {note}" for note in self._notes()))
        return "\n\n".join(parts) + "\n"

    def _record(self, result: PatternMasks) -> dict[str, Any]:
        """One pattern of the JSON; entropies in bits a group."""
        n, m, width = result.n, result.m, FORMATS[self.dtype].width
        return {
            "pattern": f"{n}:{m}",
            "groups": result.groups,
            "masks": comb(m, n),
            "uniform_bits": _rounded(result.uniform),
            "pooled_bits": None if result.pooled is None else _rounded(result.pooled),
            "per_lane_bits": _rounded(result.per_lane),
            "plain_odds_bits": _rounded(result.plain_odds),
            "linears": {
                name: {
                    "groups_evaluated": linear.groups,
                    "per_lane_bits": _rounded(linear.per_lane),
                    "plain_odds_bits": _rounded(linear.plain_odds),
                }
                for name, linear in result.linears.items()
            },
            "codes": {
                code: {
                    "bits": metadata_bits(code, n, m),
                    "bits_per_element": _rounded(metadata_bits(code, n, m) / m),
                    "to_win_bits_per_element": _rounded(result.to_win(code) / m),
                    "to_win_percent": _rounded(result.to_win_percent(code, width)),
                    "compression_ratio": {
                        name: _rounded(
                            compression_ratio(n, m, form.width, metadata_bits(code, n, m))
                        )
                        for name, form in FORMATS.items()
                    },
                }
                for code in METADATA
            },
        }

    def _tables(self, style: str) -> list[tuple[str, str]]:
        """Title and table of each part."""
        return [
            ("Bits of metadata for each dense element", self._codes(style)),
            ("Per-lane entropy by linear, in bits an element", self._by_linear(style)),
            ("Compression: dense bits / (values + metadata)", self._compression(style)),
        ]

    def _codes(self, style: str) -> str:
        width = FORMATS[self.dtype].width
        rows = [
            [
                f"{result.n}:{result.m}",
                code,
                str(metadata_bits(code, result.n, result.m)),
                f"{metadata_bits(code, result.n, result.m) / result.m:.4f}",
                f"{result.uniform / result.m:.4f}",
                _pooled(result),
                f"{result.per_lane / result.m:.4f}",
                f"{result.to_win(code) / result.m:.4f}",
                f"{result.to_win_percent(code, width):.2f}",
            ]
            for result in self.results
            for code in METADATA
        ]
        headers = [
            "pattern", "code", "bits a group", "an element", "log2 C / M", "pooled", "per lane",
            "to win", f"% of stored {self.dtype}",
        ]  # fmt: skip
        return _table(rows, headers, style, 2)

    def _by_linear(self, style: str) -> str:
        headers = ["input of", *(f"{result.n}:{result.m}" for result in self.results)]
        rows = [
            [
                name,
                *(f"{result.linears[name].per_lane / result.m:.4f}" for result in self.results),
            ]
            for name in self.results[0].linears
        ]
        rows.append(["all", *(f"{result.per_lane / result.m:.4f}" for result in self.results)])
        rows.append(
            ["all, plain odds", *(f"{result.plain_odds / result.m:.4f}" for result in self.results)]
        )
        rows.append(
            ["log2 C / M", *(f"{result.uniform / result.m:.4f}" for result in self.results)]
        )
        return _table(rows, headers, style, 1)

    def _compression(self, style: str) -> str:
        widths = sorted({form.width for form in FORMATS.values()})
        names = {
            width: ", ".join(name for name, form in FORMATS.items() if form.width == width)
            for width in widths
        }
        rows = []
        for result in self.results:
            n, m = result.n, result.m
            for code in METADATA:
                bits = metadata_bits(code, n, m)
                ratios = [f"{compression_ratio(n, m, width, bits):.4f}" for width in widths]
                rows.append([f"{n}:{m}", code, *ratios])
            # Another number format has other ties, and so other masks.
            own = FORMATS[self.dtype].width
            ratio = f"{compression_ratio(n, m, own, result.lowest):.4f}"
            limit = [ratio if width == own else "-" for width in widths]
            rows.append([f"{n}:{m}", "entropy coder", *limit])
        return _table(rows, ["pattern", "code", *(names[width] for width in widths)], style, 2)

    def _notes(self) -> list[str]:
        few = [f"{r.n}:{r.m} ({r.groups:,})" for r in self.results if r.pooled is None]
        notes = [
            "log2 C / M: all masks alike; the bound of any code of fixed length",
            "pooled: one distribution of masks for all groups, Miller-Madow"
            + (f"; too few groups at {', '.join(few)}" if few else ""),
            "per lane: each feature has its own probability to be kept; fitted on the first half of"
            " the tokens, evaluated on the second",
            "to win: code less the lowest of the three, in bits an element, and in per cent of"
            f" values and metadata of {self.dtype}",
            f"entropy coder: metadata of that lowest, with values of {self.dtype}",
            f"masks of {self.dtype}, selected by magnitude, of {len(self.results[0].linears)}"
            f" linears in {self.context['file']}",
        ]
        token0 = {"include": "included", "exclude": "left out"}
        if said := token0.get(self.context["activations"].get("token0", "")):
            notes.append(f"the first token of each window is {said}")
        return notes

    def _origin(self) -> str:
        """Where the activations came from, as a table in Markdown."""
        rows = [["file", self.context["file"]], *self.context["activations"].items()]
        return _table([[_cell(text) for text in row] for row in rows], ["", ""], "github", 2)


def _rounded(number: float) -> float:
    """So that the order in which sums are split does not show."""
    return round(number, 6)


def _pooled(result: PatternMasks) -> str:
    return "too few groups" if result.pooled is None else f"{result.pooled / result.m:.4f}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str], style: str, names: int) -> str:
    align = ["left"] * names + ["right"] * (len(headers) - names)
    return tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=align)


def _check_patterns(patterns: Sequence[tuple[int, int]], dtype: str) -> None:
    for n, m in patterns:
        try:
            UnitConfig(unit="selector", n=n, m=m, dtype=dtype)
        except ConfigError as error:
            of_pattern = error.parameter in ("n", "m")
            raise InputError(
                f"argument --patterns: {error}" if of_pattern else str(error)
            ) from error


def _check_folder(folder: Path) -> None:
    """Find out before the work that nothing can be written."""
    for place in (folder, *folder.absolute().parents):
        if place.exists():
            if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
                raise InputError(
                    f"output must be a folder that can be written, not {str(folder)!r}"
                )
            return


def _choose(activations: Activations, linears: str) -> Activations:
    """The linears whose name matches one of the wildcards, which commas part."""
    wildcards = linears.split(",")
    chosen = {
        name: tensor
        for name, tensor in activations.tensors.items()
        if any(fnmatch.fnmatchcase(name, wildcard) for wildcard in wildcards)
    }
    if not chosen:
        raise InputError(
            f"linears must match some of {', '.join(activations.tensors)}, not {linears!r}"
        )
    return Activations(chosen, activations.metadata)


def _command(options: argparse.Namespace) -> str:
    """The command without folders of the machine."""
    path = options.activations
    words = [
        *_PROGRAM.split(),
        *("--activations", path.name if path.is_absolute() else str(path)),
        *("--patterns", pattern_list(options.patterns)),
        *("--dtype", options.dtype),
    ]
    if options.linears != "*":
        words += ["--linears", options.linears]
    return shlex.join(words)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_PROGRAM,
        description="Bits of metadata of each code next to the entropy of the masks of real"
        " activations, and the compression that follows.",
    )
    # A default of None would show as "(default: None)".
    optional: dict[str, Any] = {"default": argparse.SUPPRESS}
    parser.add_argument(
        "--activations", type=Path, required=True, metavar="FILE", **optional,
        help="captured activations, see python -m sw.capture",
    )  # fmt: skip
    parser.add_argument("--patterns", type=parse_patterns, default=_PATTERNS, help="N:M, ...")
    parser.add_argument(
        "--dtype", default="bf16",
        help=f"number format of the values that are selected and stored: {', '.join(FORMATS)}",
    )  # fmt: skip
    parser.add_argument(
        "--linears", default="*", metavar="NAMES",
        help="names of linears, with wildcards, parted by commas, such as '*.down_proj'",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", **optional,
        help=f"also write {' and '.join(_FILES)} to this folder",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see ``python -m sw.metadata_report --help``.

    Returns
    -------
    int
        0; a wrong argument exits with status 2 and one line on standard error.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    folder: Path | None = getattr(options, "output", None)
    try:
        _check_patterns(options.patterns, options.dtype)
        if folder is not None:
            _check_folder(folder)
        activations = _choose(read_activations(options.activations), options.linears)
        report = Report(
            measure(activations, options.patterns, options.dtype),
            activations,
            dtype=options.dtype,
            command=_command(options),
            file_name=options.activations.name,
        )
        print(report.text)
        if folder is not None:
            _write(report, folder)
    except InputError as error:
        parser.error(str(error))
    return 0


def _write(report: Report, folder: Path) -> None:
    paths = [folder / name for name in _FILES]
    try:
        write_files(dict(zip(paths, (report.json, report.markdown), strict=True)))
    except OSError as error:
        raise InputError(
            f"output must be a folder that can be written, not {str(folder)!r} ({error.strerror})"
        ) from error
    print(f"wrote {' and '.join(map(str, paths))}")


if __name__ == "__main__":
    sys.exit(main())
