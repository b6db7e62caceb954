"""The study of the metadata codes, with made-up tools."""

import json
import subprocess
import sys

import pytest

from hw.config import UnitConfig
from synth.growth import LAWS
from synth.plain_matrix import plain_matrix
from synth.process import SynthesisError
from tests.synth.tiny_study import Tools, refused

pytestmark = pytest.mark.usefixtures("committed")

TINY = "--units encoder,decoder,pe --codes bitmap,enumerative --patterns 2:4,4:8 --pipelines 1,4"
COMMAND = f"python -m synth.report codes {TINY} --liberty delays.lib"

#: Of the selector of 2:4 in both flows, and of the plain matrix; that of 4:8 is four times as much.
SELECTORS = {"plain": 1000.0, "timed": 2000.0}
MATRICES = {"plain": 1250.0, "timed": 5000.0}


class CodeTools(Tools):
    """Costs by what a unit is.

    A matrix is known by None, its pattern and its flow; an area may be told.
    """

    def __init__(self):
        super().__init__()
        self.areas = {}

    @staticmethod
    def key(config):
        if config is None:
            return "matrix"
        return config.unit, config.metadata, config.n, config.stages, config.serial

    @staticmethod
    def sequential(config):
        if config is None:
            return 0.0
        return 30.0 * (config.stages + config.serial)

    def cost(self, design, flow):
        config = design.config
        if config is None or config.unit == "selector":
            n = int(design.top.split("_")[2])
            return ((SELECTORS if config else MATRICES)[flow] * n**2 / 4, 1.5)
        area = {"bitmap": 10.0, "enumerative": 100.0}[config.metadata] * config.n
        area += 50.0 * config.stages + 300.0 * config.serial + 1000.0 * (config.unit == "pe")
        if flow == "timed":
            area *= 2
        return self.areas.get((self.key(config), flow), area), 4.0 / (1 + config.stages)


@pytest.fixture
def tools(use_tools):
    return use_tools(CodeTools())


@pytest.fixture
def run(run_study, tools):  # noqa: ARG001 - in their places
    def run(*more, status=0):
        return run_study("codes", *TINY.split(), *more, status=status)

    return run


def section(lines, title):
    """The rows of a table, without the lines at its top, words parted by single spaces."""
    start = lines.index(title) + 4
    end = lines.index("", start)
    return [" ".join(line.split()) for line in lines[start:end]]


PLAIN = "Areas, flow plain"
TIMED = "Clocks, flow timed"
HELD = "What they are held against"


