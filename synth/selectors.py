"""The benchmark of the selectors: every architecture, pattern, width of keys and pipeline.

`python -m synth.report selectors` measures the complete selector units, with valid/ready, in one
table; with ``--plot`` it draws area against time.
"""

import argparse
import io
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from tabulate import tabulate

from hw.choice import TABLE, Measured
from hw.cli import CommandParser, parse_patterns
from hw.config import SELECTORS, ConfigError, UnitConfig
from hw.files import write_files
from hw.progress import progress_bar
from synth.area import AreaResult, default_jobs, each
from synth.cli import UsageError, check_folder, library_of, positive, run
from synth.flow import FLOWS
from synth.liberty import Library
from synth.render import BaselineError, Key, Report
from synth.results import Results, TimeLimitError
from synth.timing import PROGRAM, method

__all__ = ["Row", "SelectorReport", "main", "plot"]

DEFAULT_PATTERNS = "2:4,4:8,8:16,16:32"
DEFAULT_FLOW = "timed"
#: Number formats by the width of their keys.
KEY_FORMATS = {8: "int8", 15: "bf16", 16: "int16"}
DEFAULT_PIPELINES = (0, 1, 2, 3, 4)
#: Numbers of register stages where there is not a choice of any.
_PIPELINES = {"threshold_serial": (0, 1)}
#: The width of keys that plots are of.
PLOTTED = 15

#: The committed report: what a new one is compared with.
BASELINE = Path(__file__).with_name("baselines") / "selectors.json"


@dataclass(frozen=True)
class Row:
    """One unit of the benchmark, with its result or with the reason why there is none."""

    config: UnitConfig
    result: AreaResult | None = None
    failure: str = ""

    @property
    def measured(self) -> Measured | None:
        """The row as `hw.choice` reads it; None without a delay."""
        if self.result is None or self.result.delay_ns is None:
            return None
        return Measured(
            selector=self.config.resolved_selector,
            n=self.config.n,
            m=self.config.m,
            key_width=self.config.key_width,
            pipeline=self.config.stages,
            interval=self.config.initiation_interval,
            area=round(self.result.area, 6),
            delay=self.result.delay_ns,
        )


class SelectorReport(Report):
    """The benchmark as JSON, as Markdown and as a table on the terminal.

    Parameters
    ----------
    rows
        The units, at least one with a result, all of one library and flow.
    library, command, baseline
        As of `synth.render.Report`.
    """

    _TITLE = "Selectors"

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
        rows, failures = [], []
        for row in self.rows:
            common = {
                "key_width": row.config.key_width,
                "latency_cycles": row.config.latency_cycles,
            }
            if row.result is None:
                parameters = row.config.parameters
                failures.append({"parameters": parameters, **common, "failure": row.failure})
                continue
            record = self._record(row.result)
            # Hundreds of rows, each with dozens of types.
            del record["cell_types"]
            rows.append({**record, **common, "area_delay": _area_delay(row.result)})
        return _json({"context": self.context, "rows": rows, "failures": failures})

    @property
    def table(self) -> str:
        """What `hw.choice` reads: the rows with a delay."""
        measured = [row.measured for row in self.rows]
        rows = [asdict(one) for one in measured if one is not None]
        return _json({"context": self.context, "rows": rows})

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
        headers = ["selector", "pattern", "key bits", "pipeline", "area um2", "delay ns"]
        headers += ["latency", "interval", "density", "area*delay"]
        align = ["left", "left"] + ["right"] * 8
        failures = any(row.failure for row in self.rows)
        if failures:
            headers.append("note")
            align.append("left")
        lines = []
        for row in self.rows:
            config = row.config
            # A pipe would end the cell.
            note = row.failure.replace("|", "\\|") if style == "github" else row.failure
            lines.append(
                [
                    config.resolved_selector,
                    f"{config.n}:{config.m}",
                    str(config.key_width),
                    str(config.stages),
                    *(self._numbers(row, row.result, style) if row.result else ["-"] * 6),
                    *([note] * failures),
                ]
            )
        return tabulate(lines, headers, tablefmt=style, disable_numparse=True, colalign=align)

    def _numbers(self, row: Row, result: AreaResult, style: str) -> list[str]:
        """The cells of a row that has a result."""
        costs, best = _costs(result), self._best[_function(row.config)]
        form = "**{}**" if style == "github" else "{}*"

        def shown(name: str, text: str) -> str:
            return form.format(text) if costs[name] == best[name] else text

        before = self._before(result)
        area = shown("area", f"{result.area:,.1f}") + self._change(result.area, before, "area")
        delay = density = product = "-"
        if result.delay_ns is not None:
            delay = shown("delay", f"{result.delay_ns:,.3f}") + self._delay_change(result, before)
            product = f"{_area_delay(result):,.0f}"
        if result.density:
            density = shown("density", f"{result.density / 1e9:,.2f}")
        interval = str(result.initiation_interval or "-")
        return [area, delay, str(row.config.latency_cycles), interval, density, product]

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


