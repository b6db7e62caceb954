"""A tile as a program: what runs whole layers through it, hundreds of times faster than a bench.

Verilator makes C++ of the emitted Verilog, each module of the tile once; `sim/tile_main.cpp` sends
the steps and takes the results.  No signal inside is to be looked at, as a bench may, which is
where the time goes otherwise.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.config import UnitConfig
from hw.emit import emit
from hw.files import write_files
from hw.ports import Field, input_streams, output_payload
from sim.simulator import Simulator
from sim.words import packed_rows, unpacked_rows
from sw.golden import Payload

__all__ = ["TileError", "TileRun", "VerilatedTile", "build_tile"]

_MAIN = Path(__file__).with_name("tile_main.cpp")

#: Warnings that are none: widths, and paths through a module of its own that have no loop.
_ARGUMENTS = (
    "--cc", "--exe", "--build", "--hierarchical", "-O3", "--x-assign", "fast", "-Wno-WIDTH",
    "-Wno-UNOPTFLAT", "--prefix", "Vtile",
)  # fmt: skip


class TileError(RuntimeError):
    """A tile could not be built, or stood still."""


@dataclass(frozen=True)
class TileRun:
    """What a tile made of its steps.

    Parameters
    ----------
    outputs
        Payload of the results: ``sum`` and ``error``.
    cycles
        From the first transfer to the last one, both included.
    """

    outputs: Payload
    cycles: int


@dataclass(frozen=True)
class VerilatedTile:
    """A tile that was built.

    Parameters
    ----------
    config
        The tile.
    program
        What runs it.
    """

    config: UnitConfig
    program: Path

    def run(
        self,
        steps: Payload,
        folder: Path,
        *,
        seed: int = 0,
        progress: Callable[[int], object] | None = None,
    ) -> TileRun:
        """Send steps and take the results.

        Parameters
        ----------
        steps
            Payload of both input streams: ``data``, ``last`` and ``weights``.
        folder
            Of the two files that go in and out.
        seed
            Of stalls in all three streams; 0: none.
        progress
            Called now and then with the steps that have been taken.

        Raises
        ------
        TileError
            The tile stands still.
        """
        sizes = _fields(self.config)
        columns = [packed_rows(steps[name], sizes[name]) for name in ("data", "weights", "last")]
        given, results = folder / "steps.bin", folder / "results.bin"
        write_files({given: np.concatenate(columns, axis=1).tobytes()})
        results.unlink(missing_ok=True)
        command = [self.program, given, results, str(seed)]
        last = ""
        with subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            for last in process.stdout or ():
                if progress is not None and last.strip().isdigit():
                    progress(int(last))
            message = process.stderr.read() if process.stderr else ""
        if process.returncode:
            raise TileError(f"{self.config.top}: {message.strip()}")
        size = sum(map(_bytes, (sizes["sum"], sizes["error"])))
        rows = np.frombuffer(results.read_bytes(), np.uint8).reshape(-1, size)
        cut = _bytes(sizes["sum"])
        outputs = {
            "sum": unpacked_rows(rows[:, :cut], sizes["sum"]),
            "error": unpacked_rows(rows[:, cut:], sizes["error"]),
        }
        return TileRun(outputs, int(last.split()[-1]))


def _fields(config: UnitConfig) -> dict[str, Field]:
    """Content of the ports, by their names."""
    streams = input_streams(config)
    return {**streams["i"], **streams["w"], **output_payload(config)}


def _bytes(field: Field) -> int:
    return (field.count * field.width + 7) // 8


def build_tile(
    config: UnitConfig, *, simulator: Simulator, folder: Path, verilog: str | None = None
) -> VerilatedTile:
    """Emit a tile and make a program of it, unless that was done before.

    Parameters
    ----------
    config
        The tile; its inputs are ``data``, ``last`` and ``weights`` alone.
    simulator
        Verilator, from `sim.simulator.find_simulator`.
    folder
        Where the program is kept.
    verilog
        Verilog to be built in place of what the generator emits.

    Raises
    ------
    TileError
        Verilator or the compiler failed; the text has the end of what they said.
    """
    emission = emit(config)
    verilog = emission.verilog if verilog is None else verilog
    fields = _fields(config)
    defines = " ".join(
        f"-D{name.upper()}_BYTES={_bytes(fields[name])}"
        for name in ("data", "weights", "sum", "error")
    )
    main = _MAIN.read_text()
    digest = hashlib.sha256("\n".join([verilog, main, simulator.version]).encode()).hexdigest()
    place = folder / f"{config.top}_{digest[:12]}"
    built, program = place / "built", place / "build" / "Vtile"
    if not built.exists():
        shutil.rmtree(place, ignore_errors=True)
        # The large ones of which there are many are compiled once.
        hierarchy = "".join(f'hier_block -module "{config.top}_{name}"\n' for name in ("row", "pe"))
        write_files(
            {
                place / "tile.v": verilog,
                place / "tile_main.cpp": main,
                place / "tile.vlt": f"`verilator_config\n{hierarchy}",
            }
        )
        command = [
            "verilator", *_ARGUMENTS, "--top-module", config.top, "tile.vlt", "tile.v",
            "tile_main.cpp", "-Mdir", "build", "-CFLAGS", f"-O1 {defines}",
        ]  # fmt: skip
        with simulator.environment():
            made = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if made.returncode:
            lines = (made.stdout + made.stderr).splitlines()[-30:]
            raise TileError(f"{config.top} on {simulator.name}: " + "\n".join(lines))
        write_files({built: ""})
    return VerilatedTile(config, program.resolve())
