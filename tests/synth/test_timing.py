import re
import time
from dataclasses import replace
from threading import Event

import pytest

from synth.flow import FLOWS, SynthesisError, synthesize
from synth.liberty import read_liberty
from synth.timing import Timing, analyze, estimate
from tests.synth.delays import CLOCK_TO_OUTPUT, GATE, LOAD, SETUP, with_delays

NAND = "module top(input a, b, output y); assign y = ~(a & b); endmodule"
TOGGLE = "module top(input clk, t, output reg q); always @(posedge clk) q <= q ^ t; endmodule"
#: From the register through the gate to the register.
TOGGLE_NS = CLOCK_TO_OUTPUT + LOAD + GATE + LOAD + SETUP


def near(nanoseconds):
    return pytest.approx(nanoseconds, abs=2e-5)


def delay(library, verilog, flow="plain"):
    return analyze(synthesize(verilog, "top", library, flow))


@pytest.mark.usefixtures("sta")
class TestDelay:
    @pytest.fixture
    def library(self, tmp_path):
        def make(**options):
            path = tmp_path / "other.lib"
            path.write_text(with_delays(**options))
            return read_liberty(path)

        return make

    def test_gate(self, delays):
        result = delay(delays, NAND)
        assert result.delay_ns == GATE
        assert result.start in ("a", "b")
        assert (result.end, result.note, result.is_estimate) == ("y", None, False)
        assert re.fullmatch(r"OpenSTA \d+\.\d+\S*", result.tool)

    @pytest.mark.parametrize("flow", FLOWS)
    def test_register_to_register(self, delays, flow):
        result = delay(delays, TOGGLE, flow)
        assert result.delay_ns == near(TOGGLE_NS)
        assert (result.start, result.end) == ("q", "q")

    @pytest.mark.parametrize(
        ("body", "nanoseconds", "start", "end"),
        [
            # From an input to a register.
            (
                "reg r; always @(posedge clk) r <= ~(d & e) ^ f; assign q = {r, 1'b0};",
                GATE + LOAD + GATE + LOAD + SETUP,
                "d|e",
                "r",
            ),
            # From a register to an output.
            (
                "reg r; always @(posedge clk) r <= d; assign q = {~(r & e) ^ f, 1'b0};",
                CLOCK_TO_OUTPUT + LOAD + GATE + LOAD + GATE,
                "r",
                r"q\[1\]",
            ),
            # From an input to an output, past a register.
            (
                "reg r; always @(posedge clk) r <= d; assign q = {r, d ^ e ^ f};",
                GATE + LOAD + GATE,
                "d|e|f",
                r"q\[0\]",
            ),
            # Half a period from one edge of the clock to the other.
            (
                "reg r, s; always @(posedge clk) r <= d; always @(negedge clk) s <= ~r;"
                "assign q = {s, e};",
                2 * (CLOCK_TO_OUTPUT + LOAD + GATE + LOAD + SETUP),
                "r",
                "s",
            ),
        ],
    )
    def test_paths(self, delays, body, nanoseconds, start, end):
        result = delay(delays, f"module top(input clk, d, e, f, output [1:0] q); {body} endmodule")
        assert result.delay_ns == near(nanoseconds)
        assert re.fullmatch(start, result.start)
        assert re.fullmatch(end, result.end)

    def test_times_of_registers_count(self, library):
        assert delay(library(setup=1), TOGGLE).delay_ns == near(TOGGLE_NS + 1 - SETUP)
        slow = library(clock_to_output=2)
        assert delay(slow, TOGGLE).delay_ns == near(TOGGLE_NS + 2 - CLOCK_TO_OUTPUT)

    @pytest.mark.parametrize(("unit", "scale"), [("1ps", 1000), ("10ps", 100), ("100ps", 10)])
    def test_units(self, library, unit, scale):
        other = library(unit=unit, scale=scale)
        assert delay(other, NAND).delay_ns == near(GATE)
        assert delay(other, TOGGLE).delay_ns == near(TOGGLE_NS)

    @pytest.mark.parametrize("scale", [1e-3, 1e3])
    def test_any_magnitude(self, library, scale):
        assert delay(library(scale=scale), NAND).delay_ns == pytest.approx(GATE * scale, rel=1e-3)

    @pytest.mark.parametrize("clock", ["ck", "\\clock.a ", "c[1]"])
    def test_clock_of_another_name(self, delays, clock):
        port = "[1:0] c" if clock == "c[1]" else clock
        verilog = (
            f"module top(input {port}, input t, output reg q);"
            f"always @(posedge {clock}) q <= q ^ t; endmodule"
        )
        assert delay(delays, verilog).delay_ns == near(TOGGLE_NS)

    def test_gated_clock(self, delays):
        verilog = TOGGLE.replace("t,", "t, en,").replace("posedge clk", "posedge g")
        verilog = verilog.replace("always", "wire g = clk & en; always")
        assert delay(delays, verilog).delay_ns == near(TOGGLE_NS)

    def test_unused_clock(self, delays):
        assert delay(delays, NAND.replace("input", "input clk,")).delay_ns == GATE

    def test_wires_and_constants_beside_gates(self, delays):
        verilog = (
            "module top(input [3:0] a, output [6:0] y);"
            "assign y = {~a[3], a[1:0], 3'b101, a[2]}; endmodule"
        )
        assert delay(delays, verilog).delay_ns == GATE

    def test_against_the_mapper(self, sky130):
        verilog = "module top(input [7:0] a, b, output [15:0] p); assign p = a * b; endmodule"
        design = synthesize(verilog, "top", sky130, "timed")
        ours, other = analyze(design), estimate(design)
        # The mapper's model knows no slopes of inputs and no wires.
        assert ours.delay_ns == pytest.approx(other.delay_ns, rel=0.1)
        assert ours.end == other.end
        assert 1 < ours.delay_ns < 4

    def test_compressed_library(self, sky130):
        # The slowest of the smallest inverters.
        assert 0.005 < delay(sky130, NAND.replace("& b", "")).delay_ns < 0.1


