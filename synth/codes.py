"""The study of the metadata codes: what each of them costs, in bits and in silicon.

`python -m synth.report codes` measures the units that write and read metadata, in every code and
pattern: with as few registers as can be in the flow ``plain``; ranks, a group or a lane a cycle, in
the flow ``timed``.  In the same run it measures the selectors that they are held against.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from hw.cli import CommandParser
from hw.config import METADATA, ConfigError, UnitConfig, pattern_list
from synth.area import Design
from synth.cli import list_of, run, whole_numbers
from synth.codes_report import AREA_FLOW, CLOCK_FLOW, CONVERTERS, CodeReport, references
from synth.study import Study, add_options, conduct, parser_of, status, usage_error
from synth.study_report import Row

__all__ = ["main"]

#: The units that hold a code, with about how much work each is.
UNITS = {"encoder": 1, "decoder": 2, "decompressor": 2, "pe": 2, "sparsifier": 8}

#: Register stages in the flow for areas, where they cannot be none: a PE has its accumulator, and
#: for a sparsifier without a register behind its comparisons that flow takes up to an hour.
STAGES = {"pe": 1, "sparsifier": 2}

DEFAULT_PIPELINES = (1, 2, 3, 4, 6, 8)

#: The code whose circuits are so deep that registers pay.
_DEEP = "enumerative"


def _rows(given: dict[str, Any]) -> list[Row]:
    """The units of the tables, in their order, and what they are held against."""
    try:
        rows = [*_area_rows(given), *_clock_rows(given)]
    except ConfigError as error:
        raise usage_error(error) from error
    flows = dict.fromkeys(row.flow for row in rows)
    for n, m in given["patterns"]:
        rows += [Row(design, flow) for flow in flows for design in references(n, m)]
    return rows


def _area_rows(given: dict[str, Any]) -> Iterator[Row]:
    """All units and codes, with as few registers as can be."""
    for unit in given["units"]:
        for n, m in given["patterns"]:
            for code in given["codes"]:
                for serial in (False, True)[: 1 + _is_deep(unit, code)]:
                    config = UnitConfig(
                        n=n,
                        m=m,
                        unit=unit,
                        dtype="int8" if unit == "pe" else "bf16",
                        selector="compare_matrix",
                        metadata=code,
                        serial=serial,
                        pipeline=STAGES.get(unit, 0),
                    )
                    yield Row(config, AREA_FLOW)


def _clock_rows(given: dict[str, Any]) -> Iterator[Row]:
    """Converters of the deep code, with at most a register stage a slot, and a lane a cycle."""
    for unit in given["units"]:
        if not (_is_deep(unit, _DEEP) and _DEEP in given["codes"]):
            continue
        for n, m in given["patterns"]:
            for pipeline in given["pipelines"]:
                config = UnitConfig(n=n, m=m, unit=unit, metadata=_DEEP, pipeline=pipeline)
                if pipeline <= n:
                    yield Row(config, CLOCK_FLOW)
            serial = UnitConfig(n=n, m=m, unit=unit, metadata=_DEEP, serial=True, pipeline=0)
            yield Row(serial, CLOCK_FLOW)


def _is_deep(unit: str, code: str) -> bool:
    return unit in CONVERTERS and code == _DEEP


def _size(design: UnitConfig | Design) -> int:
    """How much work a unit is, about."""
    if isinstance(design, Design):
        # Its lines grow with the square of m.
        return 4 * str(design.verilog).count("\n")
    return design.m**2 * UNITS.get(design.unit, 8)


def _words(given: dict[str, Any]) -> list[str]:
    """All that decides the numbers, as the command line has it."""
    words = ["--units", ",".join(given["units"]), "--codes", ",".join(given["codes"])]
    words += ["--patterns", pattern_list(given["patterns"])]
    words += ["--pipelines", ",".join(map(str, given["pipelines"]))]
    return [*words, "--liberty", given["liberty"].name]


_STUDY = Study("codes", CodeReport, _rows, _size, _words)


def _parser() -> CommandParser:
    parser = parser_of(_STUDY, "Bits, area and delay of the codes of the metadata.")
    add = parser.add_argument
    units = ", ".join(UNITS)
    add(
        "--units",
        type=list_of(UNITS, "encoder,decoder", units),
        default=list(UNITS),
        metavar="UNIT,...",
        help=f"units (default: all: {units})",
    )
    codes = ", ".join(METADATA)
    add(
        "--codes",
        type=list_of(METADATA, "bitmap,index", codes),
        default=list(METADATA),
        metavar="CODE,...",
        help=f"codes (default: all: {codes})",
    )
    add(
        "--pipelines",
        type=whole_numbers,
        default=list(DEFAULT_PIPELINES),
        metavar="K,...",
        help=f"register stages of {' and '.join(CONVERTERS)} of {_DEEP} in the flow {CLOCK_FLOW}, "
        f"those of at most N (default: {','.join(map(str, DEFAULT_PIPELINES))})",
    )
    add_options(parser, _STUDY, needed="needed", update="")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; the arguments are those of the command line if not given."""
    parser = _parser()
    run(parser, vars(parser.parse_args(arguments)), _study)


def _study(given: dict[str, Any]) -> int:
    """Do what the arguments ask for; the exit status."""
    return status(conduct(_STUDY, given))
