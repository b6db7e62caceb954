import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory

from hw.config import SELECTORS, UnitConfig
from hw.emit import Emission, emit
from hw.parameters import TILE_UNITS

ROOT = Path(__file__).parents[2]

CONFIGS = {
    config.top: config
    for config in (
        UnitConfig(n=2, m=4, dtype="int4", metadata="index", pipeline=3),
        UnitConfig(n=3, m=7, dtype="fp8_e4m3"),
        UnitConfig(n=2, m=4, unit="selector", dtype="int4", pipeline=0),
        UnitConfig(n=4, m=4, unit="selector", dtype="bf16"),
        UnitConfig(n=3, m=5, unit="encoder"),
        UnitConfig(n=3, m=5, unit="encoder", metadata="index", pipeline=0),
        UnitConfig(n=3, m=7, unit="decoder", metadata="index", pipeline=2),
        UnitConfig(n=1, m=2, unit="decoder", pipeline=0),
        UnitConfig(n=2, m=4, unit="pe", dtype="int8", weight_dtype="int4", pipeline=2),
        UnitConfig(
            n=1,
            m=3,
            unit="pe",
            dtype="int4",
            metadata="index",
            check=False,
            acc_width=2,
            overflow="saturate",
        ),
        UnitConfig(n=2, m=4, unit="pe", dtype="int4", acc_width=64, name="wide_pe"),
        UnitConfig(
            n=2, m=4, unit="pe", dtype="int4", weight_select="gather", pipeline=2, name="asking_pe"
        ),
        UnitConfig(
            n=2, m=4, unit="pe", dtype="int4", weight_select="dense-skip", name="skipping_pe"
        ),
        *(
            UnitConfig(
                n=2,
                m=4,
                dtype="int4",
                selector=name,
                pipeline=stages,
                input_register=True,
                name=f"{name}_{stages}",
            )
            for name in SELECTORS
            for stages in (0, 2)
        ),
        UnitConfig(
            n=3, m=7, unit="selector", selector="threshold_serial", pipeline=0, name="serial"
        ),
        UnitConfig(flexible=((2, 4), (4, 8)), unit="selector", dtype="int4", pipeline=3),
        UnitConfig(flexible=((1, 3), (5, 9)), dtype="int4", metadata="index"),
        UnitConfig(n=2, m=5, n_runtime=True, dtype="int4", metadata="index", pipeline=0),
        UnitConfig(n=1, m=3, unit="scale_memory", scale_format="pow2", depth=5),
        UnitConfig(n=1, m=3, unit="correction", dtype="int8"),
        UnitConfig(n=1, m=3, unit="epilogue", dtype="int4", acc_width=9, pipeline=2),
        UnitConfig(n=1, m=3, unit="tile", dtype="int4", rows=2, cols=3, name="grid"),
        UnitConfig(flexible=((1, 2), (2, 4), (4, 8)), unit="tile", dtype="int4", rows=1, cols=1),
        UnitConfig(n=3, m=3, unit="tile", dtype="int4", rows=2, cols=1),
        UnitConfig(
            n=1, m=3, unit="axi_tile", dtype="int4", rows=1, cols=2, criterion="scaled", depth=3
        ),
    )
}


@cache
def emission(top: str) -> Emission:
    return emit(CONFIGS[top])


every_unit = pytest.mark.parametrize("top", CONFIGS)


