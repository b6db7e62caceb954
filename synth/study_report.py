"""The report of a study: its rows, with those that have no result, and what it adds to them."""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from hw.config import UnitConfig
from synth.area import AreaResult, Design
from synth.liberty import Library
from synth.render import Key, Report

__all__ = ["Label", "Row", "StudyReport", "json_lines"]


@dataclass(frozen=True)
class Row:
    """One unit in one flow, with its result or with the reason why there is none.

    Parameters
    ----------
    design
        The unit, or other Verilog, as text, that units are compared with.
    flow
        One of `synth.flow.FLOWS`.
    result
        What was measured.
    failure
        Why there is no result.
    """

    design: UnitConfig | Design
    flow: str
    result: AreaResult | None = None
    failure: str = ""

    @property
    def config(self) -> UnitConfig:
        """The unit.

        Raises
        ------
        TypeError
            It is other Verilog.
        """
        if not isinstance(self.design, UnitConfig):
            raise TypeError(f"{self.design.top} must be a unit to have a configuration")
        return self.design


@dataclass(frozen=True)
class Label:
    """A column that says what a row is about.

    Parameters
    ----------
    header
        Its name.
    text
        What it says of a row.
    align
        ``left`` or ``right``.
    """

    header: str
    text: Callable[[Row], str]
    align: str = "left"


class StudyReport(Report):
    """A study as JSON, as Markdown and as tables on the terminal.

    Parameters
    ----------
    rows
        The units, at least one with a result, all of one library.
    library, command, baseline
        As of `synth.render.Report`.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        library: Library,
        command: str,
        baseline: Mapping[Key, Mapping[str, Any]] | None = None,
    ) -> None:
        self.rows = rows
        super().__init__([row.result for row in rows if row.result], library, command, baseline)

    @property
    def json(self) -> str:
        """The report as JSON: `context`, `rows`, and `failures` with those without a result."""
        return json_lines(self._content)

    @property
    def _content(self) -> dict[str, Any]:
        rows, failures = [], []
        for row in self.rows:
            if row.result is None:
                what: dict[str, Any] = {"name": row.design.top, "flow": row.flow}
                if isinstance(row.design, UnitConfig):
                    what["parameters"] = row.design.parameters
                failures.append({**what, **self._more(row), "failure": row.failure})
                continue
            record = self._record(row.result)
            # Hundreds of rows, each with dozens of types.
            del record["cell_types"]
            rows.append({**record, **self._more(row)})
        return {"context": self.context, "rows": rows, "failures": failures}

    @property
    def committed(self) -> dict[Path, str]:
        """Further files that `--update` writes, with their text."""
        return {}

    @abstractmethod
    def _more(self, row: Row) -> dict[str, Any]:
        """What the study adds to a row of the JSON."""

    @property
    def _costs(self) -> dict[str, Callable[[Row, AreaResult], str]]:
        """Columns of what every row costs."""

        def area(_: Row, result: AreaResult) -> str:
            return f"{result.area:,.1f}{self._change(result.area, self._before(result), 'area')}"

        return {
            f"area {self.context['area_unit']}": area,
            "NAND2eq": lambda _, result: f"{result.nand2:,.1f}",
            "combinational": lambda _, result: f"{result.combinational:,.1f}",
            "sequential": lambda _, result: f"{result.sequential:,.1f}",
            "delay ns": lambda _, result: self._delay(result, self._before(result)),
        }

    def _rows_as(
        self,
        style: str,
        rows: Sequence[Row],
        labels: Sequence[Label],
        numbers: Mapping[str, Callable[[Row, AreaResult], str]],
    ) -> str:
        """A table of rows; those without a result have dashes and a note.

        Parameters
        ----------
        style
            Format of the table, as `tabulate` names it.
        rows
            The rows.
        labels
            The first columns.
        numbers
            Header of each further column, with its text for a row that has a result.
        """
        headers = [*(label.header for label in labels), *numbers]
        align = [*(label.align for label in labels), *["right"] * len(numbers)]
        failures = any(row.failure for row in rows)
        if failures:
            headers.append("note")
            align.append("left")
        lines = []
        for row in rows:
            result = row.result
            # A pipe would end the cell.
            note = row.failure.replace("|", "\\|") if style == "github" else row.failure
            lines.append(
                [
                    *(label.text(row) for label in labels),
                    *("-" if result is None else text(row, result) for text in numbers.values()),
                    *([note] * failures),
                ]
            )
        return tabulate(lines, headers, tablefmt=style, disable_numparse=True, colalign=align)


def json_lines(content: Mapping[str, Any]) -> str:
    """JSON with one line a row, so that changes of it can be read."""
    parts = []
    for name, value in content.items():
        text = json.dumps(value, indent=2, ensure_ascii=False)
        if isinstance(value, list):
            lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in value)
            text = f"[\n{lines}\n]" if value else "[]"
        parts.append(f"{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
