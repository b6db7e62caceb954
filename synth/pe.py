"""The study of the PE: what is left of the area of dense hardware, for all ways to sparse sums.

`python -m synth.report pe` measures sparse PEs, and the PE of the same number formats and options
that keeps all lanes, M of M and without a check, in one flow and one run.  The buffer of a PE that
asks for its weights is measured by itself too.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from hw.cli import CommandParser, parse_patterns
from hw.config import METADATA, WEIGHT_SELECTS, ConfigError, UnitConfig, pattern_list
from hw.formats import FORMATS
from synth.area import Design
from synth.cli import list_of, run
from synth.pe_buffer import waiting_buffer
from synth.pe_report import SIDES, PeReport, dense
from synth.study import Study, add_options, conduct, parser_of, status, usage_error
from synth.study_report import Row

__all__ = ["main"]

#: The flow for areas of combinational logic and of PEs.
FLOW = "plain"

DEFAULT_FLOAT_PATTERNS = "8:16"


def _rows(given: dict[str, Any]) -> list[Row]:
    """For each format and pattern the dense PE and the sparse ones; buffers behind all of them."""
    try:
        configs = list(dict.fromkeys(_configs(given)))
    except ConfigError as error:
        raise usage_error(error) from error
    gathering = [config for config in configs if config.weight_select == "gather"]
    buffers = dict.fromkeys(map(waiting_buffer, gathering))
    rows = [Row(config, FLOW) for config in configs]
    return [*rows, *(Row(buffer, FLOW) for buffer in buffers)]


def _configs(given: dict[str, Any]) -> Iterator[UnitConfig]:
    for dtype in given["dtypes"]:
        is_float = FORMATS[dtype].kind == "float"
        for n, m in given["float_patterns" if is_float else "patterns"]:
            ways: list[dict[str, Any]] = []
            if "activations" in given["sides"]:
                ways += [{"n": n, "weight_select": name} for name in given["weight_selects"]]
            if "weights" in given["sides"]:
                ways.append({"n": m, "weights": (n, m)})
            if "both" in given["sides"]:
                ways.append({"n": n, "weights": (n, m)})
            sparse = [
                UnitConfig(m=m, unit="pe", dtype=dtype, metadata=code, check=check, **way)
                for way in ways
                for code in given["codes"]
                for check in (True, False)
            ]
            yield dense(sparse[0])
            yield from sparse


def _size(design: UnitConfig | Design) -> int:
    """How much work a unit is, about."""
    if isinstance(design, Design):
        # A buffer.
        return 1
    # The decoder of ranks is as deep as it has slots.
    codes = 2 if design.metadata == "enumerative" else 1
    return design.m * design.format.width * design.weight_format.width * codes


def _words(given: dict[str, Any]) -> list[str]:
    """All that decides the numbers, as the command line has it."""
    words = ["--dtypes", ",".join(given["dtypes"])]
    words += ["--sides", ",".join(given["sides"])]
    words += ["--weight-selects", ",".join(given["weight_selects"])]
    words += ["--codes", ",".join(given["codes"])]
    words += ["--patterns", pattern_list(given["patterns"])]
    words += ["--float-patterns", pattern_list(given["float_patterns"])]
    return [*words, "--liberty", given["liberty"].name]


_STUDY = Study("pe", PeReport, _rows, _size, _words)


def _parser() -> CommandParser:
    parser = parser_of(_STUDY, "Area and delay of sparse PEs, against dense ones.")
    add = parser.add_argument
    for option, names, default, example in (
        ("--dtypes", FORMATS, ["int8", "bf16"], "int4,int8"),
        ("--sides", SIDES, list(SIDES), "activations,both"),
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
    add(
        "--float-patterns",
        type=parse_patterns,
        default=parse_patterns(DEFAULT_FLOAT_PATTERNS),
        metavar="N:M,...",
        help="patterns of PEs of floats, which take several times as long (default: "
        f"{DEFAULT_FLOAT_PATTERNS})",
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
