"""The benchmark of the selectors: every architecture, pattern, width of keys and pipeline.

`python -m synth.report selectors` measures the complete selector units, with valid/ready, in one
table; with ``--plot`` it draws area against time.
"""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from hw.choice import TABLE, Measured
from hw.cli import CommandParser
from hw.config import SELECTORS, ConfigError, UnitConfig, pattern_list
from hw.files import write_files
from synth.area import AreaResult, Design
from synth.cli import UsageError, check_folder, list_of, run, whole_numbers
from synth.flow import FLOWS
from synth.study import Study, add_options, conduct, parser_of, status, usage_error
from synth.study_report import Label, Row, StudyReport, json_lines

__all__ = ["SelectorReport", "main", "plot"]

DEFAULT_FLOW = "timed"
#: Number formats by the width of their keys.
KEY_FORMATS = {8: "int8", 15: "bf16", 16: "int16"}
DEFAULT_PIPELINES = (0, 1, 2, 3, 4)
#: Numbers of register stages where there is not a choice of any.
_PIPELINES = {"threshold_serial": (0, 1)}
#: The width of keys that plots are of.
PLOTTED = 15


class SelectorReport(StudyReport):
    """The benchmark as JSON, as Markdown and as a table on the terminal."""

    _TITLE = "Selectors"

    def _more(self, row: Row) -> dict[str, Any]:
        more: dict[str, Any] = {
            "key_width": row.config.key_width,
            "latency_cycles": row.config.latency_cycles,
        }
        if row.result is not None:
            more["area_delay"] = _area_delay(row.result)
        return more

    @property
    def committed(self) -> dict[Path, str]:
        """The table of `hw.choice`."""
        return {TABLE: self.table}

    @property
    def table(self) -> str:
        """What `hw.choice` reads: the rows with a delay."""
        rows = [asdict(one) for one in _measured(self.rows)]
        return json_lines({"context": self.context, "rows": rows})

    @property
    def notes(self) -> list[str]:
        """What must be known to read the table."""
        widths = sorted({(row.config.key_width, row.config.dtype) for row in self.rows})
        formats = ", ".join(f"{width} of {dtype}" for width, dtype in widths)
        return [
            f"selector units with valid/ready; key bits: {formats}; latency and interval in cycles",
            "area*delay in um2 ns; without a register there is no interval and no density",
            *self._missing,
            *self._measures,
        ]

    def _table(self, style: str) -> str:
        labels = [
            Label("selector", lambda row: row.config.resolved_selector),
            Label("pattern", lambda row: f"{row.config.n}:{row.config.m}"),
            Label("key bits", lambda row: str(row.config.key_width), "right"),
            Label("pipeline", lambda row: str(row.config.stages), "right"),
        ]
        form = "**{}**" if style == "github" else "{}*"

        def shown(row: Row, result: AreaResult, name: str, text: str) -> str:
            best = self._best[_function(row.config)]
            return form.format(text) if _costs(result)[name] == best[name] else text

        def area(row: Row, result: AreaResult) -> str:
            change = self._change(result.area, self._before(result), "area")
            return shown(row, result, "area", f"{result.area:,.1f}") + change

        def delay(row: Row, result: AreaResult) -> str:
            if result.delay_ns is None:
                return "-"
            change = self._delay_change(result, self._before(result))
            return shown(row, result, "delay", f"{result.delay_ns:,.3f}") + change

        def density(row: Row, result: AreaResult) -> str:
            if not result.density:
                return "-"
            return shown(row, result, "density", f"{result.density / 1e9:,.2f}")

        def area_delay(_: Row, result: AreaResult) -> str:
            return "-" if result.delay_ns is None else f"{_area_delay(result):,.0f}"

        numbers: dict[str, Callable[[Row, AreaResult], str]] = {
            "area um2": area,
            "delay ns": delay,
            "latency": lambda row, _: str(row.config.latency_cycles),
            "interval": lambda _, result: str(result.initiation_interval or "-"),
            "density": density,
            "area*delay": area_delay,
        }
        return self._rows_as(style, self.rows, labels, numbers)

    @cached_property
    def _best(self) -> dict[tuple[int, int, int], dict[str, float]]:
        """The least costs among the units of each function."""
        best: dict[tuple[int, int, int], dict[str, float]] = {}
        for row in self.rows:
            if row.result is not None:
                least = best.setdefault(_function(row.config), {})
                for name, cost in _costs(row.result).items():
                    least[name] = min(cost, least.get(name, cost))
        return best