class TestTables:
    def test_head(self, run, out):
        lines = run()
        assert lines[2].startswith("flow: plain (synth ")
        assert lines[3].startswith("flow: timed (synth ")
        assert lines[5] == f"command: {COMMAND}"
        assert lines[-1] == f"wrote {out / 'codes.json'} and {out / 'codes.md'}"
        markdown = (out / "codes.md").read_text()
        assert markdown.startswith("# Metadata codes\n\n- tool: ")
        assert f"- command: `{COMMAND}`\n" in markdown
        assert f"\n\n## {PLAIN}\n\n| unit " in markdown
        assert str(out) not in markdown + (out / "codes.json").read_text()

    def test_bits(self, run, out):
        # 2:4: C = 6 masks, 3 bits; 4:8: 70 masks, 7 bits.
        assert section(run(), "Bits") == [
            "2:4 bitmap 4 1.0000 0.7500 1.333 1.600 1.778",
            "2:4 enumerative 3 0.7500 0.7500 1.455 1.684 1.829",
            "4:8 bitmap 8 1.0000 0.8750 1.333 1.600 1.778",
            "4:8 enumerative 7 0.8750 0.8750 1.391 1.641 1.803",
        ]
        codes = json.loads((out / "codes.json").read_text())["codes"]
        assert codes[1] == {
            "pattern": "2:4",
            "code": "enumerative",
            "bits": 3,
            "bits_per_element": 0.75,
            "least_bits_per_element": 0.75,
            "compression_ratio": {
                # 4 values of W bits over 2 values and 3 bits.
                "int4": round(16 / 11, 6),
                "int8": round(32 / 19, 6),
                "int16": round(64 / 35, 6),
                "fp16": round(64 / 35, 6),
                "bf16": round(64 / 35, 6),
                "fp8_e4m3": round(32 / 19, 6),
                "fp8_e5m2": round(32 / 19, 6),
            },
        }

    def test_units(self, run):
        lines = run()
        # Of the selector in the same flow, of the matrix in the flow plain.
        assert section(lines, PLAIN) == [
            "encoder 2:4 bitmap 0 20.0 20.0 20.0 0.0 4.000 - 0.020 0.016 within 0.15",
            "encoder 2:4 enumerative 0 200.0 200.0 200.0 0.0 4.000 - 0.200 0.160 above 0.15",
            "encoder 2:4 enumerative, serial 0 500.0 500.0 500.0 30.0 4.000 5 0.500 0.400 "
            "above 0.30",
            "encoder 4:8 bitmap 0 40.0 40.0 40.0 0.0 4.000 - 0.010 0.008 within 0.15",
            "encoder 4:8 enumerative 0 400.0 400.0 400.0 0.0 4.000 - 0.100 0.080 within 0.15",
            "encoder 4:8 enumerative, serial 0 700.0 700.0 700.0 30.0 4.000 9 0.175 0.140 "
            "within 0.30",
            "decoder 2:4 bitmap 0 20.0 20.0 20.0 0.0 4.000 - 0.020 0.016 within 0.15",
            "decoder 2:4 enumerative 0 200.0 200.0 200.0 0.0 4.000 - 0.200 0.160 above 0.15",
            "decoder 2:4 enumerative, serial 0 500.0 500.0 500.0 30.0 4.000 5 0.500 0.400 "
            "above 0.30",
            "decoder 4:8 bitmap 0 40.0 40.0 40.0 0.0 4.000 - 0.010 0.008 within 0.15",
            "decoder 4:8 enumerative 0 400.0 400.0 400.0 0.0 4.000 - 0.100 0.080 within 0.15",
            "decoder 4:8 enumerative, serial 0 700.0 700.0 700.0 30.0 4.000 9 0.175 0.140 "
            "within 0.30",
            "pe 2:4 bitmap 1 1,070.0 1,070.0 1,070.0 30.0 2.000 1 - - -",
            "pe 2:4 enumerative 1 1,250.0 1,250.0 1,250.0 30.0 2.000 1 - - -",
            "pe 4:8 bitmap 1 1,090.0 1,090.0 1,090.0 30.0 2.000 1 - - -",
            "pe 4:8 enumerative 1 1,450.0 1,450.0 1,450.0 30.0 2.000 1 - - -",
        ]
        # Four stages are more than two slots.
        assert section(lines, TIMED)[:6] == [
            "encoder 2:4 enumerative 1 500.0 500.0 500.0 30.0 2.000 1 0.250 0.400 above 0.30",
            "encoder 2:4 enumerative, serial 0 1,000.0 1,000.0 1,000.0 30.0 4.000 5 0.500 0.800 "
            "above 0.30",
            "encoder 4:8 enumerative 1 900.0 900.0 900.0 30.0 2.000 1 0.113 0.180 within 0.30",
            "encoder 4:8 enumerative 4 1,200.0 1,200.0 1,200.0 120.0 0.800 1 0.150 0.240 "
            "within 0.30",
            "encoder 4:8 enumerative, serial 0 1,400.0 1,400.0 1,400.0 30.0 4.000 9 0.175 0.280 "
            "within 0.30",
            "decoder 2:4 enumerative 1 500.0 500.0 500.0 30.0 2.000 1 0.250 0.400 above 0.30",
        ]
        assert section(lines, HELD) == [
            "nm_selector_2_4_bf16 plain 1,000.0 1,000.0 1,000.0 0.0 1.500",
            "plain_matrix_2_4 plain 1,250.0 1,250.0 1,250.0 0.0 1.500",
            "nm_selector_2_4_bf16 timed 2,000.0 2,000.0 2,000.0 0.0 1.500",
            "plain_matrix_2_4 timed 5,000.0 5,000.0 5,000.0 0.0 1.500",
            "nm_selector_4_8_bf16 plain 4,000.0 4,000.0 4,000.0 0.0 1.500",
            "plain_matrix_4_8 plain 5,000.0 5,000.0 5,000.0 0.0 1.500",
            "nm_selector_4_8_bf16 timed 8,000.0 8,000.0 8,000.0 0.0 1.500",
            "plain_matrix_4_8 timed 20,000.0 20,000.0 20,000.0 0.0 1.500",
        ]

    def test_json(self, run, out):
        run()
        content = json.loads((out / "codes.json").read_text())
        assert list(content) == ["context", "codes", "rows", "failures", "growth"]
        assert content["failures"] == []
        assert content["context"]["flow"] == "plain,timed"
        by = {
            (row["name"], row["flow"], row["parameters"].get("pipeline")): row
            for row in content["rows"]
        }
        row = by["nm_encoder_4_8_enumerative", "timed", 4]
        assert (row["of_selector"], row["of_matrix"], row["bar"]) == (0.15, 0.24, 0.3)
        assert (row["latency_cycles"], row["initiation_interval"]) == (4, 1)
        assert row["sequential"] == 120
        # What does more than convert is held against nothing, and so is what others are held to.
        assert "bar" not in by["nm_pe_4_8_int8", "plain", 1]
        assert "bar" not in by["nm_selector_4_8_bf16", "plain", 0]
        assert by["plain_matrix_4_8", "timed", None]["area"] == 20000

    def test_on_the_bar(self, run, tools):
        tools.areas[("decoder", "bitmap", 2, 0, False), "plain"] = 0.15 * 1250
        tools.areas[("decoder", "bitmap", 4, 0, False), "plain"] = 0.15 * 5000 + 1
        rows = section(run(), PLAIN)
        assert rows[6].endswith("0.150 within 0.15")
        assert rows[9].endswith("0.150 above 0.15")

    def test_codes_without_a_clock(self, run):
        lines = run("--codes", "bitmap")
        assert TIMED not in lines
        assert not any("timed" in line for line in lines if not line.startswith("command"))
        assert len(section(lines, HELD)) == 4

    def test_fewest_stages(self, run):
        units = "decompressor,pe,sparsifier"
        rows = section(run("--units", units, "--codes", "bitmap", "--patterns", "2:4"), PLAIN)
        assert [row.split()[:4] for row in rows] == [
            ["decompressor", "2:4", "bitmap", "0"],
            ["pe", "2:4", "bitmap", "1"],
            ["sparsifier", "2:4", "bitmap", "2"],
        ]

    def test_growth(self, run, tools, out):
        law = next(
            law
            for law in LAWS
            if (law.unit, law.code, law.quantity) == ("encoder", "enumerative", "area")
        )
        tools.areas[("encoder", "enumerative", 2, 0, False), "plain"] = law.count(2, 4) * 5
        tools.areas[("encoder", "enumerative", 4, 0, False), "plain"] = law.count(4, 8) * 2.5
        # Neither registers nor the other flow count.
        tools.areas[("encoder", "enumerative", 4, 0, True), "plain"] = 1e6
        tools.areas[("encoder", "enumerative", 4, 1, False), "timed"] = 1e6
        rows = section(run(), "Growth")
        assert rows[0] == f"encoder enumerative area {law.counted} 2.5 -50% +0%"
        # 4 ns of 4 and of 8 lanes.
        assert rows[1] == "encoder enumerative delay M 0.5 -50% +0%"
        growth = json.loads((out / "codes.json").read_text())["growth"]
        assert growth[1] == {
            "unit": "encoder",
            "code": "enumerative",
            "quantity": "delay",
            "counted": "M",
            "coefficient": 0.5,
            "errors": {"2:4": -0.5, "4:8": 0.0},
        }
        assert len(rows) == len(growth) == 6

    def test_no_growth_of_small_ones(self, run):
        assert "Growth" not in run("--patterns", "2:4")


