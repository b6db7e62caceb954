"""The area and delay of units and of any other Verilog."""

import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar

from hw.config import UnitConfig
from synth.flow import DEFAULT_FLOW, synthesize
from synth.liberty import GENERIC, Library, read_liberty
from synth.timing import analyze

__all__ = ["AreaResult", "Design", "area", "areas", "default_jobs", "each"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# Amaranth's elaboration keeps state of the whole process, so one thread at a time may emit.
_EMIT = Lock()


@dataclass(frozen=True)
class Design:
    """A design as Verilog.

    Parameters
    ----------
    verilog
        Verilog text, or one or more files; a name that ends with `.sv` is SystemVerilog.
    top
        Name of the top module.
    config
        The configuration that it was made from; None if it is not one of the project's units.
    """

    verilog: str | Path | Sequence[Path]
    top: str
    config: UnitConfig | None = None


@dataclass(frozen=True)
class AreaResult:
    """What one design costs.

    Parameters
    ----------
    name
        Name of the top module.
    parameters
        What shapes the unit, as `UnitConfig.parameters`; empty for other Verilog.
    area, combinational, sequential
        In the library's unit: all, and the two parts of it.
    area_unit
        That unit.
    nand2
        The area in NAND2 equivalents: divided by that of the library's two-input NAND of drive 1.
    longest_path
        Combinational cells on the longest path between ports and sequential cells.
    cells
        Number of cells.
    cell_types
        How many there are of each type.
    library, flow, tool
        What the number depends on.
    seconds
        Time that synthesis and timing took.
    delay_ns
        The shortest clock period, or without a register the time from the inputs to the last
        output, in nanoseconds; None if there is none.
    path_start, path_end
        Ends of the longest path: inputs, outputs, or names of registers.
    timing
        What gave the delay, with its version.
    timing_note
        Why there is no delay.
    is_estimate
        Whether the delay is the mapper's own estimate, which leaves registers out.
    initiation_interval
        Cycles from one group to the next; None if it is no unit or has no register.
    netlist
        The mapped netlist as Verilog, if it was asked for.
    """

    name: str
    parameters: dict[str, Any]
    area: float
    combinational: float
    sequential: float
    area_unit: str
    nand2: float
    longest_path: int
    cells: int
    cell_types: dict[str, int]
    library: str
    flow: str
    tool: str
    seconds: float
    delay_ns: float | None = None
    path_start: str | None = None
    path_end: str | None = None
    timing: str | None = None
    timing_note: str | None = None
    is_estimate: bool = False
    initiation_interval: int | None = None
    netlist: str | None = field(default=None, repr=False)

    def of(self, config: UnitConfig) -> "AreaResult":
        """The same numbers as those of a unit."""
        # Without a register there are no cycles.
        interval = config.initiation_interval if self.sequential else None
        return replace(self, parameters=dict(config.parameters), initiation_interval=interval)

    @property
    def density(self) -> float | None:
        """Groups per second and square millimetre: 1 / (area * delay * initiation interval).

        None without an initiation interval, and where the delay is no clock period or the area no
        square micrometres.
        """
        if not self.initiation_interval or self.area_unit != "um2" or self.is_estimate:
            return None
        if not self.area or not self.delay_ns:
            return None
        return 1e15 / (self.area * self.delay_ns * self.initiation_interval)

    @property
    def pattern(self) -> str | None:
        """The pattern N:M of a unit."""
        return f"{self.parameters['n']}:{self.parameters['m']}" if self.parameters else None

    @property
    def note(self) -> str | None:
        """What must be known to read the number."""
        if not self.cells:
            return f"{self.name} has no cells: its outputs are inputs or constants"
        return None


def area(
    design: UnitConfig | Design,
    *,
    library: Library | None = None,
    flow: str = DEFAULT_FLOW,
    netlist: bool = False,
    cancel: Event | None = None,
) -> AreaResult:
    """Area and delay of a unit or of any Verilog.

    Parameters
    ----------
    design
        The configuration of a unit, or a `Design`.
    library
        What to map to, from `synth.liberty.read_liberty`; None: the project's generic library.
    flow
        One of `synth.flow.FLOWS`.
    netlist
        Whether the result shall hold the mapped netlist.
    cancel
        Another thread may set it to end the run.

    Raises
    ------
    SynthesisError
        There is no result that could be trusted.
    LibertyError
        The library lacks a two-input NAND.
    """
    library = library or read_liberty(GENERIC)
    # First of all, since it is the error that can be had without a synthesis.
    gate = library.nand2_area
    if isinstance(design, UnitConfig):
        # Only here, so that other Verilog needs no gateware.
        from hw.emit import emit

        with _EMIT:
            emission = emit(design)
        design = Design(emission.verilog, emission.top, design)
    result = synthesize(design.verilog, design.top, library, flow, cancel=cancel)
    start = time.perf_counter()
    timing = analyze(result, cancel=cancel)
    priced = AreaResult(
        name=result.top,
        parameters={},
        area=result.area,
        combinational=result.combinational,
        sequential=result.sequential,
        area_unit=library.area_unit,
        nand2=result.area / gate,
        longest_path=result.longest_path,
        cells=sum(result.cells.values()),
        cell_types=result.cells,
        library=library.name,
        flow=flow,
        tool=result.tool,
        seconds=result.seconds + time.perf_counter() - start,
        delay_ns=timing.delay_ns,
        path_start=timing.start,
        path_end=timing.end,
        timing=timing.tool,
        timing_note=timing.note,
        is_estimate=timing.is_estimate,
        netlist=result.verilog if netlist else None,
    )
    return priced if design.config is None else priced.of(design.config)


def areas(
    designs: Iterable[UnitConfig | Design],
    *,
    library: Library | None = None,
    flow: str = DEFAULT_FLOW,
    netlist: bool = False,
    jobs: int | None = None,
    done: Callable[[AreaResult], object] | None = None,
) -> list[AreaResult]:
    """Areas and delays of many designs, several at a time; parameters as of `area`.

    Parameters
    ----------
    designs
        What to synthesise; the results are in the same order.
    jobs
        Processes at a time; None: one a core.
    done
        Called with each result as it comes, in this thread.
    """
    library = library or read_liberty(GENERIC)
    designs = list(designs)

    def work(design: UnitConfig | Design, cancel: Event) -> AreaResult:
        return area(design, library=library, flow=flow, netlist=netlist, cancel=cancel)

    results: dict[int, AreaResult] = {}
    with closing(each(designs, work, size=_size, jobs=jobs)) as finished:
        for place, future in finished:
            results[place] = future.result()
            if done is not None:
                done(results[place])
    return [results[place] for place in range(len(designs))]


def each(
    items: Sequence[Item],
    work: Callable[[Item, Event], Result],
    *,
    size: Callable[[Item], int],
    jobs: int | None = None,
) -> Generator[tuple[int, Future[Result]], None, None]:
    """Work on many items, several at a time; their places and what became of them, as they come.

    When the generator is closed, what still runs is cancelled.

    Parameters
    ----------
    items
        What to work on.
    work
        Does it, in another thread, with an event that tells it to end.
    size
        How large an item is: large ones come first, so that none is left over at the end while
        other cores idle.
    jobs
        How many at a time; None: one a core.
    """
    cancels = [Event() for _ in items]
    # Threads, since each only waits for a process of its own.
    with ThreadPoolExecutor(jobs or default_jobs()) as pool:
        order = sorted(range(len(items)), key=lambda place: -size(items[place]))
        futures = {pool.submit(work, items[place], cancels[place]): place for place in order}
        try:
            for future in as_completed(futures):
                yield futures[future], future
        finally:
            # After an error the rest would be work for nothing.
            for cancel in cancels:
                cancel.set()
            pool.shutdown(wait=False, cancel_futures=True)


def default_jobs() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _size(design: UnitConfig | Design) -> int:
    return design.m if isinstance(design, UnitConfig) else 0
