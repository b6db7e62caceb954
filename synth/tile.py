"""The study of tiles: area of any size from that of the parts, sparse and dense.

`python -m synth.report tile` maps each module of a tile once, for every pattern and for the dense
tile of as many lanes, adds up the areas for the sizes asked for, and maps small tiles as a whole to
show that the sum is right.  In the same run it maps PEs that decode metadata themselves.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hw.cli import CommandParser
from hw.config import ConfigError, UnitConfig, pattern_list
from hw.formats import FORMATS
from synth.area import Design
from synth.cli import UsageError, positive, run
from synth.flow import DEFAULT_FLOW, FLOWS
from synth.study import Study, add_options, conduct, parser_of, status
from synth.study_report import Row
from synth.tile_report import Size, TileReport, dense_of

__all__ = ["main"]

DEFAULT_SIZES = "4x64"
DEFAULT_FLAT = "2x4"

#: Codes that PEs with decoders of their own have.
_OWN_CODES = ("bitmap", "index", "enumerative")


def _sizes(text: str) -> list[Size]:
    """Rows and columns, each once, as the type of an argument."""
    words = [] if text == "none" else text.split(",")
    matches = [re.fullmatch(r"([0-9]{1,3})x([0-9]{1,3})", word) for word in words]
    if not all(matches):
        raise argparse.ArgumentTypeError(
            f"must be none or a list of rows x columns such as 2x4,4x64, not {text!r}"
        )
    return list(dict.fromkeys((int(match[1]), int(match[2])) for match in matches if match))


def _size_list(sizes: Sequence[Size]) -> str:
    return ",".join(f"{rows}x{cols}" for rows, cols in sizes) or "none"


def _tiles(given: dict[str, Any]) -> list[UnitConfig]:
    """A tile of each pattern, each after the dense one of as many lanes."""
    tiles: dict[UnitConfig, None] = {}
    for n, m in given["patterns"]:
        sparse = UnitConfig(
            n=n,
            m=m,
            unit="tile",
            dtype=given["dtype"],
            weight_dtype=given["weight_dtype"],
            pipeline=given["pipeline"],
        )
        tiles |= dict.fromkeys((dense_of(sparse), sparse))
    return list(tiles)


def _rows(given: dict[str, Any]) -> list[Row]:
    """The parts of all tiles, PEs with decoders of their own, small tiles as a whole."""
    from hw.emit import emit

    flow = given["flow"]
    try:
        tiles = _tiles(given)
        # The sizes must be some that tiles can have.
        for rows, cols in (*given["sizes"], *given["flat"]):
            replace(tiles[0], rows=rows, cols=cols)
    except ConfigError as error:
        names = {"n": "patterns", "m": "patterns", "rows": "sizes", "cols": "sizes"}
        option = names.get(error.parameter, error.parameter)
        rule = str(error) if error.parameter in names else error.rule
        raise UsageError(f"argument --{option.replace('_', '-')}: {rule}") from error
    rows = [
        Row(Design(verilog, name, tile), flow)
        for tile in tiles
        for name, verilog in emit(tile).parts.items()
    ]
    for tile in tiles:
        rows += [Row(pe, flow) for pe in _own_decoders(tile)]
    for tile in tiles:
        rows += [Row(replace(tile, rows=r, cols=c), flow) for r, c in given["flat"]]
    return rows


def _own_decoders(tile: UnitConfig) -> list[UnitConfig]:
    """PEs of a tile if each of them decoded the metadata; none of a dense tile."""
    if tile.is_dense:
        return []
    return [replace(tile, unit="pe", metadata=code, check=False) for code in _OWN_CODES]


def _size(design: UnitConfig | Design) -> int:
    """How much work a unit is, about."""
    if isinstance(design, Design):
        # In lines.
        return 1 + str(design.verilog).count("\n") // 50
    count = design.rows * design.cols if design.unit == "tile" else 1
    return 1 + count * design.n * design.m // 8


def _words(given: dict[str, Any]) -> list[str]:
    """All that decides the numbers, as the command line has it."""
    words = ["--patterns", pattern_list(given["patterns"]), "--dtype", given["dtype"]]
    if given["weight_dtype"] is not None:
        words += ["--weight-dtype", given["weight_dtype"]]
    words += ["--pipeline", str(given["pipeline"]), "--sizes", _size_list(given["sizes"])]
    words += ["--flat", _size_list(given["flat"]), "--flow", given["flow"]]
    return [*words, "--liberty", given["liberty"].name]


def _study_of(given: dict[str, Any]) -> Study:
    def report(*arguments: Any) -> TileReport:
        return TileReport(*arguments, sizes=given["sizes"])

    return Study("tile", report, _rows, _size, _words)


_STUDY = _study_of({})


def _parser() -> CommandParser:
    parser = parser_of(_STUDY, "Area of tiles, from their parts, sparse and dense.")
    add = parser.add_argument
    add(
        "--sizes",
        type=_sizes,
        default=_sizes(DEFAULT_SIZES),
        metavar="RxC,...",
        help=f"rows and columns of the tiles that are added up (default: {DEFAULT_SIZES})",
    )
    add(
        "--flat",
        type=_sizes,
        default=_sizes(DEFAULT_FLAT),
        metavar="RxC,...",
        help=f"rows and columns of those that are mapped as a whole too; none (default: "
        f"{DEFAULT_FLAT})",
    )
    add("--dtype", default="int8", help=f"number format: {', '.join(FORMATS)} (default: int8)")
    add("--weight-dtype", help="number format of the weights (default: as --dtype)")
    add(
        "--pipeline",
        type=positive,
        default=1,
        metavar="K",
        help="register stages of each sparsifier, and of each PE (default: 1)",
    )
    add(
        "--flow",
        choices=FLOWS,
        default=DEFAULT_FLOW,
        help=f"synthesis flow: {', '.join(FLOWS)} (default: {DEFAULT_FLOW})",
    )
    add_options(parser, _STUDY, needed="needed", update="")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; the arguments are those of the command line if not given."""
    parser = _parser()
    run(parser, vars(parser.parse_args(arguments)), _study)


def _study(given: dict[str, Any]) -> int:
    """Do what the arguments ask for; the exit status."""
    return status(conduct(_study_of(given), given))