@pytest.mark.usefixtures("sta")
class TestNoDelay:
    def test_no_cells(self, delays):
        wires = "module top(input a, output y, z); assign y = a, z = 1; endmodule"
        result = delay(delays, wires)
        assert result == Timing(result.tool, note="no path runs through a cell")
        assert result.tool.startswith("OpenSTA ")

    def test_no_path(self, delays):
        # Of a cell whose inputs are constants.
        design = synthesize(NAND, "top", delays)
        verilog = re.sub(r"\.([AB])\([ab]\)", r".\1(1'b1)", design.verilog)
        assert verilog.count("1'b1") == 2
        assert analyze(replace(design, verilog=verilog)).note == "no path runs through a cell"

    @pytest.mark.parametrize("clock", ["clk", "ck"])
    def test_two_clocks(self, delays, clock):
        verilog = (
            f"module top(input {clock}, two, d, output reg q); reg p;"
            f"always @(posedge {clock}) p <= d; always @(posedge two) q <= ~p; endmodule"
        )
        result = delay(delays, verilog)
        assert result.delay_ns is None
        assert (
            result.note
            == {
                "clk": "clock clk is not enough: There is 1 unclocked register/latch pin: q",
                "ck": "there must be one clock, not ck, two",
            }[clock]
        )

    def test_clock_of_a_register(self, delays):
        verilog = (
            "module top(input clk, d, output reg q); reg half;"
            "always @(posedge clk) half <= ~half; always @(posedge half) q <= d; endmodule"
        )
        result = delay(delays, verilog)
        assert result.delay_ns is None
        assert result.note.endswith("unclocked register/latch pin: q")

    def test_no_clock(self, delays):
        # Two registers that clock each other.
        verilog = (
            "module top(input d, output reg p, q);"
            "always @(posedge q) p <= ~p; always @(posedge p) q <= d; endmodule"
        )
        assert delay(delays, verilog).note == "no clock comes from an input"

    def test_cells_without_times(self, delays):
        verilog = "module top(input e, d, output reg q); always @* if (e) q = d; endmodule"
        assert delay(delays, verilog).note == "the library does not hold all times of latch"

    def test_library_without_delays(self, generic):
        result = delay(generic, NAND)
        assert result == Timing(note="library nmsparse_generic has no delays")


