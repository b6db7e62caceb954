"""Synthesis flows: from Verilog and a Liberty file to a mapped netlist and its area.

Every flow has a name, and numbers are compared within one flow only.
"""

import importlib.util
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Event
from typing import Any

from synth.liberty import Library, unpack
from synth.netlist import LoopError, Netlist
from synth.process import SynthesisError, how_it_ended, log_lines, run

__all__ = [
    "AVOIDED",
    "DEFAULT_FLOW",
    "FLOWS",
    "Flow",
    "Synthesis",
    "SynthesisError",
    "synthesize",
]

#: A yosys command, word by word.
Command = Sequence[str]

#: What keeps a netlist in the small part of Verilog that other tools' readers know.
_SIMPLE = ("-noattr", "-noexpr", "-nohex", "-simple-lhs")

#: Names of the cells that the mappers made.
_MAPPED_NAME = "cell_%"
_MAPPED = re.compile(_MAPPED_NAME.replace("%", "[0-9]+$"))

_CHILD = Path(__file__).with_name("yosys.py")

#: Names of cells that no mapper should choose for their size or speed, in lower case: delay cells,
#: cells of switched supplies, probes, and flip-flops with an enable, whose heavy net the mapper
#: does not see.
AVOIDED = ("*dly*", "*lpflow*", "*probe*", "*edf*")


@dataclass(frozen=True)
class Flow:
    """A named way from the elaborated design to the mapped netlist.

    Parameters
    ----------
    name
        The name that every number carries.
    script
        Commands for abc; None: yosys's own, which depends on its version.
    prepare
        yosys commands between `synth` and the mapping.
    avoid
        Patterns of the names of cells that must not be used, in lower case; they hold for names in
        any case.
    needs_delays
        Whether the script needs a library with delays.
    """

    name: str
    script: str | None = None
    prepare: tuple[Command, ...] = ()
    avoid: tuple[str, ...] = ()
    needs_delays: bool = False

    @property
    def summary(self) -> str:
        """Its steps in one line."""
        prepare = [" ".join(command) for command in self.prepare]
        script = f"-script '{self.script}'" if self.script else "with yosys's own script"
        steps = ["synth -noabc -flatten", *prepare, "dfflibmap -liberty", f"abc -liberty {script}"]
        avoid = f"; both with -dont_use {', '.join(self.avoid)}" if self.avoid else ""
        return "; ".join(steps) + avoid

    def avoided(self, library: Library) -> list[str]:
        """Cells of a library that the flow must not use."""
        return [
            name
            for name in library.cells
            if any(fnmatchcase(name.lower(), pattern) for pattern in self.avoid)
        ]

    def commands(self, liberty: str, library: Library) -> list[Command]:
        """The yosys commands that map what `synth` made.

        Parameters
        ----------
        liberty
            File with the library, not compressed.
        library
            The library.
        """
        cells = ["-liberty", liberty]
        for name in self.avoided(library):
            cells += ["-dont_use", name]
        abc = ["abc", *cells]
        if self.script is not None:
            # It only prints the longest path, and breaks down where there are no delays.
            report = "; stime -p" if library.has_delays else ""
            abc += ["-script", f"+{self.script}{report}"]
        return [*self.prepare, ["dfflibmap", *cells], abc]


# yosys's own script but for a limit of SAT conflicts at a node in `&fraig`.  With its default, a
# million, it can take minutes and more to prove nodes equal that lie behind multipliers or rare
# events, and then removes a few in ten thousand.  On every design tried where the default ended
# within five seconds, both scripts gave the same area.
_BOUNDED_SCRIPT = (
    "strash; &get -n; &fraig -x -C 100; &put; scorr; dc2; dretime; strash; &get -n; &dch -f; &nf; "
    "&put"
)
_TIMED_SCRIPT = "strash; dch; map; topo; buffer -c -p -N 20; upsize; dnsize"

# The mapper does not see the load of a net that enables registers, so that it must be a net of
# gates before it.
_WITHOUT_ENABLES: tuple[Command, ...] = (("dffunmap", "-ce-only"), ("opt_clean",))