def _json(content: Mapping[str, Any]) -> str:
    """JSON with one line a row, so that changes of it can be read."""
    parts = []
    for name, value in content.items():
        text = json.dumps(value, indent=2, ensure_ascii=False)
        if isinstance(value, list):
            lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in value)
            text = f"[\n{lines}\n]" if value else "[]"
        parts.append(f"{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


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


def _list_of(choices: Iterable[str], example: str, what: str) -> Callable[[str], list[str]]:
    """The type of an argument with several of some words, each once."""
    known = list(choices)

    def convert(text: str) -> list[str]:
        words = text.split(",")
        if not set(words) <= set(known):
            raise argparse.ArgumentTypeError(
                f"must be a list such as {example} of {what}, not {text!r}"
            )
        return list(dict.fromkeys(words))

    return convert


def _numbers(text: str) -> list[int]:
    if not re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6})*", text):
        raise argparse.ArgumentTypeError(
            f"must be a list of whole numbers such as 0,1,2, not {text!r}"
        )
    return list(dict.fromkeys(map(int, text.split(","))))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m synth.report selectors",
        description="Area, delay and density of every architecture of the selector.",
        # Defaults are what the help says; some depend on other options.
        formatter_class=argparse.HelpFormatter,
    )
    add = parser.add_argument
    names = ", ".join(SELECTORS)
    add(
        "--selectors",
        type=_list_of(SELECTORS, SELECTORS[0], names),
        default=list(SELECTORS),
        metavar="NAME,...",
        help=f"architectures (default: all: {names})",
    )
    add(
        "--patterns",
        type=parse_patterns,
        default=parse_patterns(DEFAULT_PATTERNS),
        metavar="N:M,...",
        help=f"patterns (default: {DEFAULT_PATTERNS})",
    )
    widths = ", ".join(map(str, KEY_FORMATS))
    formats = ", ".join(KEY_FORMATS.values())
    add(
        "--key-widths",
        type=_list_of(map(str, KEY_FORMATS), "8,16", f"{widths} (the keys of {formats})"),
        default=list(map(str, KEY_FORMATS)),
        metavar="BITS,...",
        help=f"bits of a key: {widths}, those of {formats} (default: all)",
    )
    limits = ", ".join(
        f"{name} takes {' and '.join(map(str, stages))} only" for name, stages in _PIPELINES.items()
    )
    add(
        "--pipelines",
        type=_numbers,
        default=list(DEFAULT_PIPELINES),
        metavar="K,...",
        help=f"register stages (default: {','.join(map(str, DEFAULT_PIPELINES))}; {limits})",
    )
    add(
        "--liberty",
        type=Path,
        metavar="FILE",
        help="library with delays to map to, may be compressed with gzip; needed but for --plot",
    )
    add("--flow", choices=FLOWS, default=DEFAULT_FLOW, help="synthesis flow (default: %(default)s)")
    add(
        "--timeout",
        type=positive,
        default=900,
        metavar="SECONDS",
        help="how long one unit may take (default: %(default)s)",
    )
    add(
        "--jobs",
        type=positive,
        default=default_jobs(),
        metavar="J",
        help="units at a time (default: one a core, %(default)s)",
    )
    add(
        "--baseline",
        metavar="FILE",
        help="earlier report in JSON: mark what changed; none: mark nothing (default: the "
        "committed one, if it is of the same library and flow)",
    )
    add(
        "--update",
        action="store_true",
        help="also write the committed report and the table that --selector auto and --pipeline "
        "auto go by, with the rows of this run",
    )
    add(
        "--plot",
        type=Path,
        metavar="FOLDER",
        help=f"draw area against time there, one SVG a pattern, keys of {PLOTTED} bits; without "
        f"--liberty nothing is measured and {TABLE.name} is drawn",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("build/selectors"),
        metavar="FOLDER",
        help="folder for selectors.json and .md, and for results.jsonl, from which a run that "
        "was stopped goes on (default: %(default)s)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; the arguments are those of the command line if not given."""
    parser = _parser()
    run(parser, vars(parser.parse_args(arguments)), _benchmark)


def _benchmark(given: dict[str, Any]) -> int:
    """Do what the arguments ask for; the exit status."""
    folders = {"-o/--output": given["output"]}
    if given["plot"] is not None:
        if find_spec("matplotlib") is None:
            raise UsageError("argument --plot: must have matplotlib: pip install matplotlib")
        folders["--plot"] = given["plot"]
    if given["update"]:
        folders["--update"] = BASELINE.parent
    for option, folder in folders.items():
        check_folder(option, folder)
    if given["liberty"] is None:
        if given["plot"] is None:
            raise UsageError("argument --liberty: must be given: a library with delays")
        return _draw(given["plot"], _table_rows())

    configs = _configs(given)
    library = library_of(given["liberty"])
    if not library.has_delays:
        raise UsageError(
            f"argument --liberty: must be a library with delays, not {str(given['liberty'])!r}"
        )
    if given["update"] and method() is None:
        raise UsageError(
            f"argument --update: must be given with OpenSTA ({PROGRAM}) installed, whose delays "
            "hold the registers' own times"
        )
    baseline = _baseline(given["baseline"], library, given["flow"])

    rows = _measure(configs, library, given)
    failures = [row for row in rows if row.failure]
    if len(failures) == len(rows):
        for row in rows:
            print(f"{row.config.command}: {row.failure}", file=sys.stderr)
        return 1
    report = SelectorReport(rows, library, _command(given), baseline)
    print(report.text)
    text = {".json": report.json, ".md": report.markdown}
    paths = [given["output"] / f"selectors{ending}" for ending in text]
    contents = dict(zip(paths, text.values(), strict=True))
    if given["update"]:
        contents |= {BASELINE.with_suffix(ending): content for ending, content in text.items()}
        contents[TABLE] = report.table
    write_files(contents)
    print(f"wrote {' and '.join(map(str, contents))}")
    if given["plot"] is not None:
        _draw(given["plot"], [one for row in rows if (one := row.measured)])
    return 1 if failures else 0


def _configs(given: dict[str, Any]) -> list[UnitConfig]:
    """The units of the table, in its order."""
    configs = []
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
                        if error.parameter in ("n", "m"):
                            raise UsageError(f"argument --patterns: {error}") from error
                        rule = error.rule
                        raise UsageError(f"argument --{error.parameter}s: {rule}") from error
                    configs.append(config)
    if not configs:
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
    return configs


def _baseline(path: str | None, library: Library, flow: str) -> dict[Key, dict[str, Any]] | None:
    """What to compare with."""
    if path == "none":
        return None
    try:
        return Report.read_baseline(Path(path or BASELINE), library, flow)
    except (BaselineError, OSError) as error:
        if path is None:
            return None
        if isinstance(error, OSError):
            raise
        raise UsageError(f"argument --baseline: {error}") from error


def _measure(configs: Sequence[UnitConfig], library: Library, given: dict[str, Any]) -> list[Row]:
    """The rows of the table, from earlier runs or measured."""
    path = given["output"] / "results.jsonl"
    results = Results(path, library, given["flow"], given["timeout"])
    rows = {place: Row(config, results.known(config)) for place, config in enumerate(configs)}
    places = [place for place, row in rows.items() if row.result is None]
    left = [configs[place] for place in places]
    if len(left) < len(configs):
        print(f"{len(configs) - len(left)} of {len(configs)} units are in {path}", flush=True)
    finished = each(left, results.measure, size=_size, jobs=given["jobs"])
    bar = progress_bar(
        total=sum(map(_size, left)),
        desc="selectors",
        leave=False,
        # In units of work: the large ones take longer.
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
    )
    with bar, closing(finished):
        for count, (place, future) in enumerate(finished, 1):
            rows[places[place]] = _row(left[place], future)
            bar.set_postfix_str(f"{count} of {len(left)} units", refresh=False)
            bar.update(_size(left[place]))
    return list(rows.values())


def _row(config: UnitConfig, future: Future[AreaResult]) -> Row:
    """What became of one unit: an error of it must not cost the others their results."""
    error = future.exception()
    if error is None:
        return Row(config, future.result())
    if isinstance(error, TimeLimitError):
        return Row(config, failure=str(error))
    return Row(config, failure=" ".join(f"failed: {error or type(error).__name__}".split()))


def _size(config: UnitConfig) -> int:
    """How much work a unit is, about."""
    return config.m**2 * config.key_width


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


def _command(given: dict[str, Any]) -> str:
    """The command that makes the report again, with the names of files but not their folders."""
    words = ["python", "-m", "synth.report", "selectors"]
    words += ["--selectors", ",".join(given["selectors"])]
    words += ["--patterns", ",".join(f"{n}:{m}" for n, m in given["patterns"])]
    words += ["--key-widths", ",".join(given["key_widths"])]
    words += ["--pipelines", ",".join(map(str, given["pipelines"]))]
    words += ["--liberty", given["liberty"].name, "--flow", given["flow"]]
    return shlex.join(words)