class TestEstimate:
    @pytest.fixture(autouse=True)
    def without_sta(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))

    @pytest.mark.parametrize("flow", ["bounded", "timed"])
    def test_gate(self, delays, flow):
        design = synthesize(NAND, "top", delays, flow)
        result = analyze(design)
        assert result == estimate(design)
        assert (result.delay_ns, result.end) == (GATE, "y")
        assert result.start in ("a", "b")
        assert result.is_estimate
        assert result.tool == f"estimate of abc in {design.tool}"

    def test_registers_are_left_out(self, delays):
        result = delay(delays, TOGGLE, "timed")
        assert result.delay_ns == near(GATE)
        assert result.start in ("q", "t")
        assert result.end == "a register"

    def test_bits(self, delays):
        verilog = "module top(input [3:0] a, output [3:0] y); assign y[2] = ~a[1]; endmodule"
        verilog = verilog.replace("; endmodule", ", y[3] = 0, y[1:0] = a[3:2]; endmodule")
        result = delay(delays, verilog, "timed")
        assert (result.start, result.end) == ("a[1]", "y[2]")

    def test_no_path(self, delays):
        register = "module top(input clk, d, output reg q); always @(posedge clk) q <= d; endmodule"
        result = delay(delays, register, "timed")
        assert (result.delay_ns, result.note) == (None, "no path runs through a gate")

    def test_flow_without(self, delays):
        result = delay(delays, NAND, "plain")
        assert result.delay_ns is None
        assert result.note == "OpenSTA is not installed, and flow plain gives no estimate"

    def test_library_without_delays(self, generic):
        assert delay(generic, NAND, "bounded") == Timing(
            note="library nmsparse_generic has no delays"
        )

    def test_several(self, delays):
        design = synthesize(NAND, "top", delays, "timed")
        with pytest.raises(SynthesisError) as caught:
            analyze(replace(design, log=design.log * 2))
        assert str(caught.value) == "top: abc must give one delay, not 2"


class TestGuards:
    """A run that looks well must not pass without a sound result."""

    @pytest.fixture
    def design(self, delays):
        return synthesize(TOGGLE, "top", delays)

    @pytest.fixture
    def program(self, monkeypatch, tmp_path):
        """Puts a shell script in the place of OpenSTA."""

        def install(script, version="echo 9.8.7"):
            path = tmp_path / "bin" / "sta"
            path.parent.mkdir()
            path.write_text(
                f'#!/bin/sh\nif [ "$1" = -version ]; then {version}; exit; fi\n{script}'
            )
            path.chmod(0o755)
            monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
            return path

        return install

    @staticmethod
    def fails(design, **options):
        with pytest.raises(SynthesisError) as caught:
            analyze(design, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    GOOD = "printf 'delay 1.25\\nstart q\\nend a/b\\ndone\\n' > results.txt; > setup.log\n"

    def test_good(self, design, program):
        program(self.GOOD)
        assert analyze(design) == Timing("OpenSTA 9.8.7", 1.25, "q", "a/b")

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ("", "OpenSTA ended without an error but left no result"),
            ("> results.txt", "OpenSTA ended without an error but left no result"),
            (
                "printf 'delay 1.25\\nstart q\\nend q\\n' > results.txt",
                "OpenSTA ended without an error but left no result",
            ),
            (f"{GOOD} echo 'Error: no such cell'", "OpenSTA failed: no such cell"),
            (
                f"{GOOD} echo 'Warning: netlist.v, line 3 pin left out'",
                "OpenSTA failed: Warning: netlist.v, line 3 pin left out",
            ),
            (
                f"{GOOD} echo Well; exit 3",
                "OpenSTA ended with status 3; the last line of its log: Well",
            ),
            (
                f"{GOOD} kill -SEGV $$",
                "OpenSTA was killed by signal 11 (Segmentation fault); "
                "the last line of its log: (none)",
            ),
        ],
    )
    def test_failing(self, design, program, script, message):
        program(script)
        assert self.fails(design) == f"top: {message}"

    @pytest.mark.parametrize("version", ["", "echo other program", "exit 1"])
    def test_no_version(self, design, program, version):
        path = program(self.GOOD, version or ":")
        assert self.fails(design) == f"OpenSTA failed: {path} -version does not give its version"

    def test_not_a_program(self, design, program):
        path = program("")
        path.write_text("#!/nowhere/sh\n")
        assert self.fails(design).startswith("OpenSTA failed: [Errno 2] No such file or directory")

    def test_cancelled(self, design, program):
        program("sleep 5")
        cancel = Event()
        cancel.set()
        start = time.monotonic()
        assert self.fails(design, cancel=cancel) == "the synthesis was cancelled"
        assert time.monotonic() - start < 3

    @pytest.mark.usefixtures("sta")
    @pytest.mark.parametrize(
        ("text", "replacement", "message"),
        [
            (" xor2 ", " xor9 ", "line .* module xor9 not found"),
            (r"\.A\(", ".Z(", "line .* port Z not found"),
            ("endmodule", "", "line .* syntax error"),
            (r"module top\(clk, ", "module top(", ".*clk"),
            ("module top", "module other", ".*top"),
        ],
    )
    def test_wrong_netlist(self, design, text, replacement, message):
        verilog = re.sub(text, replacement, design.verilog)
        assert verilog != design.verilog
        changed = replace(design, verilog=verilog)
        assert re.match(f"top: OpenSTA failed: .*{message}", self.fails(changed))