def code(verilog: str) -> str:
    """The Verilog without its comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", verilog, flags=re.DOTALL)


@pytest.mark.parametrize("top", ["nm_sparsifier_2_4_int4", "nm_pe_2_4_int8_int4"])
def test_same_bytes_in_every_process(top, tmp_path):
    command = CONFIGS[top].command.split()[1:]
    made = []
    for seed, folder in (("1", tmp_path / "first"), ("2", tmp_path / "second/below")):
        subprocess.run(
            [sys.executable, *command, "-o", str(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": f"UTC+{seed}"},
            check=True,
            capture_output=True,
        )
        made.append([(folder / f"{top}.{ending}").read_bytes() for ending in ("v", "json")])
    assert made[0] == made[1]
    assert made[0] == [emission(top).verilog.encode(), emission(top).manifest_text.encode()]


#: Modules that a tile has instances of.
PARTS = ("row", "column", "join", "pe")


@every_unit
def test_modules_of_plain_names(top):
    text = code(emission(top).verilog)
    modules = [top]
    if CONFIGS[top].unit == "axi_tile":
        modules.append(f"{top}_tile")
    if CONFIGS[top].unit in TILE_UNITS:
        modules += [f"{modules[-1]}_{part}" for part in PARTS]
    assert re.findall(r"\bmodule\s+(\S+?)\(", text) == modules
    assert text.count("endmodule") == len(modules)
    assert "\\" not in text
    assert "(*" not in text
    assert '"' not in text
    # Nothing that simulators alone run, no contents of memories, and no state but theirs and that
    # of flip-flops.
    assert not re.search(r"\$(display|finish|random)|\binitial\b|\blogic\b|\balways_", text)


@every_unit
def test_nothing_of_the_machine(top):
    for text in (emission(top).verilog, emission(top).manifest_text):
        for word in ("/tmp", "/home", "/root", "/usr", str(ROOT), sys.prefix, ".venv", "Generated"):
            assert word not in text
        assert not re.search(r"\b20\d\d-\d\d|\d\d:\d\d:\d\d", text)
        assert text.isascii()
        assert text.endswith("\n")


@every_unit
def test_ports_are_those_of_the_manifest(top):
    text = code(emission(top).verilog)
    manifest = emission(top).manifest
    header = re.search(rf"^module {top}\(([^)]*)\);", text, flags=re.MULTILINE)
    names = [name.strip() for name in header[1].split(",")]
    text = text[: text.index("endmodule")]
    assert names == [port["name"] for port in manifest["ports"]]
    declared = {
        name: (direction, int(high or 0) + 1)
        for direction, high, name in re.findall(
            r"^\s*(input|output)\s+(?:(?:wire|reg)\s+)?(?:\[(\d+):0\]\s*)?(\w+);",
            text,
            flags=re.MULTILINE,
        )
    }
    assert declared == {
        port["name"]: (port["direction"], port["width"]) for port in manifest["ports"]
    }
    for port in manifest["ports"]:
        bits = [
            field["offset"] + bit
            for field in port["fields"]
            for bit in range(field["count"] * field["width"])
        ]
        assert bits == list(range(port["width"]))


@pytest.mark.parametrize(("top", "rows", "cols"), [("grid", 2, 3), ("nm_tile_3_3_int4", 2, 1)])
def test_a_tile_is_nothing_but_its_parts(top, rows, cols):
    """Instances, and wires that are parts of others: no gates, no registers."""
    text = code(emission(top).verilog)
    text = text[: text.index("endmodule")]
    counts = {part: len(re.findall(rf"^\s*{top}_{part} \w+ \(", text, re.M)) for part in PARTS}
    assert counts == {"row": rows, "column": cols, "join": 1, "pe": rows * cols}
    assert "always" not in text
    for right in re.findall(r"assign .*? = (.*?);", text, re.S):
        assert re.fullmatch(r"[\w\s{},:\[\]']+", right)


@every_unit
def test_header_says_what_it_is(top):
    verilog, manifest = emission(top).verilog, emission(top).manifest
    lines = verilog.splitlines()
    assert lines[0].startswith(f"// {top}: ")
    assert lines[1] == (
        f"// Latency in cycles: {manifest['latency_cycles']}.  Cycles from group to group when "
        f"nothing stalls: {manifest['initiation_interval']}."
    )
    comment = " ".join(line.removeprefix("//").strip() for line in lines[: lines.index("")])
    assert f"Made by: {manifest['command']} " in comment
    assert f"yosys {manifest['tools']['yosys']}" in comment


@every_unit
def test_manifest_text(top):
    manifest = emission(top).manifest
    assert json.loads(emission(top).manifest_text) == manifest
    assert emission(top).top == manifest["top"] == top
    assert manifest["parameters"] == CONFIGS[top].parameters


@every_unit
def test_combinational_units_have_no_registers(top):
    clocked = "posedge" in code(emission(top).verilog)
    config = CONFIGS[top]
    assert clocked == bool(config.pipeline or config.input_register or config.is_serial)


@every_unit
def test_a_simulator_reads_it_without_warnings(top, tmp_path):
    iverilog = shutil.which("iverilog")
    if iverilog is None:
        pytest.skip("iverilog is not installed")
    source = tmp_path / f"{top}.v"
    source.write_text(emission(top).verilog)
    run = subprocess.run(
        [iverilog, "-g2005", "-Wall", "-s", top, "-o", str(tmp_path / "out"), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize(("m", "scale", "depth"), [(2, "u8", 200), (64, "u32", 65536)])
def test_text_does_not_grow_with_a_memory(m, scale, depth):
    """Nor does the time: 2**28 bits are as quick as 6,400."""
    config = UnitConfig(n=1, m=m, unit="scale_memory", scale_format=scale, depth=depth)
    text = code(emit(config).verilog)
    arrays = re.findall(r"reg \[(\d+):0\] \w+ \[(\d+):0\];", text)
    assert arrays == [(str(m * config.scale.width - 1), str(2 * depth - 1))]
    assert len(text.splitlines()) < 200


def test_amaranth_is_left_as_it_was():
    """What is emitted by others has the contents of memories."""

    class Contents(wiring.Component):
        data: wiring.Out(8)

        def elaborate(self, _platform):
            m = Module()
            m.submodules.memory = memory = Memory(shape=8, depth=1, init=[42])
            m.d.comb += self.data.eq(memory.read_port(domain="comb").data)
            return m

    emission("nm_scale_memory_1_3_pow2")
    assert "8'00101010" in rtlil.convert(Contents())


def test_names_of_ports_may_name_the_top():
    """Modules and nets have name spaces of their own."""
    verilog = emit(UnitConfig(n=1, m=2, dtype="int4", name="i_data")).verilog
    assert "\nmodule i_data(\n  clk,\n" in verilog


def test_a_failing_yosys_is_an_error(monkeypatch):
    import hw.emit as module

    monkeypatch.setattr(module, "_YOSYS_SCRIPT", "no_such_pass\n")
    with pytest.raises(RuntimeError) as caught:
        emit(UnitConfig(n=1, m=2, dtype="int4"))
    message = str(caught.value)
    assert message.startswith("yosys failed to write nm_sparsifier_1_2_int4: ")
    assert "no_such_pass" in message