def _function(config: UnitConfig) -> tuple[int, int, int]:
    """What units must have in common to be compared."""
    return config.n, config.m, config.key_width


def _costs(result: AreaResult) -> dict[str, float]:
    """What is best where it is least."""
    costs = {"area": result.area}
    if result.delay_ns is not None:
        costs["delay"] = result.delay_ns
    if result.density:
        costs["density"] = -result.density
    return costs


def _area_delay(result: AreaResult) -> float | None:
    return None if result.delay_ns is None else round(result.area * result.delay_ns, 6)


def _measured(rows: Iterable[Row]) -> list[Measured]:
    """The rows as `hw.choice` reads them; those without a delay are left out."""
    return [
        Measured(
            selector=row.config.resolved_selector,
            n=row.config.n,
            m=row.config.m,
            key_width=row.config.key_width,
            pipeline=row.config.stages,
            interval=row.config.initiation_interval,
            area=round(row.result.area, 6),
            delay=row.result.delay_ns,
        )
        for row in rows
        if row.result is not None and row.result.delay_ns is not None
    ]


def plot(rows: Iterable[Measured]) -> dict[str, bytes]:
    """Area against the time for a group, one drawing a pattern; the names of files with their SVG.

    Parameters
    ----------
    rows
        What was measured; only keys of `PLOTTED` bits are drawn.  Combinational units are hollow
        and not part of the Pareto front, since their time is no period of a clock.
    """
    # Only here: nothing else needs it.
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    drawings = {}
    chosen = sorted(
        (row for row in rows if row.key_width == PLOTTED), key=lambda row: (row.m, row.n)
    )
    # The same bytes every time: ids from a fixed salt, text as text.
    with mpl.rc_context({"svg.hashsalt": "nmsparse", "svg.fonttype": "none"}):
        for (m, n), group in groupby(chosen, key=lambda row: (row.m, row.n)):
            points = list(group)
            figure = Figure(figsize=(7, 5), layout="constrained")
            axes = figure.add_subplot()
            for place, selector in enumerate(SELECTORS):
                own = [row for row in points if row.selector == selector]
                for hollow in (False, True):
                    some = [row for row in own if _is_combinational(row) == hollow]
                    axes.scatter(
                        [_time(row) for row in some],
                        [row.area for row in some],
                        marker="osD^v"[place % 5],
                        facecolors="none" if hollow else f"C{place}",
                        edgecolors=f"C{place}",
                        # An architecture is named once.
                        label=selector if some and (not hollow or len(some) == len(own)) else None,
                        zorder=2,
                    )
                for row in own:
                    axes.annotate(
                        str(row.pipeline),
                        (_time(row), row.area),
                        xytext=(5, 3),
                        textcoords="offset points",
                        fontsize=8,
                    )
            front = _front([row for row in points if not _is_combinational(row)])
            axes.plot(
                [_time(row) for row in front],
                [row.area for row in front],
                color="0.6",
                linewidth=1,
                label="Pareto front",
                zorder=1,
            )
            axes.set(
                title=f"Selectors {n}:{m}, keys of {PLOTTED} bits (labels: pipeline)",
                xlabel="time for a group: clock period x interval (ns)",
                ylabel="area (um2)",
                xscale="log",
                yscale="log",
            )
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter("{x:,g}")
                axis.set_minor_formatter(NullFormatter())
            axes.grid(visible=True, which="both", color="0.92")
            axes.set_axisbelow(True)
            axes.legend()
            content = io.BytesIO()
            figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
            drawings[f"selectors_{n}_{m}.svg"] = content.getvalue()
    return drawings


def _is_combinational(row: Measured) -> bool:
    return row.pipeline == 0 and row.interval == 1


def _time(row: Measured) -> float:
    """Nanoseconds from one group to the next."""
    return row.delay * row.interval


def _front(rows: Iterable[Measured]) -> list[Measured]:
    """The rows of which no other is both smaller and faster, by time."""
    front: list[Measured] = []
    for row in sorted(rows, key=lambda row: (_time(row), row.area)):
        if not front or row.area < front[-1].area:
            front.append(row)
    return front