class TestResume:
    def test_nothing_is_measured_twice(self, run, tools, out):
        lines = run()
        count = len(tools.measured)
        # 16 and 10 rows and what they are held against, which has no generator.
        assert (count, len(tools.emitted)) == (34, 30)
        again = run()
        assert again[0] == f"{count} of {count} units are in {out / 'results.jsonl'}"
        assert again[1:] == lines
        assert len(tools.measured) == count

    def test_flows_are_apart(self, run, tools):
        """The serial ones are the same units in both flows."""
        lines = run()
        assert tools.measured.count(("encoder", "enumerative", 2, 0, True)) == 2
        assert "500.0" in section(lines, PLAIN)[2]
        assert "1,000.0" in section(lines, TIMED)[1]


class TestFailures:
    def test_unit(self, run, tools, out):
        tools.failures = {("decoder", "enumerative", 4, 4, False): SynthesisError("no | way")}
        rows = section(run(status=1), TIMED)
        assert rows[8] == "decoder 4:8 enumerative 4 - - - - - - - - - failed: no | way"
        content = json.loads((out / "codes.json").read_text())
        (failure,) = content["failures"]
        assert failure["name"] == "nm_decoder_4_8_enumerative"
        assert (failure["flow"], failure["failure"]) == ("timed", "failed: no | way")
        assert (failure["of_selector"], failure["of_matrix"]) == (None, None)
        assert failure["parameters"]["pipeline"] == 4

    def test_what_they_are_held_against(self, run, tools, out):
        tools.failures = {"matrix": KeyError("x")}
        lines = run(status=1)
        assert section(lines, PLAIN)[0].endswith("- 0.020 - -")
        assert section(lines, HELD)[1] == "plain_matrix_2_4 plain - - - - - failed: 'x'"
        failures = json.loads((out / "codes.json").read_text())["failures"]
        assert failures[0] == {
            "name": "plain_matrix_2_4",
            "flow": "plain",
            "failure": "failed: 'x'",
        }