#: All flows by name.
FLOWS: dict[str, Flow] = {
    flow.name: flow
    for flow in (
        Flow("plain"),
        Flow("bounded", _BOUNDED_SCRIPT),
        Flow("timed", _TIMED_SCRIPT, _WITHOUT_ENABLES, AVOIDED, needs_delays=True),
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
    verilog
        The same as Verilog text.
    log
        What the synthesis tool printed.
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
    verilog: str = field(repr=False)
    log: tuple[str, ...] = field(repr=False)

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
        There is no such flow, or it needs delays that the library does not have.
    """
    if flow not in FLOWS:
        raise ValueError(f"flow must be one of {', '.join(FLOWS)}, not {flow!r}")
    steps = FLOWS[flow]
    if steps.needs_delays and not library.has_delays:
        raise ValueError(f"flow {flow} must be given a library with delays, not {library.name}")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="nmsparse-") as name:
        folder = Path(name)
        if isinstance(verilog, str):
            files = [folder / f"{top}.v"]
            files[0].write_text(verilog, encoding="utf-8")
        else:
            files = [verilog] if isinstance(verilog, Path) else list(verilog)
        # yosys writes a remark on gzip into its reports.
        liberty = str(unpack(library.path, folder))
        commands: list[Command] = [
            *(["read_verilog", *_dialect(path), str(path)] for path in files),
            ["hierarchy", "-check", "-top", top],
            ["synth", "-noabc", "-flatten", "-top", top],
            # Assertions, messages and the marks of flattened instances take no silicon.
            ["chformal", "-remove"],
            ["delete", "t:$print", "t:$scopeinfo"],
            ["opt_clean"],
            *steps.commands(liberty, library),
            ["opt_clean"],
            # Names that both netlists share.
            ["rename", "-enumerate", "-pattern", _MAPPED_NAME, "t:*"],
            ["tee", "-q", "-o", str(folder / "stat.json"), "stat", "-json", "-liberty", liberty],
            ["write_json", str(folder / "netlist.json")],
            ["write_verilog", *_SIMPLE, str(folder / "netlist.v")],
        ]
        log = _run(commands, folder, cancel)
        module = _load(folder / "netlist.json")["modules"].get(top)
        if module is None:
            raise SynthesisError(f"yosys ended without an error but its netlist has no {top}")
        netlist = Netlist(module, library)
        # Before the report is read: yosys leaves a module with nothing in it out of the report.
        _check_netlist(netlist, top)
        _check_avoided(netlist, top, steps)
        text = (folder / "netlist.v").read_text(encoding="utf-8")
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
        verilog=text,
        log=tuple(log),
    )


def _dialect(path: Path) -> list[str]:
    return ["-sv"] if path.suffix == ".sv" else []


def _run(commands: Sequence[Command], folder: Path, cancel: Event | None) -> list[str]:
    """Run yosys in a child process, and return its log; its temporary files stay in the folder."""
    if importlib.util.find_spec("pyosys") is None:
        raise SynthesisError("synthesis needs pyosys: pip install pyosys")
    script = folder / "script.json"
    script.write_text(json.dumps(commands), encoding="utf-8")
    log = folder / "yosys.log"
    status = run(
        # -P: the child must not find this package's modules before the installed ones.
        [sys.executable, "-P", _CHILD, script],
        log,
        # yosys keeps libraries that it has read in a temporary folder between runs; a run must not
        # depend on earlier ones.
        environment={"TMPDIR": str(folder)},
        cancel=cancel,
    )
    lines = log_lines(log)
    if status:
        raise SynthesisError(_reason(status, lines))
    # The mapper runs in a process of its own, which may end early.
    if _count(lines, "Running ABC script") != _count(lines, "ABC: + write_blif"):
        raise SynthesisError("yosys ended without an error but its mapper, abc, did not finish")
    return lines


def _count(lines: Sequence[str], text: str) -> int:
    return sum(line.startswith(text) for line in lines)


def _reason(status: int, lines: Sequence[str]) -> str:
    """One line about a failed run: the tool's own error, or else how it ended."""
    # yosys itself says of the mapper only that a file is missing.
    for line in lines:
        match = re.match(r"ABC: (?:\*\* cmd error: |Error: |(?=.*Assertion))(.*)", line)
        if match is not None:
            return f"yosys failed: abc: {match[1]}"
    errors = [line for line in lines if re.search(r"\bERROR: ", line)]
    if errors:
        return f"yosys failed: {errors[-1].replace('ERROR: ', '')}"
    return f"yosys {how_it_ended(status, lines)}"


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


def _check_avoided(netlist: Netlist, top: str, flow: Flow) -> None:
    """Raise an error if the mapper took cells that the flow forbids."""
    avoided = set(flow.avoided(netlist.library))
    # What the design itself instantiates has a name from there, and is its own business.
    found = {
        kind for name, kind in netlist.types.items() if kind in avoided and _MAPPED.match(name)
    }
    if found:
        raise SynthesisError(
            f"{top}: flow {flow.name} must not map to {', '.join(sorted(found))}, but did"
        )


def _tool(stat: dict[str, Any]) -> str:
    """Name and version, without how and where the tool was built."""
    match = re.match(r"Yosys [^\s,(]+", stat.get("creator", ""))
    return f"{match[0].lower()} (pyosys)" if match else "yosys (pyosys)"
