"""What the reports need to know of a Liberty file: areas, pins and functions of its cells.

Delays and powers are left to the tools that use them, so only the groups down to the pins are
read, and of delays only that they are there; a library of 12 MB takes less than a second.
"""

import gzip
import re
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from synth.boolean import FunctionError, truth_table

__all__ = [
    "GENERIC",
    "Cell",
    "LibertyError",
    "Library",
    "Pin",
    "is_compressed",
    "read_liberty",
    "unpack",
]

#: The project's own library: areas in NAND2 equivalents, so that no foundry's files are needed.
GENERIC = Path(__file__).with_name("generic.lib")

_GZIP = b"\x1f\x8b"

_GENERIC_NAME = "nmsparse_generic"

#: Groups on the way to a pin.
_ENTERED = frozenset({"library", "cell", "pin", "bus", "bundle"})
#: Groups that make a cell a sequential one.
_STORAGE = frozenset({"ff", "ff_bank", "latch", "latch_bank", "statetable"})

#: Attributes of storage that name the pin that makes it store.
_CLOCKS = frozenset({"clocked_on", "clocked_on_also", "enable", "enable_also"})

_BLANK = r"(?:\s|\\\n|/\*(?s:.*?)\*/|//[^\n]*+)*+"
_STATEMENT = re.compile(
    rf"""{_BLANK}(?:
        (?P<name>[A-Za-z_][\w.]*+){_BLANK}(?:
            \((?P<arguments>(?:"[^"]*+"|[^()"])*+)\){_BLANK}(?:(?P<open>\{{)|;?)
          | :{_BLANK}(?P<value>"[^"]*+"|[^;{{}}\n"]*+){_BLANK};?
        )
      | (?P<close>\}})
      | ;
    )""",
    re.VERBOSE,
)
_BLANK_ONLY = re.compile(_BLANK)
# What a brace counter must look at; everything else is skipped at the speed of the regex engine.
_BRACE = re.compile(r'"[^"]*+"|/\*(?s:.*?)\*/|//[^\n]*+|[{}]')


class LibertyError(ValueError):
    """A file is no Liberty file, or lacks what a report needs."""


@dataclass(frozen=True)
class Pin:
    """A pin of a cell.

    Parameters
    ----------
    name
        Its name; of a bus, the name of the bus.
    direction
        ``input``, ``output``, ``inout`` or ``internal``; empty if the file does not say.
    function
        The logic function of an output, as the file spells it; None if there is none.
    three_state
        Whether the output can be switched off.
    timed
        Whether the file holds times for it: delays of an output, or setup times of an input.
    clock
        Whether the file calls it a clock.
    """

    name: str
    direction: str
    function: str | None = None
    three_state: bool = False
    timed: bool = False
    clock: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a library.

    Parameters
    ----------
    name
        Its name.
    area
        In the library's unit; None if the file does not say.
    sequential
        Whether it stores: it has a flip-flop, latch or state table.
    pins
        All pins but those of the supply, by name.
    dont_use
        Whether the library asks tools not to choose it.
    clocks
        Names of the pins that make it store: clocks of flip-flops, enables of latches.
    """

    name: str
    area: float | None
    sequential: bool
    pins: dict[str, Pin]
    dont_use: bool = False
    clocks: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[str]:
        """Names of the pins that the cell reads."""
        return [pin.name for pin in self.pins.values() if pin.direction in ("input", "inout")]

    @property
    def outputs(self) -> list[str]:
        """Names of the pins that the cell drives."""
        return [pin.name for pin in self.pins.values() if pin.direction in ("output", "inout")]

    @property
    def timed(self) -> bool:
        """Whether the file holds all that a timing analysis needs.

        Without the delays of an output, or the setup times of a register, paths would be left out.
        """
        if not self.inputs:
            return True
        outputs = all(self.pins[name].timed for name in self.outputs)
        setup = any(self.pins[name].timed for name in self.inputs if name not in self.clocks)
        return outputs and (setup or not self.sequential)

    @property
    def is_nand2(self) -> bool:
        """Whether the cell is a two-input NAND and nothing more."""
        if self.sequential or len(self.inputs) != 2 or len(self.outputs) != 1:
            return False
        output = self.pins[self.outputs[0]]
        if output.function is None or output.three_state:
            return False
        try:
            return truth_table(output.function, self.inputs) == 0b0111
        except FunctionError:
            return False


@dataclass(frozen=True)
class Library:
    """A Liberty library.

    Parameters
    ----------
    path
        The file.
    name
        The name that the file gives itself.
    cells
        Its cells by name.
    """

    path: Path
    name: str
    cells: dict[str, Cell] = field(repr=False)

    @property
    def area_unit(self) -> str:
        """Unit of the areas.

        Liberty has no attribute for it; square micrometres are the custom of every standard cell
        library but the project's own.
        """
        return "NAND2eq" if self.name == _GENERIC_NAME else "um2"

    @cached_property
    def has_delays(self) -> bool:
        """Whether any output of a cell has delays."""
        return any(cell.pins[name].timed for cell in self.cells.values() for name in cell.outputs)

    @cached_property
    def nand2(self) -> Cell:
        """The two-input NAND of drive 1: the smallest one.

        Raises
        ------
        LibertyError
            The library has none with an area.
        """
        candidates = [cell for cell in self.cells.values() if cell.is_nand2 and cell.area]
        if not candidates:
            raise LibertyError(
                "liberty must hold a two-input NAND with an area, the unit of gate equivalents, "
                f"which {str(self.path)!r} does not"
            )
        return min(candidates, key=lambda cell: (cell.dont_use, cell.area, cell.name))

    @property
    def nand2_area(self) -> float:
        """Area of one gate equivalent, in the library's unit; raises as `nand2` does."""
        return self.nand2.area or 0.0