def _rows(given: dict[str, Any]) -> list[Row]:
    """The units of the table, in its order."""
    rows = []
    for n, m in given["patterns"]:
        for width in given["key_widths"]:
            for selector in given["selectors"]:
                for pipeline in given["pipelines"]:
                    if pipeline not in _PIPELINES.get(selector, given["pipelines"]):
                        continue
                    try:
                        config = UnitConfig(
                            n=n,
                            m=m,
                            unit="selector",
                            dtype=KEY_FORMATS[int(width)],
                            selector=selector,
                            pipeline=pipeline,
                        )
                    except ConfigError as error:
                        raise usage_error(error) from error
                    rows.append(Row(config, given["flow"]))
    if not rows:
        (selector,) = given["selectors"]
        allowed = " or ".join(map(str, _PIPELINES[selector]))
        raise UsageError(
            f"argument --pipelines: must hold {allowed} for {selector}, "
            f"not {','.join(map(str, given['pipelines']))!r}"
        )
    if given["plot"] is not None and str(PLOTTED) not in given["key_widths"]:
        raise UsageError(
            f"argument --plot: must go with a key width of {PLOTTED}, "
            f"not with {','.join(given['key_widths'])}"
        )
    return rows


def _size(design: UnitConfig | Design) -> int:
    """How much work a unit is, about."""
    return design.m**2 * design.key_width if isinstance(design, UnitConfig) else 0


def _words(given: dict[str, Any]) -> list[str]:
    """All that decides the numbers, as the command line has it."""
    words = ["--selectors", ",".join(given["selectors"])]
    words += ["--patterns", pattern_list(given["patterns"])]
    words += ["--key-widths", ",".join(given["key_widths"])]
    words += ["--pipelines", ",".join(map(str, given["pipelines"]))]
    return [*words, "--liberty", given["liberty"].name, "--flow", given["flow"]]


_STUDY = Study("selectors", SelectorReport, _rows, _size, _words)


def _parser() -> CommandParser:
    parser = parser_of(_STUDY, "Area, delay and density of every architecture of the selector.")
    add = parser.add_argument
    names = ", ".join(SELECTORS)
    add(
        "--selectors",
        type=list_of(SELECTORS, SELECTORS[0], names),
        default=list(SELECTORS),
        metavar="NAME,...",
        help=f"architectures (default: all: {names})",
    )
    widths = ", ".join(map(str, KEY_FORMATS))
    formats = ", ".join(KEY_FORMATS.values())
    add(
        "--key-widths",
        type=list_of(map(str, KEY_FORMATS), "8,16", f"{widths} (the keys of {formats})"),
        default=list(map(str, KEY_FORMATS)),
        metavar="BITS,...",
        help=f"bits of a key: {widths}, those of {formats} (default: all)",
    )
    limits = ", ".join(
        f"{name} takes {' and '.join(map(str, stages))} only" for name, stages in _PIPELINES.items()
    )
    add(
        "--pipelines",
        type=whole_numbers,
        default=list(DEFAULT_PIPELINES),
        metavar="K,...",
        help=f"register stages (default: {','.join(map(str, DEFAULT_PIPELINES))}; {limits})",
    )
    add("--flow", choices=FLOWS, default=DEFAULT_FLOW, help="synthesis flow (default: %(default)s)")
    add(
        "--plot",
        type=Path,
        metavar="FOLDER",
        help=f"draw area against time there, one SVG a pattern, keys of {PLOTTED} bits; without "
        f"--liberty nothing is measured and {TABLE.name} is drawn",
    )
    add_options(
        parser,
        _STUDY,
        needed="needed but for --plot",
        update=" and the table that --selector auto and --pipeline auto go by",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; the arguments are those of the command line if not given."""
    parser = _parser()
    run(parser, vars(parser.parse_args(arguments)), _benchmark)


def _benchmark(given: dict[str, Any]) -> int:
    """Do what the arguments ask for; the exit status."""
    folder = given["plot"]
    if folder is not None:
        if find_spec("matplotlib") is None:
            raise UsageError("argument --plot: must have matplotlib: pip install matplotlib")
        check_folder("--plot", folder)
        if given["liberty"] is None:
            return _draw(folder, _table_rows())
    rows = conduct(_STUDY, given)
    if folder is not None and any(row.result for row in rows):
        _draw(folder, _measured(rows))
    return status(rows)


def _table_rows() -> list[Measured]:
    """What was measured for `hw.choice`."""
    rows = [Measured(**row) for row in json.loads(TABLE.read_text(encoding="utf-8"))["rows"]]
    if not any(row.key_width == PLOTTED for row in rows):
        raise UsageError(
            f"argument --plot: must be given with --liberty, since {TABLE.name} has no keys of "
            f"{PLOTTED} bits"
        )
    return rows


def _draw(folder: Path, rows: Iterable[Measured]) -> int:
    drawings = {folder / name: content for name, content in plot(rows).items()}
    write_files(drawings)
    print(f"wrote {' and '.join(map(str, drawings))}")
    return 0
