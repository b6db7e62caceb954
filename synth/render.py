"""Area reports as JSON, as Markdown and as a table on the terminal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate

from hw.version import VERSION
from synth.area import AreaResult
from synth.flow import FLOWS
from synth.liberty import Library

__all__ = ["BaselineError", "Report"]

#: Columns that say what a row is about, with the parameter that each shows.
_PARAMETERS = ("unit", "pattern", "dtype", "metadata", "pipeline")

#: Key of a row in a baseline: its name, its parameters and its flow.
Key = tuple[str, str, str]


class BaselineError(ValueError):
    """A file is no report that this one could be compared with."""


class Report:
    """Areas of several designs, and all that is needed to make them again.

    Parameters
    ----------
    results
        The areas, at least one, all of one library and set of tools.
    library
        That library.
    command
        The command that makes the report.
    baseline
        An earlier report, from `read_baseline`: changes against it are marked.
    """

    _TITLE = "Area"

    def __init__(
        self,
        results: Sequence[AreaResult],
        library: Library,
        command: str,
        baseline: Mapping[Key, Mapping[str, Any]] | None = None,
    ) -> None:
        self.results = results
        self.baseline = baseline
        first = results[0]
        #: The flows, in the order of `FLOWS`: a report may be of several.
        self.flows = [flow for flow in FLOWS if any(flow == result.flow for result in results)]
        #: What every number of the report depends on.
        self.context: dict[str, Any] = {
            "project": f"nmsparse {VERSION}",
            "tool": first.tool,
            "library": first.library,
            # Not its folder: a report holds nothing of the machine.
            "library_file": library.path.name,
            "area_unit": first.area_unit,
            "nand2_cell": library.nand2.name,
            "nand2_area": library.nand2_area,
            "flow": ",".join(self.flows),
            "flow_steps": "\n".join(self._steps),
            "timing": self._timed.timing,
            "command": command,
        }

    @property
    def _steps(self) -> list[str]:
        """What is done in each flow; with its name where there are several."""
        if len(self.flows) == 1:
            return [FLOWS[self.flows[0]].summary]
        return [f"{flow}: {FLOWS[flow].summary}" for flow in self.flows]

    @property
    def _timed(self) -> AreaResult:
        """A result that says how there are delays, if any does: not every flow must have them."""
        return next((result for result in self.results if result.timing), self.results[0])

    @property
    def json(self) -> str:
        """The report as JSON: `context`, and `rows` with one record a design."""
        content = {"context": self.context, "rows": list(map(self._record, self.results))}
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def _record(self, result: AreaResult) -> dict[str, Any]:
        """One row of the JSON."""
        record = asdict(result)
        record["seconds"] = round(result.seconds, 2)
        for key in ("area", "combinational", "sequential", "nand2"):
            record[key] = round(record[key], 6)
        record["density"] = result.density
        # The same for all rows, or in a file of its own.
        for key in ("library", "tool", "area_unit", "timing", "is_estimate", "netlist"):
            del record[key]
        if len(self.flows) == 1:
            del record["flow"]
        return record

    @property
    def header(self) -> list[str]:
        """What the numbers depend on, line by line."""
        context = self.context
        gate = f"; one NAND2eq is {context['nand2_cell']}, {context['nand2_area']:g}"
        if context["area_unit"] == "NAND2eq":
            gate = ""
        return [
            f"tool: {context['tool']}, {context['project']}",
            f"library: {context['library']} ({context['library_file']}), areas in "
            f"{context['area_unit']}{gate}",
            *(f"flow: {flow} ({FLOWS[flow].summary})" for flow in self.flows),
            f"delay: {self._timing}",
            f"command: {context['command']}",
        ]

    @property
    def _timing(self) -> str:
        """What the delays are."""
        timed = self._timed
        if timed.timing is None:
            return f"none, {timed.timing_note}"
        if timed.is_estimate:
            return (
                f"{timed.timing}, as OpenSTA is not installed: gates only, without the registers' "
                "own times"
            )
        return f"{timed.timing}, inputs at 0, outputs without load"

    @property
    def notes(self) -> list[str]:
        """What must be known to read the table."""
        first = self.results[0]
        notes = [
            "path: combinational cells on the longest path between ports and sequential cells; "
            "no delay",
            *self._missing,
        ]
        if len(self.results) == 1 and first.delay_ns is not None:
            notes.append(f"delay: from {first.path_start} to {first.path_end}")
        return notes + self._measures

    @property
    def _missing(self) -> list[str]:
        """What there is not."""
        notes = self._empty
        for result in self.results:
            # Without any timing the head says why, and without cells there is no path.
            if result.timing is not None and result.delay_ns is None and result.cells:
                notes.append(f"{result.name} has no delay: {result.timing_note}")
        return notes

    @property
    def _empty(self) -> list[str]:
        """Which designs have no cells."""
        return [result.note for result in self.results if result.note]

    @property
    def _measures(self) -> list[str]:
        """What density is, and the marks of changes."""
        density = "density: 10^9 groups per second and mm2, 1 / (area * delay * interval)"
        return [density] * any(result.density for result in self.results) + self._marks

    @property
    def _marks(self) -> list[str]:
        """The marks of changes."""
        notes = []
        if self.baseline is not None:
            notes.append("▲ ▼: more or less than in the baseline")
            befores = [(result, self._before(result)) for result in self.results]
            if any(
                result.delay_ns is not None and before and not _comparable(result, before)
                for result, before in befores
            ):
                notes.append("delays of the baseline are of another tool, or there are none")
        return notes

    @property
    def text(self) -> str:
        """The report for the terminal."""
        return "\n".join([*self.header, "", self._table("simple"), "", *self.notes]) + "\n"

    @property
    def markdown(self) -> str:
        """The report as a page of Markdown."""
        *header, command = self.header
        name, _, words = command.partition(": ")
        lines = [
            f"# {self._TITLE}",
            "",
            *(f"- {line}" for line in header),
            f"- {name}: `{words}`",
            "",
            self._table("github"),
            "",
            *(f"- {note}" for note in self.notes),
        ]
        return "\n".join(lines) + "\n"

    def _table(self, style: str) -> str:
        units = any(result.parameters for result in self.results)
        unit = self.context["area_unit"]
        labels = list(_PARAMETERS) if units else ["top"]
        # The generic library's own unit is the NAND2 equivalent.
        equivalents = unit != "NAND2eq"
        numbers = [f"area {unit}", *(["NAND2eq"] if equivalents else []), "combinational"]
        numbers += ["sequential"]
        delays = any(result.delay_ns is not None for result in self.results)
        densities = any(result.density for result in self.results)
        numbers += ["delay ns"] * delays + ["density"] * densities + ["path", "cells", "seconds"]
        rows = []
        for result in self.results:
            before = self._before(result)
            rows.append(
                [
                    *self._labels(result, units),
                    f"{result.area:,.1f}{self._change(result.area, before, 'area')}",
                    *([f"{result.nand2:,.1f}"] if equivalents else []),
                    f"{result.combinational:,.1f}",
                    f"{result.sequential:,.1f}",
                    *([self._delay(result, before)] if delays else []),
                    *([f"{result.density / 1e9:,.2f}" if result.density else "-"] * densities),
                    f"{result.longest_path}"
                    f"{self._change(result.longest_path, before, 'longest_path')}",
                    f"{result.cells:,}",
                    f"{result.seconds:.1f}",
                ]
            )
        align = ["left"] * len(labels) + ["right"] * len(numbers)
        return tabulate(
            rows, labels + numbers, tablefmt=style, disable_numparse=True, colalign=align
        )

    @staticmethod
    def _labels(result: AreaResult, units: bool) -> list[str]:
        if not units:
            return [result.name]
        values = {**result.parameters, "pattern": result.pattern}
        # A unit without the parameter has no value in its column.
        return [str(values.get(name, "-")) for name in _PARAMETERS]

    def _delay(self, result: AreaResult, before: Mapping[str, Any] | None) -> str:
        if result.delay_ns is None:
            return "-"
        return f"{result.delay_ns:,.3f}{self._delay_change(result, before)}"

    def _delay_change(self, result: AreaResult, before: Mapping[str, Any] | None) -> str:
        """The mark of a change of the delay, if there is one."""
        if result.delay_ns is None or (before is not None and not _comparable(result, before)):
            return ""
        return self._change(result.delay_ns, before, "delay_ns")

    def _before(self, result: AreaResult) -> Mapping[str, Any] | None:
        return (self.baseline or {}).get(_key(result.name, result.parameters, result.flow))

    def _change(self, value: float, before: Mapping[str, Any] | None, field: str) -> str:
        """The mark of a change against the baseline."""
        if self.baseline is None:
            return ""
        if before is None:
            return " (new)"
        old = before[field]
        # The JSON holds six decimals.
        if abs(value - old) < 1e-5:
            return ""
        percent = f" {100 * (value / old - 1):+.1f} %" if old else ""
        return f" {'▲' if value > old else '▼'}{percent}"

    @staticmethod
    def read_baseline(path: Path, library: Library, flow: str) -> dict[Key, dict[str, Any]]:
        """Rows of an earlier report of the same flow, or of the same ones, parted by commas.

        Raises
        ------
        BaselineError
            It is no report, or one of another library or flow.
        OSError
            It cannot be read.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            context, rows = content["context"], content["rows"]
            made = (str(context["library"]), str(context["flow"]))
            baseline = {
                _key(row["name"], row["parameters"], row.get("flow", made[1])): {
                    **{field: float(row[field]) for field in ("area", "longest_path")},
                    # A report may be without delays.
                    "delay_ns": row.get("delay_ns"),
                    "timing": context.get("timing"),
                }
                for row in rows
            }
        except (ValueError, KeyError, TypeError):
            raise BaselineError(
                f"must be an area report in JSON, as this command writes it, not {str(path)!r}"
            ) from None
        if made != (library.name, flow):
            raise BaselineError(
                f"must be of library {library.name} and flow {flow}, "
                f"not of {made[0]} and {made[1]} as {str(path)!r} is"
            )
        return baseline


def _key(name: str, parameters: Mapping[str, Any], flow: str) -> Key:
    return name, json.dumps(parameters, sort_keys=True), flow


def _comparable(result: AreaResult, before: Mapping[str, Any]) -> bool:
    """Whether the delay of a baseline is one of the same tool."""
    return before["delay_ns"] is not None and before["timing"] == result.timing
