"""Synthesis flows: from Verilog and a Liberty file to a mapped netlist and its area.

Every flow has a name, and numbers are compared within one flow only.
"""

import gzip
import importlib.util
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from synth.liberty import Library, is_compressed
from synth.netlist import LoopError, Netlist

__all__ = ["DEFAULT_FLOW", "FLOWS", "Flow", "Synthesis", "SynthesisError", "synthesize"]

#: A yosys command, word by word.
Command = Sequence[str]

#: How soon a cancelled run ends.
_POLL_SECONDS = 0.5

_CHILD = Path(__file__).with_name("yosys.py")


class SynthesisError(RuntimeError):
    """A design could not be synthesised, or its report cannot be trusted; the text is one line."""


@dataclass(frozen=True)
class Flow:
    """A named way from the elaborated design to the mapped netlist.

    Parameters
    ----------
    name
        The name that every number carries.
    summary
        Its steps in one line.
    mapping
        The yosys commands that map the gates and registers of `synth` to a Liberty file.
    """

    name: str
    summary: str
    mapping: Callable[[str], list[Command]]


def _plain(liberty: str) -> list[Command]:
    return [["dfflibmap", "-liberty", liberty], ["abc", "-liberty", liberty]]


# yosys's own script but for a limit of SAT conflicts at a node in `&fraig`.  With its default, a
# million, it can take minutes and more to prove nodes equal that lie behind multipliers or rare
# events, and then removes a few in ten thousand.  On every design tried where the default ended
# within five seconds, both scripts gave the same area.
_BOUNDED_SCRIPT = (
    "+strash;&get,-n;&fraig,-x,-C,100;&put;scorr;dc2;dretime;strash;&get,-n;&dch,-f;&nf;&put"
)


def _bounded(liberty: str) -> list[Command]:
    *first, abc = _plain(liberty)
    return [*first, [*abc, "-script", _BOUNDED_SCRIPT]]


#: All flows by name.
FLOWS: dict[str, Flow] = {
    flow.name: flow
    for flow in (
        Flow(
            "plain",
            "synth -noabc -flatten; dfflibmap -liberty; abc -liberty with yosys's own script",
            _plain,
        ),
        Flow(
            "bounded",
            "synth -noabc -flatten; dfflibmap -liberty; abc -liberty with yosys's own script but "
            "&fraig limited to 100 conflicts a node",
            _bounded,
        ),
    )
}

#: The flow that ends soon on every unit.
DEFAULT_FLOW = "bounded"


@dataclass(frozen=True)
class Synthesis:
    """What a flow made of a design.

    Parameters
    ----------
    top, flow, library
        The top module, the name of the flow, the library.
    tool
        Name and version of the synthesis tool.
    combinational, sequential
        Areas in the library's unit.
    longest_path
        Combinational cells on the longest path between ports and sequential cells.
    cells
        How many cells there are of each type.
    seconds
        Time it took.
    netlist
        The mapped netlist.
    """

    top: str
    flow: str
    library: Library
    tool: str
    combinational: float
    sequential: float
    longest_path: int
    cells: dict[str, int]
    seconds: float
    netlist: Netlist = field(repr=False)

    @property
    def area(self) -> float:
        """Area of all cells, in the library's unit."""
        return self.combinational + self.sequential


def synthesize(
    verilog: str | Path | Sequence[Path],
    top: str,
    library: Library,
    flow: str = DEFAULT_FLOW,
    *,
    cancel: Event | None = None,
) -> Synthesis:
    """Synthesise a design and check that the result can be trusted.

    Parameters
    ----------
    verilog
        Verilog text, or one or more files; a name that ends with `.sv` is SystemVerilog.
    top
        Name of the top module.
    library
        The library to map to, from `synth.liberty.read_liberty`.
    flow
        One of `FLOWS`.
    cancel
        Another thread may set it to end the run.

    Raises
    ------
    SynthesisError
        The tool failed or was cancelled, left no or an empty report, left cells that are not in
        the library, or met cells without an area.
    ValueError
        There is no such flow.
    """
    if flow not in FLOWS:
        raise ValueError(f"flow must be one of {', '.join(FLOWS)}, not {flow!r}")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="nmsparse-") as name:
        folder = Path(name)
        if isinstance(verilog, str):
            files = [folder / f"{top}.v"]
            files[0].write_text(verilog, encoding="utf-8")
        else:
            files = [verilog] if isinstance(verilog, Path) else list(verilog)
        liberty = str(_unpacked(library.path, folder))
        commands: list[Command] = [
            *(["read_verilog", *_dialect(path), str(path)] for path in files),
            ["hierarchy", "-check", "-top", top],
            ["synth", "-noabc", "-flatten", "-top", top],
            # Assertions, messages and the marks of flattened instances take no silicon.
            ["chformal", "-remove"],
            ["delete", "t:$print", "t:$scopeinfo"],
            ["opt_clean"],
            *FLOWS[flow].mapping(liberty),
            ["opt_clean"],
            ["tee", "-q", "-o", str(folder / "stat.json"), "stat", "-json", "-liberty", liberty],
            ["write_json", str(folder / "netlist.json")],
        ]
        _run(commands, folder, cancel)
        module = _load(folder / "netlist.json")["modules"].get(top)
        if module is None:
            raise SynthesisError(f"yosys ended without an error but its netlist has no {top}")
        netlist = Netlist(module, library)
        # Before the report is read: yosys leaves a module with nothing in it out of the report.
        _check_netlist(netlist, top)
        stat = _load(folder / "stat.json")
    area = stat["design"]["area"] if netlist.counts else 0.0
    # stat prints six decimals.
    if not math.isclose(area, netlist.area(), rel_tol=1e-6, abs_tol=1e-5):
        raise SynthesisError(
            f"{top}: yosys reports an area of {area:g}, but its netlist adds up to "
            f"{netlist.area():g}"
        )
    try:
        longest_path = netlist.longest_path()
    except LoopError as error:
        raise SynthesisError(f"{top}: {error}") from error
    return Synthesis(
        top=top,
        flow=flow,
        library=library,
        tool=_tool(stat),
        combinational=netlist.area(sequential=False),
        sequential=netlist.area(sequential=True),
        longest_path=longest_path,
        cells=dict(sorted(netlist.counts.items())),
        seconds=time.perf_counter() - start,
        netlist=netlist,
    )


