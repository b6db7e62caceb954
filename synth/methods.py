"""The study of the methods of sparsity: what each costs in silicon, and what it wins.

`python -m synth.report methods` takes the methods that `python -m sw.evaluate` measured, finds the
units that each of them needs (`synth.method_units`), measures these in the flow ``timed``, and
prints area and delay beside the perplexity.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hw.cli import CommandParser
from hw.config import UnitConfig, pattern_list
from sw.errors import InputError
from sw.evaluate import BASELINE, read_evaluation
from synth.area import Design
from synth.cli import UsageError, run
from synth.method_units import is_built, plain_pe, units_of
from synth.methods_report import FLOW, EvaluatedMethod, MethodReport, evaluated_methods
from synth.study import Study, add_options, conduct, parser_of, status
from synth.study_report import Row

__all__ = ["main"]

#: About how much work a unit is, in lanes.
_SIZES = {"correction": 8, "epilogue": 8}


def _methods(given: dict[str, Any]) -> list[EvaluatedMethod]:
    """The methods of the evaluation in the patterns that are asked for."""
    try:
        evaluation = read_evaluation(given["evaluation"])
    except InputError as error:
        raise UsageError(f"argument --evaluation: {error}") from error
    patterns = given["patterns"]
    methods = [
        evaluated
        for evaluated in evaluated_methods(evaluation)
        if is_built(evaluated.method) and evaluated.method.pattern in patterns
    ]
    for n, m in patterns:
        if not any(str(evaluated.method) == f"{n}:{m}" for evaluated in methods):
            raise UsageError(
                f"argument --patterns: must be in the evaluation, without options, not {n}:{m}"
            )
    return methods


def _rows(given: dict[str, Any]) -> list[Row]:
    """The units of all methods, each once, and the PE of each pattern."""
    units: dict[UnitConfig, None] = {}
    for evaluated in _methods(given):
        units |= dict.fromkeys(units_of(evaluated.method).all)
    units |= dict.fromkeys(plain_pe(n, m) for n, m in given["patterns"])
    return [Row(config, FLOW) for config in units]


def _size(design: UnitConfig | Design) -> int:
    """How much work a unit is, about."""
    config = Row(design, FLOW).config
    if config.unit in _SIZES:
        return _SIZES[config.unit]
    return config.m * (1 + 2 * (config.criterion != "act") + 2 * (config.shift != "none"))


def _words(given: dict[str, Any]) -> list[str]:
    """All that decides the numbers, as the command line has it."""
    words = ["--patterns", pattern_list(given["patterns"])]
    if given["evaluation"] != BASELINE:
        words += ["--evaluation", given["evaluation"].name]
    return [*words, "--liberty", given["liberty"].name]


def _study_of(given: dict[str, Any]) -> Study:
    def report(*arguments: Any) -> MethodReport:
        return MethodReport(*arguments, methods=_methods(given))

    return Study("methods", report, _rows, _size, _words)


_STUDY = _study_of({})


def _parser() -> CommandParser:
    parser = parser_of(_STUDY, "Area and delay of the methods of sparsity, and their perplexity.")
    parser.add_argument(
        "--evaluation",
        type=Path,
        default=BASELINE,
        metavar="FILE",
        help="JSON file of python -m sw.evaluate (default: the committed one)",
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
