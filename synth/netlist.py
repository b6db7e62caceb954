"""A mapped netlist as yosys's `write_json` gives it: cells, clocks, longest path in gates."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from synth.liberty import Cell, Library

__all__ = ["LoopError", "Netlist"]

#: A net is a number, or the constant "0", "1", "x" or "z".
Bit = int | str


class LoopError(ValueError):
    """The combinational cells of a netlist form a loop."""


@dataclass(frozen=True)
class _Instance:
    """One cell of the netlist, its nets sorted by direction."""

    name: str
    cell: Cell
    reads: tuple[Bit, ...]
    drives: tuple[Bit, ...]
    clocks: tuple[Bit, ...]


class Netlist:
    """One flat module of library cells.

    Parameters
    ----------
    module
        What `write_json` wrote about it.
    library
        The library that it is mapped to.
    """

    def __init__(self, module: Mapping[str, Any], library: Library) -> None:
        #: The library.
        self.library = library
        self._ports: dict[str, dict[str, Any]] = module.get("ports", {})
        self._names: dict[str, dict[str, Any]] = module.get("netnames", {})
        cells = module.get("cells", {})
        #: Type of each cell.
        self.types: dict[str, str] = {name: cell["type"] for name, cell in cells.items()}
        #: How many cells there are of each type.
        self.counts: Counter[str] = Counter(self.types.values())
        self._instances = [
            self._instance(name, cell)
            for name, cell in cells.items()
            if cell["type"] in library.cells
        ]

    def _instance(self, name: str, cell: Mapping[str, Any]) -> _Instance:
        known = self.library.cells[cell["type"]]
        nets = cell["connections"]
        return _Instance(
            name,
            known,
            tuple(bit for pin in known.inputs for bit in nets.get(pin, ())),
            tuple(bit for pin in known.outputs for bit in nets.get(pin, ())),
            tuple(bit for pin in known.clocks for bit in nets.get(pin, ())),
        )

    @property
    def unmapped(self) -> list[str]:
        """Types of cells that the library does not have."""
        return sorted(set(self.counts) - set(self.library.cells))

    @property
    def without_area(self) -> list[str]:
        """Types of cells of which the library does not say the area."""
        return sorted(cell.name for cell in self._used if cell.area is None)

    @property
    def without_times(self) -> list[str]:
        """Types of cells without the delays or setup times that a timing analysis needs."""
        return sorted(cell.name for cell in self._used if not cell.timed)

    @property
    def _used(self) -> list[Cell]:
        return [self.library.cells[name] for name in self.counts if name in self.library.cells]

    def area(self, *, sequential: bool | None = None) -> float:
        """Area in the library's unit: of all cells, or of the sequential or other ones only."""
        return sum(
            self.counts[cell.name] * (cell.area or 0.0)
            for cell in self._used
            if sequential in (None, cell.sequential)
        )

    @property
    def undriven(self) -> list[str]:
        """Outputs of the module with a bit that nothing drives."""
        driven: set[Bit] = {"0", "1", *_bits(self._ports, "input"), *_bits(self._ports, "inout")}
        for instance in self._instances:
            driven.update(instance.drives)
        return [
            name
            for name, port in self._ports.items()
            if port["direction"] == "output" and not driven.issuperset(port["bits"])
        ]

    @property
    def has_outputs(self) -> bool:
        """Whether the module has any output."""
        return any(port["direction"] != "input" for port in self._ports.values())

    @property
    def is_sequential(self) -> bool:
        """Whether any cell stores."""
        return any(cell.sequential for cell in self._used)

    @property
    def clock_ports(self) -> list[str]:
        """Inputs of the module from which clocks come, on their own or through gates."""
        driver = {
            bit: gate for gate in self._instances if not gate.cell.sequential for bit in gate.drives
        }
        waiting = {bit for register in self._instances for bit in register.clocks}
        seen: set[Bit] = set()
        while waiting:
            bit = waiting.pop()
            seen.add(bit)
            if bit in driver:
                waiting.update(set(driver[bit].reads) - seen)
        return [
            name
            for port in self._ports
            if self._ports[port]["direction"] == "input"
            for name, bit in _named_bits(port, self._ports[port])
            if bit in seen
        ]

    @cached_property
    def registers(self) -> dict[str, str]:
        """What each sequential cell stores: the design's name of the net that it drives."""
        names: dict[Bit, str] = {}
        # The name of a port only where the register has none of its own.
        for wire, record in sorted(self._names.items(), key=lambda item: item[0] in self._ports):
            if not record.get("hide_name"):
                for name, bit in _named_bits(wire, record):
                    names.setdefault(bit, name)
        return {
            register.name: next(
                (names[bit] for bit in register.drives if bit in names), register.name
            )
            for register in self._instances
            if register.cell.sequential
        }

    def longest_path(self) -> int:
        """Number of combinational cells on the longest path.

        A path runs from an input of the module or the output of a sequential cell to an output of
        the module or an input of a sequential cell.

        Raises
        ------
        LoopError
            A path has no end.
        """
        gates = [instance for instance in self._instances if not instance.cell.sequential]
        driver = {bit: place for place, gate in enumerate(gates) for bit in gate.drives}
        readers: list[list[int]] = [[] for _ in gates]
        waiting = [0] * len(gates)
        for place, gate in enumerate(gates):
            for source in {driver[bit] for bit in gate.reads if bit in driver}:
                readers[source].append(place)
                waiting[place] += 1

        depth = [1] * len(gates)
        ready = [place for place, count in enumerate(waiting) if not count]
        done = 0
        while ready:
            place = ready.pop()
            done += 1
            for reader in readers[place]:
                depth[reader] = max(depth[reader], depth[place] + 1)
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
        if done < len(gates):
            looped = min(gates[place].name for place, count in enumerate(waiting) if count)
            raise LoopError(f"a combinational loop runs through or before cell {looped}")
        return max(depth, default=0)


def _bits(ports: Mapping[str, Mapping[str, Any]], direction: str) -> Iterable[Bit]:
    for port in ports.values():
        if port["direction"] == direction:
            yield from port["bits"]


def _named_bits(name: str, record: Mapping[str, Any]) -> Iterator[tuple[str, Bit]]:
    """Bits of a port or wire with their names, as `a` or `a[3]`."""
    bits = record["bits"]
    low = record.get("offset", 0)
    if len(bits) == 1 and not low:
        yield name, bits[0]
        return
    places = range(low, low + len(bits))
    for place, bit in zip(reversed(places) if record.get("upto") else places, bits, strict=True):
        yield f"{name}[{place}]", bit
