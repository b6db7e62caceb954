"""The report of the study of the methods: parts, and methods made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from hw.config import UnitConfig
from sw.evaluate import Evaluation
from sw.method import Method
from sw.perplexity import paired_difference, perplexity
from synth.area import AreaResult
from synth.liberty import Library
from synth.method_units import PIPELINES, MethodUnits, plain_pe, units_of
from synth.render import Key
from synth.study_report import Label, Row, StudyReport

__all__ = ["FLOW", "EvaluatedMethod", "MethodReport", "evaluated_methods"]

#: The units have registers, and their clocks count.
FLOW = "timed"

#: Parameters that tell a sparsifier from a plain one.
_TOLD = ("shift", "criterion", "scale_format", "score_bits", "residual")


@dataclass(frozen=True)
class EvaluatedMethod:
    """A method with what it does to the language model.

    Parameters
    ----------
    method
        The method.
    perplexity
        Of the model.
    won
        How much better each token is predicted than with the pattern alone, in nats.
    error
        Standard error of that; None where it is the pattern alone, or of a single window.
    """

    method: Method
    perplexity: float
    won: float
    error: float | None


def evaluated_methods(evaluation: Evaluation) -> list[EvaluatedMethod]:
    """The methods of an evaluation that have a pattern which it holds without options too."""
    result = []
    for one in evaluation.measured.values():
        plain = str(Method(pattern=one.method.pattern))
        if plain not in evaluation.measured:
            continue
        # By how much the pattern alone is worse.
        won, error = paired_difference(evaluation.measured[plain].windows, one.windows)
        result.append(
            EvaluatedMethod(
                one.method,
                perplexity(one.windows),
                won,
                None if str(one.method) == plain else error,
            )
        )
    return result


class MethodReport(StudyReport):
    """The study as JSON, as Markdown and as tables on the terminal.

    Parameters
    ----------
    rows, library, command, baseline
        As of `StudyReport`.
    methods
        What is made of the units.
    """

    _TITLE = "Methods of sparsity"

    def __init__(
        self,
        rows: Sequence[Row],
        library: Library,
        command: str,
        baseline: Mapping[Key, Mapping[str, Any]] | None = None,
        *,
        methods: Sequence[EvaluatedMethod],
    ) -> None:
        self.methods = methods
        super().__init__(rows, library, command, baseline)

    @property
    def _content(self) -> dict[str, Any]:
        content = super()._content
        methods = [
            {
                "method": str(evaluated.method),
                "units": [config.command for config in units.all],
                "outside": units.outside,
                "area": _rounded(self._area(units)),
                "delay_ns": _rounded(self._slowest(units)),
                "perplexity": _rounded(evaluated.perplexity),
                "won": _rounded(evaluated.won),
                "error": _rounded(evaluated.error),
            }
            for evaluated, units in self._methods
        ]
        return {**content, "methods": methods}

    def _more(self, row: Row) -> dict[str, Any]:
        sparsifier, pe = (self._share(row, base) for base in _bases(row.config))
        return {"of_sparsifier": _rounded(sparsifier), "of_pe": _rounded(pe)}

    @property
    def _methods(self) -> list[tuple[EvaluatedMethod, MethodUnits]]:
        return [(evaluated, units_of(evaluated.method)) for evaluated in self.methods]

    @property
    def _measured(self) -> dict[UnitConfig, AreaResult]:
        return {row.config: row.result for row in self.rows if row.result is not None}

    def _area(self, units: MethodUnits) -> float | None:
        """Sum of the areas of a method's units; None where one was not measured."""
        measured = self._measured
        if not measured.keys() >= set(units.all):
            return None
        return sum(measured[config].area for config in units.all)

    def _slowest(self, units: MethodUnits) -> float | None:
        """Delay of the slowest of a method's units; None where one has none."""
        measured = self._measured
        delays = [measured[config].delay_ns for config in units.all if config in measured]
        known = [delay for delay in delays if delay is not None]
        return max(known) if len(known) == len(units.all) else None

    def _share(self, row: Row, base: UnitConfig) -> float | None:
        """Area over that of another unit."""
        measured = self._measured
        if row.result is None or base not in measured:
            return None
        return row.result.area / measured[base].area

    @property
    def notes(self) -> list[str]:
        """What must be known to read the tables."""
        stages = ", ".join(f"{unit} {count}" for unit, count in PIPELINES.items())
        return [
            f"units with valid/ready; register stages: {stages}",
            "of sparsifier, of PE: area over that of the plain sparsifier and of the int8 PE of "
            "the same pattern; one epilogue, and one correction, serve many PEs",
            "area: of all units of a method, once each; more: over the plain sparsifier; delay: of "
            "the slowest unit",
            "not counted: the memory of the scales, and that of a token whose mean comes first",
            "won: nats a token that the model predicts better than with the pattern alone, paired "
            "by windows, and the standard error of that",
            *self._missing,
            *self._marks,
        ]

    def _table(self, style: str) -> str:
        title = "## {}" if style == "github" else "{}"
        tables = {
            f"Units, flow {FLOW}": self._unit_table(style),
            "Methods": self._method_table(style),
        }
        return "\n\n".join(f"{title.format(name)}\n\n{text}" for name, text in tables.items())

    def _unit_table(self, style: str) -> str:
        labels = [
            Label("unit", lambda row: row.config.unit),
            Label("pattern", lambda row: f"{row.config.n}:{row.config.m}"),
            Label("options", lambda row: _options(row.config)),
        ]

        def area(_: Row, result: AreaResult) -> str:
            return f"{result.area:,.0f}{self._change(result.area, self._before(result), 'area')}"

        def share(place: int) -> Callable[[Row, AreaResult], str]:
            return lambda row, _: _number(self._share(row, _bases(row.config)[place]), ".2f")

        numbers = {
            f"area {self.context['area_unit']}": area,
            "delay ns": lambda _, result: self._delay(result, self._before(result)),
            "interval": lambda _, result: str(result.initiation_interval or "-"),
            "of sparsifier": share(0),
            "of PE": share(1),
        }
        return self._rows_as(style, self.rows, labels, numbers)

    def _method_table(self, style: str) -> str:
        lines = []
        for evaluated, units in self._methods:
            plain = MethodUnits(_bases(units.sparsifier)[0], ())
            area, base = self._area(units), self._area(plain)
            more = None if area is None or base is None else area / base - 1
            lines.append(
                [
                    str(evaluated.method),
                    _options(units.sparsifier) or "-",
                    ", ".join(config.unit for config in units.others) or "-",
                    units.outside or "-",
                    _number(area, ",.0f"),
                    _number(more, "+.0%"),
                    _number(self._slowest(units), ".2f"),
                    f"{evaluated.perplexity:.2f}",
                    _number(evaluated.won, "+.3f"),
                    _number(evaluated.error, ".3f"),
                ]
            )
        headers = [
            "method", "sparsifier", "beside it", "outside",
            f"area {self.context['area_unit']}", "more", "delay ns", "perplexity", "won", "error",
        ]  # fmt: skip
        align = ["left"] * 4 + ["right"] * 6
        return tabulate(lines, headers, tablefmt=style, disable_numparse=True, colalign=align)


def _bases(config: UnitConfig) -> tuple[UnitConfig, UnitConfig]:
    """The plain sparsifier and the PE that a unit is held against."""
    n, m = config.n, config.m
    return units_of(Method(pattern=(n, m))).sparsifier, plain_pe(n, m)


def _options(config: UnitConfig) -> str:
    """What tells a sparsifier from a plain one, as on the command line."""
    parameters = config.parameters
    words = []
    for name in _TOLD:
        value = parameters.get(name, getattr(UnitConfig, name, None))
        if value == getattr(UnitConfig, name):
            continue
        words.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}"))
    return " ".join(words)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