def _unpacked(path: Path, folder: Path) -> Path:
    """The Liberty file itself, or a plain copy: yosys writes a remark on gzip into its reports."""
    if not is_compressed(path):
        return path
    plain = folder / "library.lib"
    with gzip.open(path) as compressed, plain.open("wb") as output:
        shutil.copyfileobj(compressed, output)
    return plain


def _dialect(path: Path) -> list[str]:
    return ["-sv"] if path.suffix == ".sv" else []


def _wait(process: subprocess.Popen[bytes], cancel: Event | None) -> int:
    """The exit status of a process, unless the caller loses interest in it."""
    while True:
        try:
            return process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if cancel is not None and cancel.is_set():
                raise SynthesisError("the synthesis was cancelled") from None


def _run(commands: Sequence[Command], folder: Path, cancel: Event | None) -> None:
    """Run yosys in a child process; its log and temporary files stay in the folder."""
    if importlib.util.find_spec("pyosys") is None:
        raise SynthesisError("synthesis needs pyosys: pip install pyosys")
    script = folder / "script.json"
    script.write_text(json.dumps(commands), encoding="utf-8")
    log = folder / "yosys.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            # -P: the child must not find this package's modules before the installed ones.
            [sys.executable, "-P", str(_CHILD), str(script)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # yosys keeps libraries that it has read in a temporary folder between runs; a run
            # must not depend on earlier ones.
            env={**os.environ, "TMPDIR": str(folder)},
            # A group of its own, so that abc ends with it.
            start_new_session=True,
        ) as process,
    ):
        try:
            status = _wait(process, cancel)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if status:
        raise SynthesisError(_reason(status, log, folder))


def _reason(status: int, log: Path, folder: Path) -> str:
    """One line about a failed run: yosys's own error, or else how it ended."""
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines()]
    lines = [line.replace(f"{folder}{os.sep}", "") for line in lines if line]
    errors = [line for line in lines if re.search(r"\bERROR: ", line)]
    if errors:
        return f"yosys failed: {errors[-1].replace('ERROR: ', '')}"
    if status < 0:
        how = f"was killed by signal {-status} ({signal.strsignal(-status)})"
    else:
        how = f"ended with status {status}"
    return f"yosys {how}; the last line of its log: {lines[-1] if lines else '(none)'}"


def _load(path: Path) -> dict[str, Any]:
    """A report of yosys, which must be there and hold a module."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SynthesisError(f"yosys ended without an error but left no {path.name}") from None
    except ValueError:
        raise SynthesisError(
            f"yosys ended without an error but its {path.name} is broken"
        ) from None
    if not isinstance(content, dict) or not content.get("modules"):
        raise SynthesisError(f"yosys ended without an error but its {path.name} is empty")
    return content


def _check_netlist(netlist: Netlist, top: str) -> None:
    """Raise an error about whatever would make the area wrong."""
    name = netlist.library.name
    if netlist.unmapped:
        raise SynthesisError(
            f"{top}: every cell must be one of library {name}, not {', '.join(netlist.unmapped)}"
        )
    if netlist.without_area:
        raise SynthesisError(
            f"{top}: every cell must have an area in library {name}, not only some: "
            f"{', '.join(netlist.without_area)} have none"
        )
    if not netlist.has_outputs:
        raise SynthesisError(f"{top}: a design must have an output; without, nothing of it is left")
    if netlist.undriven:
        raise SynthesisError(
            f"{top}: every output must be driven, but {', '.join(netlist.undriven)} is not"
        )
    # No cells at all is a right result, once all outputs are driven: they are inputs or constants.
    if netlist.counts and not netlist.area() > 0:
        raise SynthesisError(f"{top}: area must be more than 0, not {netlist.area():g}")


def _tool(stat: dict[str, Any]) -> str:
    """Name and version, without how and where the tool was built."""
    match = re.match(r"Yosys [^\s,(]+", stat.get("creator", ""))
    return f"{match[0].lower()} (pyosys)" if match else "yosys (pyosys)"