class TestBaseline:
    def test_marks_of_one_flow(self, run, tools, out):
        run()
        tools.body, tools.generator = "changed", "another"
        tools.areas[("encoder", "enumerative", 2, 0, True), "timed"] = 1100.0
        lines = run("--baseline", out / "codes.json")
        assert "▲" not in "".join(section(lines, PLAIN))
        changed = [row for row in section(lines, TIMED) if "▲" in row]
        assert len(changed) == 1
        assert changed[0].startswith("encoder 2:4 enumerative, serial 0 1,100.0 ▲ +10.0 % 1,100.0")
        assert "▲ ▼: more or less than in the baseline" in lines

    def test_update(self, run, out, committed):
        lines = run("--update")
        assert sorted(path.name for path in committed.iterdir()) == ["codes.json", "codes.md"]
        for path in committed.iterdir():
            assert path.read_bytes() == (out / path.name).read_bytes()
        assert lines[-1].endswith(f"{committed / 'codes.json'} and {committed / 'codes.md'}")
        # From now on it is what runs are compared with.
        assert "▲ ▼: more or less than in the baseline" in run()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "argument --liberty: must be given: a library with delays"),
        (
            "--units packer",
            "argument --units: must be a list such as encoder,decoder of encoder, decoder, "
            "decompressor, pe, sparsifier, not 'packer'",
        ),
        (
            "--codes runs",
            "argument --codes: must be a list such as bitmap,index of bitmap, index, "
            "bitmap-implied, enumerative, not 'runs'",
        ),
        (
            "--pipelines -1",
            "argument --pipelines: must be a list of whole numbers such as 0,1,2, not '-1'",
        ),
        (
            "--pipelines 1,x",
            "argument --pipelines: must be a list of whole numbers such as 0,1,2, not '1,x'",
        ),
        ("--flow plain", "unrecognized arguments: --flow plain"),
    ],
)
def test_refused(capsys, arguments, message):
    assert refused(capsys, "codes", *arguments.split()) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--patterns 9:8", "argument --patterns: n must be between 1 and m = 8, not 9"),
        ("--pipelines 33", "argument --pipelines: must be between 0 and 32, not 33"),
        ("--baseline no.json", "no.json: No such file or directory"),
    ],
)
def test_refused_with_a_library(capsys, delays, out, arguments, message):
    words = [*arguments.split(), "--liberty", delays.path, "-o", out]
    assert refused(capsys, "codes", *words) == message
    assert not out.parent.exists()


def test_no_torch():
    """The reports need no golden models."""
    check = "import sys, synth.codes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.usefixtures("sta")
def test_real(run_study, out):
    """The tools themselves."""
    lines = run_study("codes", *"--units encoder --codes bitmap,index --patterns 2:4".split())
    content = json.loads((out / "codes.json").read_text())
    wires, unit, selector, matrix = content["rows"]
    assert (wires["area"], wires["delay_ns"], wires["of_matrix"]) == (0, None, 0)
    assert "no cells, as outputs are inputs or constants: nm_encoder_2_4_bitmap" in lines
    assert unit["name"] == "nm_encoder_2_4_index"
    assert unit["of_selector"] == pytest.approx(unit["area"] / selector["area"], abs=1e-6)
    assert unit["of_matrix"] == pytest.approx(unit["area"] / matrix["area"], abs=1e-6)
    assert all(row["delay_ns"] > 0 for row in (unit, selector, matrix))
    # The yardstick has keys as wide as those of the selector.
    config = UnitConfig(n=2, m=4, unit="selector", dtype=selector["parameters"]["dtype"])
    assert f"[{4 * config.key_width - 1}:0] i_keys" in plain_matrix(2, 4, 15).verilog
