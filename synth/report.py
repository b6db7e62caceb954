"""Area and delay of the units, or of any Verilog, in a table, as JSON and as Markdown.

`python -m synth.report` maps every unit at every pattern to the cells of a Liberty library.  The
same numbers come from `area` and `areas` in Python.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from hw.cli import CommandParser, parse_patterns
from hw.config import METADATA, PACKING_UNITS, UNITS, ConfigError, UnitConfig
from hw.files import write_files
from hw.formats import FORMATS
from hw.parameters import TILE_UNITS
from hw.progress import progress_bar
from synth.area import AreaResult, Design, area, areas, default_jobs
from synth.cli import UsageError, check_folder, library_of, list_of, positive, run
from synth.flow import DEFAULT_FLOW, FLOWS
from synth.liberty import GENERIC, read_liberty
from synth.render import BaselineError, Report

__all__ = ["AreaResult", "Design", "area", "areas", "main", "read_liberty"]

#: Units that can be reported: a memory would be mapped to a register a bit, and a tile is better
#: added up from its parts.
REPORTED = tuple(unit for unit in UNITS if unit not in ("scale_memory", *TILE_UNITS))
DEFAULT_PATTERNS = "2:4,4:8,8:16,16:32"
#: A PE is compared with others of integers.
DEFAULT_DTYPES = dict.fromkeys(REPORTED, "bf16") | {"pe": "int8"}
DEFAULT_PIPELINE = 1

#: First words of the studies, commands of their own, with what they are of.
_STUDIES = {
    "selectors": "benchmark of all architectures of the selector",
    "codes": "what the metadata codes cost",
    "methods": "what the methods of sparsity cost and win",
    "pe": "what a PE saves of a dense one",
    "tile": "tiles of any size from their parts, sparse and dense",
}

#: Options that shape units, and so mean nothing for other Verilog.
_UNIT_OPTIONS = ("units", "patterns", "dtype", "metadata", "pipeline")


def _whole(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,6}", text):
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text)


def _module(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", text):
        raise argparse.ArgumentTypeError(f"must be the name of a module, not {text!r}")
    return text


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m synth.report",
        description="Area and delay of the units, or of any Verilog, mapped to a Liberty library.",
        epilog="; ".join(
            f"python -m synth.report {name}: {what}" for name, what in _STUDIES.items()
        )
        + " (--help: its options).",
    )
    # No default in the namespace: what is there was asked for.
    unset: dict[str, Any] = {"default": argparse.SUPPRESS}
    parser.add_argument(
        "--units",
        type=list_of(REPORTED, "pe,decoder", ", ".join(REPORTED)),
        metavar="UNIT,...",
        help=f"units to report (default: {','.join(REPORTED)})",
        **unset,
    )
    parser.add_argument(
        "--patterns",
        type=parse_patterns,
        metavar="N:M,...",
        help=f"patterns to report (default: {DEFAULT_PATTERNS})",
        **unset,
    )
    parser.add_argument(
        "--dtype",
        choices=FORMATS,
        help="number format of the activations (default: bf16, in a pe int8)",
        **unset,
    )
    parser.add_argument(
        "--metadata",
        choices=METADATA,
        help=f"code of the metadata (default: {METADATA[0]})",
        **unset,
    )
    parser.add_argument(
        "--pipeline",
        type=_whole,
        metavar="K",
        help=f"register stages (default: {DEFAULT_PIPELINE})",
        **unset,
    )
    parser.add_argument(
        "--verilog",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="report these files instead of units; a line area_um2 gives the area (area_nand2 "
        "with the generic library), and delay_ns the delay if the library has delays",
        **unset,
    )
    parser.add_argument(
        "--top", type=_module, metavar="NAME", help="top module of the files", **unset
    )
    parser.add_argument(
        "--liberty",
        type=Path,
        metavar="FILE",
        help="library to map to, may be compressed with gzip "
        f"(default: {GENERIC.name}, the project's own, in NAND2 equivalents)",
        **unset,
    )
    parser.add_argument("--flow", choices=FLOWS, default=DEFAULT_FLOW, help="synthesis flow")
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="earlier report in JSON: mark what changed",
        **unset,
    )
    parser.add_argument(
        "--netlist",
        type=Path,
        metavar="FOLDER",
        help="also write the mapped netlist of each design there, as <top>.v",
        **unset,
    )
    parser.add_argument(
        "--jobs", type=positive, default=default_jobs(), metavar="J", help="processes at a time"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("build/report"),
        metavar="FOLDER",
        help="folder for area.json and area.md, with --verilog area_<top>.json and .md",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; the arguments are those of the command line if not given."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _STUDIES:
        # Only here, since each is a command of its own.
        study: Callable[[Sequence[str]], None] = import_module(f"synth.{words[0]}").main
        return study(words[1:])
    parser = _parser()
    return run(parser, vars(parser.parse_args(words)), _report)


def _report(given: dict[str, Any]) -> int:
    """Do what the arguments ask for; the exit status."""
    designs = _designs(given)
    name = f"area_{given['top']}" if "verilog" in given else "area"
    paths = [given["output"] / f"{name}{ending}" for ending in (".json", ".md")]
    # Before the work, which may take minutes.
    check_folder("-o/--output", given["output"])
    if "netlist" in given:
        check_folder("--netlist", given["netlist"])
    library = library_of(given.get("liberty", GENERIC))
    if FLOWS[given["flow"]].needs_delays and not library.has_delays:
        raise UsageError(
            f"argument --flow: {given['flow']} must be given a library with delays (--liberty), "
            f"not {library.name}"
        )
    baseline = None
    if "baseline" in given:
        try:
            baseline = Report.read_baseline(given["baseline"], library, given["flow"])
        except BaselineError as error:
            raise UsageError(f"argument --baseline: {error}") from error

    with progress_bar(total=len(designs), unit="design", desc="area", leave=False) as bar:
        results = areas(
            designs,
            library=library,
            flow=given["flow"],
            netlist="netlist" in given,
            jobs=given["jobs"],
            done=lambda _: bar.update(),
        )
    report = Report(results, library, _command(given), baseline)
    print(report.text)
    if "verilog" in given:
        unit = "nand2" if library.area_unit == "NAND2eq" else library.area_unit
        print(f"area_{unit} {results[0].area:.4f}")
        if results[0].delay_ns is not None:
            print(f"delay_ns {results[0].delay_ns:.4f}")
    contents = dict(zip(paths, (report.json, report.markdown), strict=True))
    wrote = " and ".join(map(str, paths))
    if "netlist" in given:
        for result in results:
            contents[given["netlist"] / f"{result.name}.v"] = result.netlist or ""
        count = "1 netlist" if len(results) == 1 else f"{len(results)} netlists"
        wrote += f", and {count} to {given['netlist']}"
    write_files(contents)
    print(f"wrote {wrote}")
    return 0


def _designs(given: dict[str, Any]) -> list[UnitConfig | Design]:
    """The designs that the arguments ask for."""
    if "verilog" in given:
        for option in _UNIT_OPTIONS:
            if option in given:
                raise UsageError(f"argument --{option}: must not be given with --verilog")
        if "top" not in given:
            raise UsageError("argument --top: must be given with --verilog")
        for path in given["verilog"]:
            if not path.is_file():
                raise UsageError(f"argument --verilog: must be a file, not {str(path)!r}")
        return [Design(given["verilog"], given["top"])]
    if "top" in given:
        raise UsageError("argument --top: must not be given without --verilog")

    pipeline = given.get("pipeline", DEFAULT_PIPELINE)
    designs: list[UnitConfig | Design] = []
    for unit in given.get("units", REPORTED):
        for n, m in given.get("patterns", parse_patterns(DEFAULT_PATTERNS)):
            try:
                designs.append(
                    UnitConfig(
                        n=n,
                        m=m,
                        unit=unit,
                        dtype=given.get("dtype", DEFAULT_DTYPES[unit]),
                        metadata=given.get("metadata", METADATA[0]),
                        pipeline=1 if unit in PACKING_UNITS else pipeline,
                    )
                )
            except ConfigError as error:
                if error.parameter in ("n", "m"):
                    raise UsageError(f"argument --patterns: {error}") from error
                raise UsageError(f"argument --{error.parameter}: {error.rule}") from error
    return designs


def _command(given: dict[str, Any]) -> str:
    """The command that makes the report again, with the names of files but not their folders."""
    words = ["python", "-m", "synth.report"]
    if "verilog" in given:
        words += ["--verilog", *(path.name for path in given["verilog"]), "--top", given["top"]]
    else:
        words += ["--units", ",".join(given.get("units", REPORTED))]
        patterns = given.get("patterns", parse_patterns(DEFAULT_PATTERNS))
        words += ["--patterns", ",".join(f"{n}:{m}" for n, m in patterns)]
        for option in ("dtype", "metadata", "pipeline"):
            if option in given:
                words += [f"--{option}", str(given[option])]
    if "liberty" in given:
        words += ["--liberty", given["liberty"].name]
    words += ["--flow", given["flow"]]
    return shlex.join(words)


if __name__ == "__main__":
    main()
