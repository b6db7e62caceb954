"""What the studies share: many units, each measured once, in one report that can be committed.

A study is a command `python -m synth.report <name>`.  It lists units; here they are measured
several at a time, an interrupted run goes on where it was, a unit that fails costs the others
nothing, and the report is compared with the one in the repository or takes its place.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hw.cli import CommandParser, parse_patterns
from hw.config import ConfigError, UnitConfig
from hw.files import write_files
from hw.progress import progress_bar
from synth.area import AreaResult, Design, default_jobs, each
from synth.cli import UsageError, check_folder, library_of, positive
from synth.liberty import Library
from synth.render import BaselineError, Key, Report
from synth.results import Results, TimeLimitError
from synth.study_report import Row, StudyReport
from synth.timing import PROGRAM, method

__all__ = [
    "BASELINES",
    "DEFAULT_PATTERNS",
    "Study",
    "add_options",
    "conduct",
    "parser_of",
    "status",
    "usage_error",
]

#: The folder of the committed reports: what new ones are compared with.
BASELINES = Path(__file__).with_name("baselines")

DEFAULT_PATTERNS = "2:4,4:8,8:16,16:32"


@dataclass(frozen=True)
class Study:
    """What makes a study.

    Parameters
    ----------
    name
        First word of its command, and the name of its files.
    report
        Makes its report, with the arguments of `StudyReport`.
    rows
        From the arguments, the rows to be measured, in the order of the report.
    size
        How much work a unit is, about.
    words
        From the arguments, all that decides the numbers as the command line has it, with the names
        of files but not their folders.
    """

    name: str
    report: Callable[..., StudyReport]
    rows: Callable[[dict[str, Any]], list[Row]]
    size: Callable[[UnitConfig | Design], int]
    words: Callable[[dict[str, Any]], list[str]]

    @property
    def baseline(self) -> Path:
        """The committed report."""
        return BASELINES / f"{self.name}.json"


def parser_of(study: Study, description: str) -> CommandParser:
    """The parser of a study's command, without options."""
    return CommandParser(
        prog=f"python -m synth.report {study.name}",
        description=description,
        # Defaults are what the help says; some depend on other options.
        formatter_class=argparse.HelpFormatter,
    )


def add_options(parser: CommandParser, study: Study, *, needed: str, update: str) -> None:
    """Add the options that all studies have.

    Parameters
    ----------
    parser
        The parser.
    study
        The study.
    needed
        When a library is needed.
    update
        What `--update` does beside the committed report.
    """
    add = parser.add_argument
    add(
        "--patterns",
        type=parse_patterns,
        default=parse_patterns(DEFAULT_PATTERNS),
        metavar="N:M,...",
        help=f"patterns (default: {DEFAULT_PATTERNS})",
    )
    add(
        "--liberty",
        type=Path,
        metavar="FILE",
        help=f"library with delays to map to, may be compressed with gzip; {needed}",
    )
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
        help=f"also write the committed report{update}, with the rows of this run",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("build") / study.name,
        metavar="FOLDER",
        help=f"folder for {study.name}.json and .md, and for results.jsonl, from which a run that "
        "was stopped goes on (default: %(default)s)",
    )


def conduct(study: Study, given: dict[str, Any]) -> list[Row]:
    """Measure a study's rows, print and write its report; the rows.

    Parameters
    ----------
    study
        The study.
    given
        What its parser made of the arguments.

    Raises
    ------
    UsageError
        Arguments do not fit together; nothing was measured then.
    """
    check_folder("-o/--output", given["output"])
    if given["update"]:
        check_folder("--update", study.baseline.parent)
    if given["liberty"] is None:
        raise UsageError("argument --liberty: must be given: a library with delays")
    rows = study.rows(given)
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
    baseline = _baseline(study, rows, library, given["baseline"])

    rows = _measure(study, rows, library, given)
    if not any(row.result for row in rows):
        for row in rows:
            print(f"{_what(row)}: {row.failure}", file=sys.stderr)
        return rows
    # The command that makes the report again.
    command = shlex.join(["python", "-m", "synth.report", study.name, *study.words(given)])
    report = study.report(rows, library, command, baseline)
    print(report.text)
    text = {".json": report.json, ".md": report.markdown}
    contents = {given["output"] / f"{study.name}{ending}": text[ending] for ending in text}
    if given["update"]:
        contents |= {study.baseline.with_suffix(ending): text[ending] for ending in text}
        contents |= report.committed
    write_files(contents)
    print(f"wrote {' and '.join(map(str, contents))}")
    return rows


def _what(row: Row) -> str:
    """The command that makes a unit; the name of other Verilog."""
    return row.design.command if isinstance(row.design, UnitConfig) else row.design.top


def status(rows: Sequence[Row]) -> int:
    """Exit status of a study that measured the rows."""
    return 1 if any(row.failure for row in rows) else 0


def usage_error(error: ConfigError) -> UsageError:
    """The same error in terms of a study's options, which are lists."""
    if error.parameter in ("n", "m"):
        return UsageError(f"argument --patterns: {error}")
    return UsageError(f"argument --{error.parameter}s: {error.rule}")


def _flows(rows: Sequence[Row]) -> list[str]:
    """The flows of the rows, each once."""
    return list(dict.fromkeys(row.flow for row in rows))


def _baseline(
    study: Study, rows: Sequence[Row], library: Library, path: str | None
) -> dict[Key, dict[str, Any]] | None:
    """What to compare with."""
    if path == "none":
        return None
    try:
        return Report.read_baseline(Path(path or study.baseline), library, ",".join(_flows(rows)))
    except (BaselineError, OSError) as error:
        if path is None:
            return None
        if isinstance(error, OSError):
            raise
        raise UsageError(f"argument --baseline: {error}") from error


def _measure(
    study: Study, wanted: Sequence[Row], library: Library, given: dict[str, Any]
) -> list[Row]:
    """The rows with what earlier runs or this one measured."""
    path = given["output"] / "results.jsonl"
    results = Results(path, library, _flows(wanted), given["timeout"])
    rows = [replace(row, result=results.known(row.design, row.flow)) for row in wanted]
    places = [place for place, row in enumerate(rows) if row.result is None]
    left = [rows[place] for place in places]
    if len(left) < len(rows):
        print(f"{len(rows) - len(left)} of {len(rows)} units are in {path}", flush=True)
    finished = each(
        left,
        lambda row, cancel: results.measure(row.design, row.flow, cancel),
        size=lambda row: study.size(row.design),
        jobs=given["jobs"],
    )
    bar = progress_bar(
        total=sum(study.size(row.design) for row in left),
        desc=study.name,
        leave=False,
        # In units of work: the large ones take longer.
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
    )
    with bar, closing(finished):
        for count, (place, future) in enumerate(finished, 1):
            rows[places[place]] = _row(left[place], future)
            bar.set_postfix_str(f"{count} of {len(left)} units", refresh=False)
            bar.update(study.size(left[place].design))
    return rows


def _row(row: Row, future: Future[AreaResult]) -> Row:
    """What became of one unit: an error of it must not cost the others their results."""
    error = future.exception()
    if error is None:
        return replace(row, result=future.result())
    if isinstance(error, TimeLimitError):
        return replace(row, failure=str(error))
    return replace(row, failure=" ".join(f"failed: {error or type(error).__name__}".split()))
