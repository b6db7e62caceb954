"""The delay of a mapped netlist: static timing analysis, or else the mapper's own estimate.

The delay is the shortest clock period at which the netlist works: that of the longest path from an
input or register to a register or output, from the clock's edge through the register's clock to
output time to the setup time of the register at its end.  Inputs arrive at the clock's edge with
no slew, outputs bear no load, the clock is ideal.  Without a register it is the time from the
inputs to the last output.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event

from synth.flow import FLOWS, Synthesis
from synth.liberty import unpack
from synth.netlist import Netlist
from synth.process import SynthesisError, how_it_ended, log_lines, run

__all__ = ["PROGRAM", "Timing", "analyze", "estimate", "method"]

#: OpenSTA, where it is installed.
PROGRAM = "sta"

_CLOCK = "clk"

# OpenSTA may end with status 0 after an error, so that the last line of the results is what tells
# that all went well.  The period is the one at which the worst slack is zero; it is found from
# slacks, of which none changes faster than the period does, so that no step goes too far.
_SCRIPT = """\
proc worst_path {} {
  set worst ""
  foreach path [find_timing_paths -path_delay max] {
    if {$worst eq "" || [get_property $path slack] < [get_property $worst slack]} {
      set worst $path
    }
  }
  return $worst
}

proc constrain {period clock} {
  set port ""
  set inputs {}
  foreach input [all_inputs] {
    if {$clock ne "" && [get_full_name $input] eq $clock} {
      set port $input
    } else {
      lappend inputs $input
    }
  }
  if {$clock eq ""} {
    create_clock -name clock -period $period
  } elseif {$port eq ""} {
    error "there is no input $clock"
  } else {
    create_clock -name clock -period $period $port
  }
  if {[llength $inputs]} {
    set_input_delay 0 -clock clock $inputs
  }
  set_output_delay 0 -clock clock [all_outputs]
}

proc main {top clock results} {
  read_liberty library.lib
  set_cmd_units -time ns
  read_verilog netlist.v
  link_design $top
  set period 10.0
  constrain $period $clock
  check_setup -verbose -no_clock -no_input_delay -no_output_delay -multiple_clock -loops \\
    > setup.log
  for {set turn 0} {$turn < 200} {incr turn} {
    set path [worst_path]
    if {$path eq ""} {
      puts $results "no path"
      return
    }
    set slack [get_property $path slack]
    if {abs($slack) < 1e-5 || $period - $slack < 1e-5} {
      puts $results "delay [expr {max($period - $slack, 0.0)}]"
      puts $results "start [get_full_name [get_property $path startpoint]]"
      puts $results "end [get_full_name [get_property $path endpoint]]"
      return
    }
    set period [expr {$period - $slack}]
    constrain $period $clock
  }
  error "no period makes the worst slack zero"
}

