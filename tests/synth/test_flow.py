import gzip
import json
import re
import time
from collections import Counter
from threading import Event

import pytest

from synth import flow
from synth.flow import FLOWS, Flow, SynthesisError, synthesize
from synth.liberty import GENERIC, read_liberty

NAND = "module top(input a, b, output y); assign y = ~(a & b); endmodule"
DFF = "module top(input clk, d, output reg q); always @(posedge clk) q <= d; endmodule"


ENABLED = (
    "module top(input clk, e, d, output reg q); always @(posedge clk) if (e) q <= d; endmodule"
)


def chain(stages):
    """Per stage that many xors in a row, each with an input of its own, then a register."""
    lines = [f"input [{sum(stages) - 1}:0] x, input clk, a, output y"]
    lines = [f"module top({lines[0]});", "wire s0 = a;"]
    place = 0
    for stage, length in enumerate(stages):
        # A balanced tree would be shorter, but not with an AND between the xors.
        term = f"s{stage}"
        for _ in range(length):
            term = f"~({term} & x[{place}])"
            place += 1
        lines.append(f"reg s{stage + 1}; always @(posedge clk) s{stage + 1} <= {term};")
    return "\n".join([*lines, f"assign y = s{len(stages)};", "endmodule"])


def fails(verilog, library, top="top", **options):
    with pytest.raises(SynthesisError) as caught:
        synthesize(verilog, top, library, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", FLOWS)
class TestEveryFlow:
    @pytest.fixture
    def library(self, generic, delays, name):
        return delays if FLOWS[name].needs_delays else generic

    def test_nand(self, library, name):
        result = synthesize(NAND, "top", library, name)
        assert (result.area, result.combinational, result.sequential) == (1.0, 1.0, 0.0)
        assert result.cells == {"nand2": 1}
        assert result.longest_path == 1
        assert (result.top, result.flow, result.library) == ("top", name, library)
        assert re.fullmatch(r"yosys \d+\.\d+\S* \(pyosys\)", result.tool)
        assert result.seconds > 0

    def test_register(self, library, name):
        result = synthesize(DFF, "top", library, name)
        assert (result.area, result.combinational, result.sequential) == (6.0, 0.0, 6.0)
        assert result.cells == {"dff": 1}
        assert result.longest_path == 0

    def test_adder(self, library, name):
        verilog = "module top(input [7:0] a, b, output [8:0] s); assign s = a + b; endmodule"
        result = synthesize(verilog, "top", library, name)
        # A ripple adder of half and full adders of xors and nands takes 3.5 + 7 * 8; no 8-bit
        # adder has fewer than 5 gates in a row of at most four inputs.
        assert 35 < result.area < 75
        assert 5 <= result.longest_path <= 16
        assert result.sequential == 0

    def test_longest_of_several_stages(self, library, name):
        result = synthesize(chain([3, 5, 2]), "top", library, name)
        assert result.sequential == 18
        # abc may merge two NANDs into a gate of three inputs.
        assert 3 <= result.longest_path <= 5
        assert result.longest_path > synthesize(chain([2]), "top", library, name).longest_path

    def test_wires_have_no_area(self, library, name):
        verilog = "module top(input a, output y, z); assign y = a, z = 1; endmodule"
        result = synthesize(verilog, "top", library, name)
        assert (result.area, result.cells, result.longest_path) == (0, {}, 0)


def test_same_twice(generic):
    verilog = "module top(input [7:0] a, b, output [15:0] p); assign p = a * b; endmodule"
    first, second = (synthesize(verilog, "top", generic) for _ in range(2))
    assert first.cells == second.cells


def test_hierarchy_is_flattened(generic):
    verilog = (
        f"{NAND.replace('top', 'low')} module top(input a, output y); low l(a, a, y); endmodule"
    )
    assert synthesize(verilog, "top", generic).cells == {"inv": 1}


def test_files(generic, tmp_path):
    # Names with blanks, SystemVerilog, several files, and an assertion, which is no silicon.
    low, top = tmp_path / "a low.v", tmp_path / "the top.sv"
    low.write_text(NAND.replace("top", "low"))
    top.write_text(
        "module top(input logic clk, a, b, output logic y); low l(a, b, y);"
        "always_ff @(posedge clk) begin assert (a != b); $display(a); end endmodule"
    )
    assert synthesize([low, top], "top", generic).cells == {"nand2": 1}


def test_compressed_library(tmp_path):
    path = tmp_path / "a library.lib.gz"
    path.write_bytes(gzip.compress(GENERIC.read_bytes()))
    assert synthesize(NAND, "top", read_liberty(path)).area == 1.0


def test_nothing_is_printed(generic, capfd):
    synthesize(NAND, "top", generic)
    assert capfd.readouterr() == ("", "")


def test_unknown_flow(generic):
    with pytest.raises(ValueError) as caught:
        synthesize(NAND, "top", generic, "best")
    assert str(caught.value) == "flow must be one of plain, bounded, timed, not 'best'"


def test_netlist_as_verilog(generic):
    # Constants, parts of buses and wires, without what simple readers do not know.
    verilog = (
        "module top(input clk, input [3:0] a, output [7:0] y); reg [1:0] \\odd.name ;"
        "reg [2:0] s; always @(posedge clk) {s, \\odd.name } <= {{1'b0, a[1:0]} + a[3:2], a[2:1]};"
        "assign y = {2'b10, a[0], \\odd.name , s}; endmodule"
    )
    first = synthesize(verilog, "top", generic)
    assert "\\odd.name[0] " in first.verilog or "\\odd.name " in first.verilog
    assert not re.search(r"assign \{|\(\*|'h|\bparameter\b|\bspecify\b", first.verilog)
    assert set(re.findall(r"^  (\w+) cell_\d+ \(", first.verilog, re.MULTILINE)) == set(first.cells)
    # With a library of models it is the same design again.
    models = "".join(
        f"(* blackbox *) module {name}({', '.join(cell.pins)}); input {', '.join(cell.inputs)};"
        f"output {', '.join(cell.outputs)}; endmodule\n"
        for name, cell in generic.cells.items()
        if name in first.cells
    )
    again = synthesize(models + first.verilog, "top", generic)
    assert again.cells == first.cells
    assert again.netlist.registers == first.netlist.registers


class TestTimed:
    """The flow for speed."""

    def test_summary(self):
        assert FLOWS["timed"].summary == (
            "synth -noabc -flatten; dffunmap -ce-only; opt_clean; dfflibmap -liberty; "
            "abc -liberty -script 'strash; dch; map; topo; buffer -c -p -N 20; upsize; dnsize'; "
            "both with -dont_use *dly*, *lpflow*, *probe*, *edf*"
        )
        assert FLOWS["plain"].summary == (
            "synth -noabc -flatten; dfflibmap -liberty; abc -liberty with yosys's own script"
        )

    def test_avoided(self, tempting):
        assert FLOWS["timed"].avoided(tempting) == ["dlynand2", "EDFF"]
        assert FLOWS["plain"].avoided(tempting) == []

    def test_avoided_of_sky130(self, sky130):
        avoided = FLOWS["timed"].avoided(sky130)
        families = {re.match(r"sky130_fd_sc_hd__(\D+)", name)[1] for name in avoided}
        assert families == {
            *("clkdlybuf", "dlygate", "dlymetal", "probe_p_", "probec_p_"),
            *("edfxbp_", "edfxtp_", "sedfxbp_", "sedfxtp_"),
            *(family for family in families if family.startswith("lpflow_")),
        }

    @pytest.mark.parametrize("flow", ["plain", "bounded", "timed"])
    def test_cells_to_avoid(self, tempting, flow):
        nand = synthesize(NAND, "top", tempting, flow).cells
        register = synthesize(ENABLED, "top", tempting, flow).cells
        if flow == "timed":
            assert nand == {"nand2": 1}
            assert "EDFF" not in register
            assert register["dff"] == 1
            assert sum(register.values()) > 1
        else:
            # The temptation is one.
            assert nand == {"dlynand2": 1}
            assert register == {"EDFF": 1}

    def test_cells_to_avoid_of_sky130(self, sky130):
        avoided = {
            flow: set(FLOWS["timed"].avoided(sky130))
            & set(synthesize(ENABLED, "top", sky130, flow).cells)
            for flow in FLOWS
        }
        enabled = {"sky130_fd_sc_hd__edfxtp_1"}
        assert avoided == {"plain": enabled, "bounded": enabled, "timed": set()}

    def test_fanout(self, sky130):
        """Heavy nets are buffered, an enable among them."""
        verilog = (
            "module top(input clk, e, f, input [255:0] d, output reg [255:0] q);"
            "always @(posedge clk) if (e ^ f) q <= d; endmodule"
        )
        netlist = synthesize(verilog, "top", sky130, "timed").verilog
        loads = Counter(re.findall(r"\.(?!CLK\b)\w+\(([^()]+)\)", netlist))
        # One of the pins drives.
        assert max(loads.values()) <= 21
        netlist = synthesize(verilog, "top", sky130, "plain").verilog
        loads = Counter(re.findall(r"\.(?!CLK\b)\w+\(([^()]+)\)", netlist))
        assert max(loads.values()) > 200

    def test_needs_delays(self, generic):
        with pytest.raises(ValueError) as caught:
            synthesize(NAND, "top", generic, "timed")
        assert str(caught.value) == (
            "flow timed must be given a library with delays, not nmsparse_generic"
        )

    def test_instantiated_cells_stay(self, tempting):
        verilog = (
            "(* blackbox *) module dlynand2(input A, B, output Y); endmodule "
            "module top(input a, b, output y); dlynand2 mine(a, b, y); endmodule"
        )
        assert synthesize(verilog, "top", tempting, "timed").cells == {"dlynand2": 1}


class TestErrors:
    def test_syntax(self, generic, tmp_path):
        path = tmp_path / "wrong.v"
        path.write_text("module top(input a output y); endmodule")
        message = fails(path, generic)
        assert message.startswith(f"yosys failed: {path}:1: syntax error, unexpected TOK_OUTPUT")

    def test_syntax_in_text_names_no_temporary_folder(self, generic):
        assert fails("module", generic).startswith("yosys failed: top.v:1: syntax error")

    def test_top(self, generic):
        assert fails(NAND, generic, "other") == "yosys failed: Module `other' not found!"

    def test_missing_file(self, generic, tmp_path):
        path = tmp_path / "none.v"
        assert fails(path, generic).startswith(f"yosys failed: File `{path}' not found")

    def test_unknown_module(self, generic):
        message = fails("module top(output y); foo f(y); endmodule", generic)
        assert message.startswith("yosys failed: Module `\\foo' referenced in module `\\top'")

    def test_unmapped(self, generic):
        black = "(* blackbox *) module foo(input a, output y); endmodule "
        verilog = f"{black} module top(input a, output y); foo f(a, y); endmodule"
        assert fails(verilog, generic) == (
            "top: every cell must be one of library nmsparse_generic, not foo"
        )

    def test_undriven(self, generic):
        verilog = "module top(input a, output y, z); assign y = ~a; endmodule"
        assert fails(verilog, generic) == "top: every output must be driven, but z is not"
        verilog = "module top(input a, output y); endmodule"
        assert fails(verilog, generic) == "top: every output must be driven, but y is not"

    def test_no_outputs(self, generic):
        assert fails("module top(input a); endmodule", generic) == (
            "top: a design must have an output; without, nothing of it is left"
        )

    def test_loop(self, generic):
        verilog = (
            "module top(input s, r, output q); wire p = ~(r & q); assign q = ~(s & p); endmodule"
        )
        message = fails(verilog, generic)
        assert message.startswith("top: a combinational loop runs through or before cell ")

    def test_cell_without_area(self, tmp_path):
        path = tmp_path / "odd.lib"
        text = GENERIC.read_text()
        path.write_text(re.sub(r"(cell \(dff\) \{\n)\s+area : 6;", r"\1", text))
        assert path.read_text() != text
        assert fails(DFF, read_liberty(path)) == (
            "top: every cell must have an area in library nmsparse_generic, not only some: "
            "dff have none"
        )

    def test_area_of_zero(self, tmp_path):
        path = tmp_path / "zero.lib"
        path.write_text(re.sub(r"area : [0-9.]+;", "area : 0;", GENERIC.read_text()))
        assert fails(NAND, read_liberty(path)) == "top: area must be more than 0, not 0"


class TestGuards:
    """A run that looks well must not pass without a sound report."""

    @pytest.fixture
    def child(self, monkeypatch, tmp_path):
        def replace(program):
            path = tmp_path / "child.py"
            path.write_text(f"import json, os, pathlib, sys\n{program}")
            monkeypatch.setattr(flow, "_CHILD", path)

        return replace

    def test_no_report(self, generic, child):
        child("")
        assert fails(NAND, generic) == "yosys ended without an error but left no netlist.json"

    @pytest.mark.parametrize(
        ("text", "how"),
        [("", "broken"), ("{", "broken"), ("{}", "empty"), ('{"modules": {}}', "empty")],
    )
    def test_empty_report(self, generic, child, text, how):
        child(f"pathlib.Path(sys.argv[1]).with_name('netlist.json').write_text({text!r})")
        assert fails(NAND, generic) == f"yosys ended without an error but its netlist.json is {how}"

    def test_other_module(self, generic, child):
        text = json.dumps({"modules": {"other": {}}})
        child(f"pathlib.Path(sys.argv[1]).with_name('netlist.json').write_text({text!r})")
        assert fails(NAND, generic) == "yosys ended without an error but its netlist has no top"

    def test_killed(self, generic, child):
        child("print('Mapping ...', flush=True)\nos.kill(os.getpid(), 11)")
        assert fails(NAND, generic) == (
            "yosys was killed by signal 11 (Segmentation fault); "
            "the last line of its log: Mapping ..."
        )

    def test_status(self, generic, child):
        child("sys.exit(3)")
        assert fails(NAND, generic) == (
            "yosys ended with status 3; the last line of its log: (none)"
        )

    def test_no_pyosys(self, generic, monkeypatch):
        monkeypatch.setattr(flow.importlib.util, "find_spec", lambda _: None)
        assert fails(NAND, generic) == "synthesis needs pyosys: pip install pyosys"

    def test_cancelled_ends_all_processes(self, generic, child, tmp_path):
        mark = tmp_path / "mark"
        # A grandchild, as abc is.
        program = f"import time, pathlib; time.sleep(3); pathlib.Path({str(mark)!r}).touch()"
        child(f"import subprocess\nsubprocess.run([sys.executable, '-c', {program!r}])")
        cancel = Event()
        cancel.set()
        start = time.monotonic()
        assert fails(NAND, generic, cancel=cancel) == "the synthesis was cancelled"
        assert time.monotonic() - start < 3
        time.sleep(3.5)
        assert not mark.exists()

    @staticmethod
    def register(monkeypatch, change, flow="plain"):
        class Seeded(Flow):
            def commands(self, *arguments):
                return change(FLOWS[flow].commands(*arguments))

        seeded = Seeded(**(vars(FLOWS[flow]) | {"name": "seeded"}))
        monkeypatch.setitem(FLOWS, "seeded", seeded)

    def test_flow_that_does_not_map(self, generic, monkeypatch):
        self.register(monkeypatch, lambda _: [])
        assert fails(NAND, generic, flow="seeded") == (
            "top: every cell must be one of library nmsparse_generic, not $_AND_, $_NOT_"
        )

    def test_flow_that_loses_the_design(self, generic, monkeypatch):
        self.register(monkeypatch, lambda _: [["delete", "*"]])
        assert fails(NAND, generic, flow="seeded").endswith("netlist.json is empty")

    def test_flow_that_loses_cells(self, generic, monkeypatch):
        self.register(monkeypatch, lambda commands: [*commands, ["delete", "*/t:nand2"]])
        message = fails(NAND, generic, flow="seeded")
        assert message == "top: every output must be driven, but y is not"

    def test_flow_that_forgets_what_to_avoid(self, tempting, monkeypatch):
        def forget(commands):
            return [
                [word for word in command if word not in ("-dont_use", "dlynand2", "EDFF")]
                for command in commands
            ]

        self.register(monkeypatch, forget, "timed")
        assert fails(NAND, tempting, flow="seeded") == (
            "top: flow seeded must not map to dlynand2, but did"
        )

    def test_mapper_that_fails(self, generic, monkeypatch):
        monkeypatch.setitem(FLOWS, "seeded", Flow("seeded", "strash; nonsense; map"))
        assert fails(NAND, generic, flow="seeded") == (
            "yosys failed: abc: unknown command 'nonsense'"
        )

    def test_mapper_that_breaks_down(self, generic, monkeypatch):
        monkeypatch.setitem(FLOWS, "seeded", Flow("seeded", "strash; map; stime -p"))
        message = fails(NAND, generic, flow="seeded")
        assert message.startswith("yosys failed: abc: ")
        assert "Assertion" in message

    @pytest.mark.parametrize("quits", ["quit", "strash; quit"])
    def test_mapper_that_quits(self, generic, monkeypatch, quits):
        monkeypatch.setitem(FLOWS, "seeded", Flow("seeded", quits))
        message = fails(NAND, generic, flow="seeded")
        assert message.startswith("yosys failed: Can't open ABC output file")

    def test_mapper_that_does_not_finish(self, generic, child):
        child(
            "print('Running ABC script: abc.script')\n"
            "print('ABC: + read_blif input.blif', flush=True)"
        )
        assert fails(NAND, generic) == (
            "yosys ended without an error but its mapper, abc, did not finish"
        )

    def test_report_of_another_library(self, tmp_path):
        # The areas that yosys reads are not those that were read before.
        path = tmp_path / "changed.lib"
        path.write_text(GENERIC.read_text())
        library = read_liberty(path)
        path.write_text(re.sub(r"area : 1;", "area : 2;", path.read_text()))
        assert fails(NAND, library) == (
            "top: yosys reports an area of 2, but its netlist adds up to 1"
        )


def compare_matrix(n, m, width):
    """Mask of the n largest of m keys: every lane counts the lanes that beat it."""
    lines = [f"module top(input [{m * width - 1}:0] x, output [{m - 1}:0] mask);"]
    lines += [f"wire [{width - 1}:0] k{j} = x[{j * width} +: {width}];" for j in range(m)]
    beats = {}
    for i in range(m):
        for j in range(i + 1, m):
            # The lower lane wins a tie.
            lines.append(f"wire b{j}_{i} = k{i} < k{j};")
            beats[j, i], beats[i, j] = f"b{j}_{i}", f"~b{j}_{i}"
    bits = m.bit_length()
    for j in range(m):
        terms = " + ".join(f"{{{bits - 1}'d0, {beats[i, j]}}}" for i in range(m) if i != j)
        lines.append(f"wire [{bits - 1}:0] r{j} = {terms};")
        lines.append(f"assign mask[{j}] = r{j} < {n};")
    return "\n".join([*lines, "endmodule"])


@pytest.mark.parametrize("name", ["plain", "bounded"])
@pytest.mark.parametrize(("n", "m", "area"), [(2, 4, 1580), (4, 8, 6965), (8, 16, 29566)])
def test_reference_areas(sky130, name, n, m, area):
    result = synthesize(compare_matrix(n, m, 16), "top", sky130, name)
    assert result.area == pytest.approx(area, rel=0.02)
