"""The whole idea on real input, in about a minute: `python -m sim.demo`."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hw.cli import CommandParser
from hw.config import UnitConfig
from hw.generate import main as generate
from sim.captured import captured_activations, tokens_for
from sim.runner import BenchError
from sim.simulator import SimulatorMissing, find_simulator
from sim.soak import soak
from sw.activations import read_activations
from synth.report import main as report

__all__ = ["main"]

_PROG = "python -m sim.demo"

#: Groups of 16 lanes through the sparsifier, and reductions' groups through the PE.
GROUPS = {"sparsifier": 20_000, "pe": 5_000}

CONFIGS = (
    UnitConfig(n=8, m=16, unit="sparsifier", dtype="bf16"),
    UnitConfig(n=8, m=16, unit="pe", dtype="int8"),
)


def _say(step: int, what: str) -> None:
    print(f"\n[{step}/4] {what}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = CommandParser(prog=_PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("build/demo"), help="folder")
    folder: Path = parser.parse_args(arguments).output
    started = time.monotonic()
    try:
        simulator = find_simulator()
    except SimulatorMissing as error:
        parser.error(str(error))

    _say(1, "capture activations from a language model")
    captured = captured_activations(
        folder / "captured", tokens_for(GROUPS["sparsifier"], lanes=16), progress=True
    )
    activations = read_activations(captured.path)
    available = len(activations.groups(16))
    print(f"activations: {captured.source}")
    print(f"{len(activations.tensors)} linear layers' inputs, {available:,} groups of 16")

    _say(2, "generate the 8:16 sparsifier for bf16 and the PE for int8")
    for config in CONFIGS:
        words = config.command.split()[3:]
        generate([*words, "-o", str(folder), "--force"])
        print()

    _say(3, f"captured groups through the emitted Verilog ({simulator.name} {simulator.version})")
    lines = []
    for config in CONFIGS:
        groups = min(GROUPS[config.unit], available)
        try:
            result = soak(
                config,
                (folder / f"{config.top}.v").read_text(),
                groups,
                simulator=simulator,
                captured=captured,
                folder=folder / "sim",
            )
        except BenchError as error:
            print(error, file=sys.stderr)
            return 1
        lines.append(
            f"{config.top}: {result.groups:,} captured groups in, {result.checked:,} results "
            f"compared bit for bit with the golden model, {result.mismatched} mismatches"
        )
    print("\n".join(lines))

    _say(4, "what they cost in silicon")
    report(["--units", "sparsifier,pe", "--patterns", "8:16", "-o", str(folder)])
    print(f"\ndone in {time.monotonic() - started:.0f} s; everything is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
