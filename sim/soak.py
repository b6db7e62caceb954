"""Many captured groups through the emitted sparsifiers: `python -m sim.soak`.

Each pattern's result is kept in the folder: a run that was stopped goes on where it was.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tabulate import tabulate

import sim
import sw
from hw.cli import CommandParser
from hw.config import UnitConfig
from hw.emit import emit
from hw.files import write_files
from hw.progress import progress_bar
from sim.captured import Captured, captured_activations, given_activations, tokens_for
from sim.configurations import MAIN_PATTERNS
from sim.runner import BenchError, BenchResult, run_bench
from sim.simulator import SIMULATORS, Simulator, SimulatorMissing, find_simulator
from sw.activations import ActivationsError, read_activations

__all__ = ["main", "soak"]

_PROG = "python -m sim.soak"


def soak(
    config: UnitConfig,
    verilog: str,
    groups: int,
    *,
    simulator: Simulator,
    captured: Captured,
    folder: Path,
) -> BenchResult:
    """So many captured groups through a unit's Verilog without stalls, with a progress bar."""
    with progress_bar(total=groups, desc=config.top, unit="group", smoothing=0.1) as bar:

        def progress(sent: int) -> None:
            bar.update(sent - bar.n)

        result = run_bench(
            config,
            simulator=simulator,
            folder=folder / config.top,
            counts={"captured": groups},
            captured=captured.path,
            tests="without_stalls",
            verilog=verilog,
            progress=progress,
        )
        bar.update(groups - bar.n)
    return result


def _digest(verilog: str, captured: Captured, groups: int, simulator: Simulator) -> str:
    """Tells results of the same Verilog, groups and simulator from all others."""
    digest = hashlib.sha256(verilog.encode())
    digest.update(captured.path.read_bytes())
    # The judges count too: the bench and the golden model.
    for package in (sim, sw):
        for source in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(source.read_bytes())
    digest.update(f"{groups} {simulator.name} {simulator.version}".encode())
    return digest.hexdigest()[:12]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = CommandParser(prog=_PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--groups", type=int, default=100_000, help="captured groups per pattern")
    parser.add_argument("--sim", choices=("auto", *SIMULATORS), default="auto", help="simulator")
    parser.add_argument(
        "--activations",
        type=Path,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="what python -m sw.capture wrote (default: the default model is run)",
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("build/soak"), help="folder")
    options = parser.parse_args(arguments)
    if options.groups < 1:
        parser.error(f"--groups must be at least 1, not {options.groups}")
    try:
        given = given_activations(options.activations) if "activations" in options else None
        simulator = find_simulator(options.sim)
    except (ActivationsError, SimulatorMissing) as error:
        parser.error(str(error))
    captured = given or captured_activations(
        options.output / "captured", tokens_for(options.groups), progress=True
    )
    print(f"simulator: {simulator.name} {simulator.version}; activations: {captured.source}")

    activations = read_activations(captured.path)
    rows = []
    for n, m in MAIN_PATTERNS:
        config = UnitConfig(n=n, m=m)
        groups = min(options.groups, len(activations.groups(m)))
        verilog = emit(config).verilog
        digest = _digest(verilog, captured, groups, simulator)
        kept = options.output / f"{config.top}_{digest}.json"
        if kept.exists():
            print(f"{config.top}: {groups} groups were checked before, see {kept}")
        else:
            try:
                result = soak(
                    config,
                    verilog,
                    groups,
                    simulator=simulator,
                    captured=captured,
                    folder=options.output,
                )
            except BenchError as error:
                print(error, file=sys.stderr)
                return 1
            write_files({kept: json.dumps(asdict(result)) + "\n"})
        numbers = json.loads(kept.read_text())
        rows.append((f"{n}:{m}", groups, numbers["checked"], numbers["mismatched"]))
    print(tabulate(rows, headers=("pattern", "groups", "checked", "mismatches"), intfmt=","))
    return 0


if __name__ == "__main__":
    sys.exit(main())