class _Statement(NamedTuple):
    """One statement of a Liberty file: a group's head, an attribute, or a group's end."""

    kind: str
    name: str
    text: str


class _Reader:
    """Walks over the statements of a Liberty file and leaves out what lies below the pins."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.position = 0

    def error(self, why: str) -> LibertyError:
        return LibertyError(
            f"liberty must be a Liberty file: library (name) {{ ... }}, not {str(self.path)!r}: "
            f"{why}"
        )

    @property
    def line(self) -> int:
        return self.text.count("\n", 0, self.position) + 1

    def statements(self, group: str) -> Iterator[_Statement]:
        """Statements up to the end of the present group, its end excluded."""
        while True:
            match = _STATEMENT.match(self.text, self.position)
            if match is None:
                blank = _BLANK_ONLY.match(self.text, self.position)
                self.position = blank.end() if blank else self.position
                if self.position == len(self.text):
                    raise self.error(f"it ends inside of {group}")
                raise self.error(f"line {self.line} is no Liberty statement")
            self.position = match.end()
            if match["close"]:
                return
            if match["name"] is None:
                continue
            if match["open"]:
                yield _Statement("group", match["name"], _plain(match["arguments"]))
            elif match["value"] is not None:
                yield _Statement("value", match["name"], _plain(match["value"]))

    def skip(self, group: str) -> None:
        """Goes behind the end of the group whose head was read."""
        depth = 1
        for match in _BRACE.finditer(self.text, self.position):
            if match[0] == "{":
                depth += 1
            elif match[0] == "}":
                depth -= 1
                if not depth:
                    self.position = match.end()
                    return
        raise self.error(f"it ends inside of {group}")

    def library(self) -> Library:
        match = _STATEMENT.match(self.text, self.position)
        if match is None or match["name"] != "library" or not match["open"]:
            raise self.error("it does not start with a library")
        self.position = match.end()
        name = _plain(match["arguments"])
        cells: dict[str, Cell] = {}
        for statement in self.statements(f"library {name}"):
            if statement.kind == "group":
                if statement.name == "cell":
                    cells[statement.text] = self.cell(statement.text)
                else:
                    self.skip(f"{statement.name} ({statement.text})")
        if not cells:
            raise self.error("it has no cells")
        return Library(self.path, name, cells)

    def cell(self, name: str) -> Cell:
        area: float | None = None
        sequential = dont_use = False
        pins: dict[str, Pin] = {}
        clocks: set[str] = set()
        for statement in self.statements(f"cell {name}"):
            if statement.kind == "group":
                sequential |= statement.name in _STORAGE
                if statement.name in _ENTERED:
                    self.pin(statement.text, pins, "")
                elif statement.name in _STORAGE:
                    clocks |= self.clocks(f"{statement.name} of cell {name}")
                else:
                    self.skip(f"{statement.name} of cell {name}")
            elif statement.name == "area":
                try:
                    area = float(statement.text)
                except ValueError:
                    raise self.error(
                        f"the area of cell {name} is {statement.text!r}, no number"
                    ) from None
            elif statement.name == "dont_use":
                dont_use = statement.text == "true"
        clocked = tuple(pin.name for pin in pins.values() if pin.clock or pin.name in clocks)
        return Cell(name, area, sequential, pins, dont_use, clocked)

    def clocks(self, group: str) -> set[str]:
        """Reads a flip-flop, latch or the like, and gives the names in its clock or enable."""
        names: set[str] = set()
        for statement in self.statements(group):
            if statement.kind == "group":
                self.skip(f"{statement.name} of {group}")
            elif statement.name in _CLOCKS:
                names.update(re.findall(r"[A-Za-z_][\w.\[\]]*", statement.text))
        return names

    def pin(self, names: str, pins: dict[str, Pin], direction: str) -> None:
        """Reads a pin, or a bus or bundle with the pins in it, which inherit its direction."""
        function: str | None = None
        three_state = timed = clock = False
        for statement in self.statements(f"pin {names}"):
            if statement.kind == "group":
                timed |= statement.name == "timing"
                if statement.name in _ENTERED:
                    self.pin(statement.text, pins, direction)
                else:
                    self.skip(f"{statement.name} of pin {names}")
            elif statement.name == "direction":
                direction = statement.text
            elif statement.name == "function":
                function = statement.text
            elif statement.name == "three_state":
                three_state = True
            elif statement.name == "clock":
                clock = statement.text == "true"
        for name in re.split(r"[\s,]+", names):
            pins[name] = Pin(name, direction, function, three_state, timed, clock)


def _plain(text: str) -> str:
    """A value without its quotes and blanks."""
    return text.replace('"', "").replace("\\\n", " ").strip()


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed with gzip, by its content and not by its name."""
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def unpack(path: Path, folder: Path) -> Path:
    """The file itself, or a plain copy in the folder for tools that cannot read compressed ones."""
    if not is_compressed(path):
        return path
    plain = folder / "library.lib"
    with gzip.open(path) as compressed, plain.open("wb") as output:
        shutil.copyfileobj(compressed, output)
    return plain


def read_liberty(path: str | Path) -> Library:
    """Read a Liberty file, plain or compressed with gzip.

    Raises
    ------
    LibertyError
        It is not a Liberty file.
    OSError
        It cannot be read.
    """
    path = Path(path)
    content = path.read_bytes()
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise LibertyError(
                f"liberty must be a Liberty file or one compressed with gzip, not {str(path)!r}: "
                "its gzip stream is broken"
            ) from error
    return _Reader(path, content.decode("latin-1").replace("\r\n", "\n")).library()
