"""The study of the PE: what is left of the area of dense hardware, for all ways to sparse sums.

`python -m synth.report pe` measures sparse PEs, and the PE of the same number formats and options
that keeps all lanes, M of M and without a check, in one flow and one run.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from hw.cli import CommandParser
from hw.config import METADATA, WEIGHT_SELECTS, ConfigError, UnitConfig, pattern_list
from hw.formats import INTEGER_FORMATS
from synth.area import Design
from synth.cli import list_of, run
from synth.pe_report import PeReport, dense
from synth.study import Study, add_options, conduct, parser_of, status, usage_error
from synth.study_report import Row

__all__ = ["main"]

#: The flow for areas of combinational logic and of PEs.
FLOW = "plain"


def _rows(given: dict[str, Any]) -> list[Row]:
    """For each format and pattern the dense PE and the sparse ones."""
    try:
        configs = dict.fromkeys(_configs(given))
    except ConfigError as error:
        raise usage_error(error) from error
    return [Row(config, FLOW) for config in configs]


def _configs(given: dict[str, Any]) -> Iterator[UnitConfig]:
    for dtype in given["dtypes"]:
        for n, m in given["patterns"]:
            sparse = [
                UnitConfig(
                    n=n,
                    m=m,
                    unit="pe",
                    dtype=dtype,
                    metadata=code,
                    weight_select=weight_select,
                    check=check,
                )
                for weight_select in given["weight_selects"]
                for code in given["codes"]
                for check in (True, False)
            ]
            yield dense(sparse[0])
            yield from sparse


def _size(design: UnitConfig | Design) -> int:
    """How much work a unit is, about."""
    assert isinstance(design, UnitConfig)  # noqa: S101 - for the type checker: there is no other
    # The decoder of ranks is as deep as it has slots.
    codes = 2 if design.metadata == "enumerative" else 1
    return design.m * design.format.width * design.weight_format.width * codes


def _words(given: dict[str, Any]) -> list[str]:
    """All that decides the numbers, as the command line has it."""
    words = ["--dtypes", ",".join(given["dtypes"])]
    words += ["--weight-selects", ",".join(given["weight_selects"])]
    words += ["--codes", ",".join(given["codes"])]
    words += ["--patterns", pattern_list(given["patterns"])]
    return [*words, "--liberty", given["liberty"].name]


_STUDY = Study("pe", PeReport, _rows, _size, _words)


def _parser() -> CommandParser:
    parser = parser_of(_STUDY, "Area and delay of sparse PEs, against dense ones.")
    add = parser.add_argument
    for option, names, default, example in (
        ("--dtypes", INTEGER_FORMATS, ["int8"], "int4,int8"),
        ("--weight-selects", WEIGHT_SELECTS, list(WEIGHT_SELECTS), "mux,gather"),
        ("--codes", METADATA, list(METADATA), "bitmap,index"),
    ):
        known = ", ".join(names)
        add(
            option,
            type=list_of(names, example, known),
            default=default,
            metavar=f"{option[2:-1].upper()},...",
            help=f"of {known} (default: {','.join(default)})",
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