set results [open results.txt w]
if {[catch {main $env(NMSPARSE_TOP) $env(NMSPARSE_CLOCK) $results} message]} {
  puts "Error: $message"
  exit 1
}
puts $results "done"
close $results
"""
_NO_PATH = "no path"
_DONE = "done"


@dataclass(frozen=True)
class Timing:
    """How fast a netlist is.

    Parameters
    ----------
    tool
        What says so, with its version; None if nothing does.
    delay_ns
        The delay in nanoseconds; None if there is none, and then the note says why.
    start, end
        Where the longest path starts and ends: an input or output, or the name of a register.
    note
        Why there is no delay.
    is_estimate
        Whether it is the mapper's own estimate, which leaves registers out.
    """

    tool: str | None = None
    delay_ns: float | None = None
    start: str | None = None
    end: str | None = None
    note: str | None = None
    is_estimate: bool = False


def analyze(design: Synthesis, *, cancel: Event | None = None) -> Timing:
    """Delay of a mapped design.

    Parameters
    ----------
    design
        What a flow made of it.
    cancel
        Another thread may set it to end the run.

    Raises
    ------
    SynthesisError
        OpenSTA failed or was cancelled, or left no result that could be trusted.
    """
    netlist = design.netlist
    if not design.library.has_delays:
        return Timing(note=f"library {design.library.name} has no delays")
    program = shutil.which(PROGRAM)
    if program is None:
        return estimate(design)
    tool = _version(program)
    if not netlist.counts:
        return Timing(tool, note="no path runs through a cell")
    if netlist.without_times:
        cells = ", ".join(netlist.without_times)
        return Timing(tool, note=f"the library does not hold all times of {cells}")
    ports = netlist.clock_ports
    if netlist.is_sequential and not ports:
        return Timing(tool, note="no clock comes from an input")
    if _CLOCK not in ports and len(ports) > 1:
        return Timing(tool, note=f"there must be one clock, not {', '.join(ports)}")
    clock = _CLOCK if _CLOCK in ports else "".join(ports)
    with tempfile.TemporaryDirectory(prefix="nmsparse-") as name:
        folder = Path(name)
        liberty = unpack(design.library.path, folder)
        if liberty.parent != folder:
            (folder / "library.lib").symlink_to(liberty.absolute())
        (folder / "netlist.v").write_text(design.verilog, encoding="utf-8")
        lines = _run(program, design.top, clock, folder, cancel)
        # The first line is a heading, the others are pins.
        heading, *pins = [*log_lines(folder / "setup.log"), ""]
    if heading:
        places = ", ".join(_place(pin, netlist) for pin in pins[:-1][:3])
        why = heading.removeprefix("Warning: ").rstrip(".:")
        return Timing(tool, note=f"clock {clock or 'of the inputs'} is not enough: {why}: {places}")
    if lines == [_NO_PATH]:
        return Timing(tool, note="no path runs through a cell")
    results = dict(line.split(" ", 1) for line in lines)
    start, end = (_place(results[name], netlist) for name in ("start", "end"))
    return Timing(tool, round(float(results["delay"]), 6), start, end)


@cache
def _version(program: str) -> str:
    """Name and version of OpenSTA."""
    try:
        done = subprocess.run(
            [program, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SynthesisError(f"OpenSTA failed: {error}") from error
    match = re.match(r"(?:OpenSTA )?v?([0-9]+\.[0-9][\w.]*)", done.stdout.strip())
    if match is None:
        raise SynthesisError(f"OpenSTA failed: {program} -version does not give its version")
    return f"OpenSTA {match[1]}"


def method() -> str | None:
    """All that the delays of a netlist depend on here; None without OpenSTA.

    Raises
    ------
    SynthesisError
        OpenSTA does not tell its version.
    """
    program = shutil.which(PROGRAM)
    return None if program is None else f"{_version(program)}\n{_SCRIPT}"


def _run(program: str, top: str, clock: str, folder: Path, cancel: Event | None) -> list[str]:
    """Run OpenSTA in a folder with library and netlist, and return the lines of its results."""
    (folder / "script.tcl").write_text(_SCRIPT, encoding="utf-8")
    log = folder / "sta.log"
    status = run(
        [program, "-no_init", "-no_splash", "-exit", "script.tcl"],
        log,
        folder=folder,
        # No name needs quoting here.
        environment={"NMSPARSE_TOP": top, "NMSPARSE_CLOCK": clock},
        cancel=cancel,
    )
    lines = log_lines(log)
    # It leaves out what it does not understand of a netlist, with a warning only.
    errors = [line for line in lines if re.search(r"\bError\b|netlist\.v", line)]
    if errors:
        raise SynthesisError(f"{top}: OpenSTA failed: {errors[0].removeprefix('Error: ')}")
    if status:
        raise SynthesisError(f"{top}: OpenSTA {how_it_ended(status, lines)}")
    path = folder / "results.txt"
    results = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if not results or results.pop() != _DONE:
        raise SynthesisError(f"{top}: OpenSTA ended without an error but left no result")
    return results


def _place(pin: str, netlist: Netlist) -> str:
    """A port as it is; for a pin of a register what that register stores."""
    instance, _, _ = pin.rpartition("/")
    return netlist.registers.get(instance, pin)


def estimate(design: Synthesis) -> Timing:
    """Delay by the mapper's own estimate.

    It knows gates only: paths start at the outputs of registers and end at their inputs, so that
    neither the time from clock to output nor the setup time counts.  A flow with yosys's own script
    does not print it.

    Raises
    ------
    SynthesisError
        The mapper gives several delays.
    """
    tool = f"estimate of abc in {design.tool}"
    delays = _matches(r"ABC: WireLoad = .* Delay = *([\d.]+) ps", design.log)
    if len(delays) > 1:
        raise SynthesisError(f"{design.top}: abc must give one delay, not {len(delays)}")
    if not delays:
        why = "no path runs through a gate"
        if FLOWS[design.flow].script is None:
            why = f"OpenSTA is not installed, and flow {design.flow} gives no estimate"
        return Timing(tool, note=why, is_estimate=True)
    # A net that the design does not name is an input of a register.
    names = r"ABC: Start-point = pi\d+ \((.*)\)\.  End-point = po\d+ \((.*)\)\."
    start, end = (
        name[1:].replace(" ", "") if name.startswith("\\") else "a register"
        for found in _matches(names, design.log)
        for name in found.groups()
    )
    return Timing(tool, float(delays[0][1]) / 1000, start, end, is_estimate=True)


def _matches(pattern: str, lines: Iterable[str]) -> list[re.Match[str]]:
    return [match for line in lines if (match := re.match(pattern, line))]
